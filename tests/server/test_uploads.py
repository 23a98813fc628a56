"""Photos as clients send them: what is taken, and 1,000 files that are none, each with a 4xx that tells why."""

import asyncio
import base64
import hashlib
import struct
import threading
import time
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from io import BytesIO

import httpx
import pytest
from PIL import Image

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.photo import decode_photo
from fantasyid_engine.server.errors import ApiError
from fantasyid_engine.server.outbound import Outbound
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.uploads import FETCHED_AT_ONCE, Uploads, size_by_header
from tests.face.corpus import CASES, Refused
from tests.server.serving import Running, encoded, error_of, face

MALFORMED = 1_000
AT_ONCE = 8
NO_FACE_NEEDED = ("image_unreadable", "image_too_small", "image_too_large", "image_missing", "body_too_large")


def data_url(photo: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(photo).decode()}"


@pytest.mark.parametrize("kind", ["image/png", "", "application/octet-stream", "image/png;charset=utf-8"])
def test_a_data_url(taking: Running, photo: bytes, kind: str) -> None:
    answer = taking.post("/v1/videos", json={"prompt": "a", "input_reference": data_url(photo, kind)})
    assert answer.status_code == 200, answer.text
    job = taking.service.store.get(answer.json()["id"])
    assert job and job.photo_sha256 == hashlib.sha256(photo).hexdigest()
    assert taking.service.files.photo(job.photo_sha256).read_bytes() == photo


def test_a_data_url_in_an_object_and_in_a_form(taking: Running, photo: bytes) -> None:
    reference = {"image_url": data_url(photo)}
    assert taking.post("/v1/videos", json={"prompt": "a", "input_reference": reference}).status_code == 200
    form = {"prompt": (None, "a"), "input_reference[image_url]": (None, data_url(photo))}
    assert taking.post("/v1/videos", files=form).status_code == 200


def test_the_photo_of_an_earlier_video(taking: Running, photo: bytes) -> None:
    first = taking.made(photo)
    for reference in (first["id"], {"file_id": first["id"]}):
        answer = taking.post("/v1/videos", json={"prompt": "a", "input_reference": reference})
        job = taking.service.store.get(answer.json()["id"])
        assert job and job.photo_sha256 == hashlib.sha256(photo).hexdigest()
    gone = taking.post("/v1/videos", json={"prompt": "a", "input_reference": "video_" + "0" * 32})
    assert (gone.status_code, error_of(gone)["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("reference", "code"),
    [
        (None, "image_missing"),
        ("", "image_missing"),
        ({}, "image_missing"),
        ({"image_url": "data:,", "file_id": "video_1"}, "image_missing"),
        ("/etc/passwd", "input_reference_invalid"),
        ("../../photos/x", "input_reference_invalid"),
        ("file:///etc/passwd", "input_reference_invalid"),
        ("data:image/png,abc", "input_reference_invalid"),
        ("data:image/png;base64,a", "input_reference_invalid"),
        ("data:image/png;base64,####", "input_reference_invalid"),
        ("data:image/png;base64,", "image_unreadable"),
        ("https://example.com/face.png", "input_urls_off"),
        ("HTTP://169.254.169.254/", "input_urls_off"),
        (["a"], "invalid_parameter"),
        ({"path": "/etc/passwd"}, "invalid_parameter"),
    ],
    ids=str,
)
def test_references_that_are_none(taking: Running, reference: object, code: str) -> None:
    answer = taking.post("/v1/videos", json={"prompt": "a", "input_reference": reference})
    assert (answer.status_code, error_of(answer)["code"]) == (400, code)
    assert error_of(answer)["param"] == "input_reference"


def test_addresses_where_they_are_allowed(photo: bytes) -> None:
    class Fetches(Outbound):
        async def fetch(self, url: str, max_bytes: int) -> bytes:
            assert (url, max_bytes) == ("https://example.com/face.png", 24 << 20)
            return photo

    uploads = Uploads(Settings(allow_input_urls=True), Fetches())
    assert asyncio.run(uploads.take("https://example.com/face.png", "key_a")) == photo


def test_few_addresses_are_fetched_at_once_and_the_next_hears_so(photo: bytes) -> None:
    """Their bytes are in memory before they are in a slot."""
    come = asyncio.Event()

    class Slow(Outbound):
        async def fetch(self, url: str, max_bytes: int) -> bytes:
            await come.wait()
            return photo

    async def run() -> None:
        uploads = Uploads(Settings(allow_input_urls=True), Slow())
        url = "https://example.com/face.png"
        waiting = [asyncio.create_task(uploads.take(url, "key_a")) for _ in range(FETCHED_AT_ONCE)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await uploads.take(url, "key_a")
        assert (caught.value.status, caught.value.code) == (503, "too_many_fetches")
        assert caught.value.headers["Retry-After"]
        assert await uploads.take(data_url(photo), "key_a") == photo, "files and data URLs are taken meanwhile"
        come.set()
        assert await asyncio.gather(*waiting) == [photo] * FETCHED_AT_ONCE
        assert await uploads.take(url, "key_a") == photo

    asyncio.run(run())


def test_a_jpeg_that_is_much_work_has_no_size_by_its_header() -> None:
    """Reading as far as that would be the work."""
    (data,) = (case.make() for case in CASES if case.name == "EXIF in 10,000 segments")
    assert size_by_header(data) is None
    with pytest.raises(InputError, match="segments"):
        decode_photo(data, "a")


def test_the_pixel_cap_is_judged_by_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    uploads = Uploads(Settings(max_photo_pixels=64 * 64), Outbound())
    assert asyncio.run(uploads.take(data_url(face(64)), "key_a"))
    monkeypatch.setattr("fantasyid_engine.server.uploads.decode_photo", lambda data, name: pytest.fail("decoded"))
    with pytest.raises(InputError) as caught:
        asyncio.run(uploads.take(data_url(face(65)), "key_a"))
    assert caught.value.code == "image_too_large" and "4,096" in str(caught.value)


def test_two_are_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch, photo: bytes) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def slow(data: bytes, name: str) -> object:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        time.sleep(0.05)
        with lock:
            inside -= 1
        return decode_photo(data, name)

    monkeypatch.setattr("fantasyid_engine.server.uploads.decode_photo", slow)
    uploads = Uploads(Settings(), Outbound())

    async def all_at_once() -> None:
        await asyncio.gather(*(uploads.take(data_url(photo), "key_a") for _ in range(8)))

    asyncio.run(all_at_once())
    assert most == 2


def test_a_key_s_photo_is_decoded_once(monkeypatch: pytest.MonkeyPatch, photo: bytes) -> None:
    """Another key's likewise: the time tells nobody what others have sent."""
    decoded: list[str] = []

    def decode(data: bytes, name: str) -> object:
        decoded.append(name)
        return decode_photo(data, name)

    monkeypatch.setattr("fantasyid_engine.server.uploads.decode_photo", decode)
    uploads = Uploads(Settings(), Outbound())
    for key_id, times in (("key_a", 1), ("key_a", 1), ("key_b", 2), ("key_a", 2)):
        assert asyncio.run(uploads.take(data_url(photo), key_id)) == photo
        assert len(decoded) == times


@cache
def whole() -> dict[str, bytes]:
    """A photo in each format, small."""
    image = Image.open(BytesIO(face(48)))
    return {format: encoded(image, format) for format in ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")}


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )


def exif_loop() -> bytes:
    """A JPEG whose EXIF directory leads to itself, cut off behind it."""
    directory = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 0x8769, 4, 1, 8, 8)
    exif = b"Exif\0\0" + directory
    return whole()["JPEG"][:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + whole()["JPEG"][2:-200]


def zipped(name: str = "face.png") -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, whole()["PNG"])
    return buffer.getvalue()


def heic_junk(size: int) -> bytes:
    return struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(range(256)) * (size // 256 + 1)


def malformed() -> Iterator[bytes]:
    """Files that are no photos: the corpus's, then each format cut off at many places, and what else there is."""
    small = (case.make() for case in CASES if isinstance(case.result, Refused))
    yield from (data for data in small if len(data) < 1 << 20)
    yield from (zipped(), exif_loop(), b"", b"\0" * 1000, b"%PDF-1.7\n%%EOF", b"%!PS-Adobe-3.0 EPSF-3.0\n")
    yield from (b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a" + zipped(), b"#!/bin/sh\nid\n")
    yield from (png_claiming(50_000, 50_000), png_claiming(2**31 - 1, 1), png_claiming(0, 0), png_claiming(1, 1))
    for start in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"GIF89a", b"RIFF\0\0\0\0WEBP"):
        for other in (zipped(), heic_junk(300), b"<script>alert(1)</script>" * 20, b"\xff" * 500):
            yield start + other
    yield from (heic_junk(size) for size in range(0, 2_000, 100))
    number = 0
    while True:  # the last bytes of some formats are not needed, so no more than the first two thirds stay
        for data in whole().values():
            yield data[: number * len(data) * 2 // 3 // 200 % len(data)]
        number += 1


def test_a_thousand_malformed_uploads(taking: Running) -> None:
    found: list[tuple[int, str, bytes]] = []

    async def send() -> None:
        source, lock = malformed(), asyncio.Lock()
        async with httpx.AsyncClient(base_url=taking.url, timeout=120, trust_env=False) as client:

            async def sender(share: int) -> None:
                for _ in range(share):
                    async with lock:
                        data = next(source)
                    files = {"input_reference": ("../../etc/passwd\r\nx: y", data)}
                    answer = await client.post("/v1/videos", data={"prompt": "a"}, files=files)
                    found.append((answer.status_code, error_of(answer)["code"], data[:40]))

            await asyncio.gather(*(sender(MALFORMED // AT_ONCE) for _ in range(AT_ONCE)))

    before = set((taking.data / "photos").iterdir())
    asyncio.run(send())
    assert len(found) == MALFORMED
    others = [each for each in found if each[0] not in (400, 413) or each[1] not in NO_FACE_NEEDED]
    assert not others, others[:10]
    assert set((taking.data / "photos").iterdir()) == before
