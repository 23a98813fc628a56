"""Photos on their way in: a file of a form, a data URL, the photo of an earlier video, or an address where allowed.

    source -> bytes -> size, by the header -> decoded once, so that what is broken is refused now -> kept by digest

Two are decoded at a time, in threads, and only then files of forms are read into memory. A data URL is there with its
body, of which `limits` bounds all at once; of addresses, `FETCHED_AT_ONCE` are in memory at most. A text is never taken
for a path.
"""

import asyncio
import base64
import binascii
import hashlib
import re
from io import BytesIO

from PIL import Image
from starlette.datastructures import UploadFile

from fantasyid_engine.errors import InputError
from fantasyid_engine.face import jpeg_markers
from fantasyid_engine.face.photo import MAX_BYTES, decode_photo
from fantasyid_engine.face.silence import silence_readers
from fantasyid_engine.server.errors import ApiError, bad, later
from fantasyid_engine.server.outbound import Outbound
from fantasyid_engine.server.schemas import JOB_ID
from fantasyid_engine.server.settings import Settings

AT_ONCE, FETCHED_AT_ONCE = 2, 8
SMALL_BYTES = 1 << 20
"""A digest of so many bytes takes less time than to hand them to a thread."""
MOST_KNOWN = 10_000
NAME = "input_reference"
DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w.+=-]+)*;base64,", re.ASCII)
HEADERS_READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
Source = UploadFile | str


class Uploads:
    """Takes photos, a few at a time."""

    def __init__(self, settings: Settings, outbound: Outbound) -> None:
        self._most_pixels, self._most_bytes = settings.max_photo_pixels, min(settings.max_body_bytes, MAX_BYTES)
        self._urls = settings.allow_input_urls
        self._outbound = outbound
        self._known: set[tuple[str, str]] = set()
        self._slots, self._fetches = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(FETCHED_AT_ONCE)

    async def take(self, source: Source, key_id: str) -> bytes:
        """A photo's bytes, of which it is known that they can be decoded; of somebody's who has this key.

        Raises:
            InputError: they cannot, or the photo is too large or too small.
            ApiError: the source is none that may be used.
        """
        if isinstance(source, str) and re.match("https?://", source, re.IGNORECASE):
            return await self._fetched(source, key_id)
        async with self._slots:  # waits before a file is read, so that few are in memory
            data = await self._read(source, NAME)
            await self._checked(data, key_id)
            return data

    async def read(self, source: Source, name: str) -> bytes:
        """A file's bytes as they are.

        Args:
            source: the file, or a data URL.
            name: of the field that it came in.

        Raises:
            ApiError: it is neither.
        """
        async with self._slots:
            return await self._read(source, name)

    async def _fetched(self, url: str, key_id: str) -> bytes:
        """What is at an address; in a slot only when it is here: who answers slowly holds up nobody's file."""
        if not self._urls:
            raise bad("input_urls_off", "this server fetches no photos from addresses; send the file", NAME)
        if self._fetches.locked():
            raise later("too_many_fetches", f"{FETCHED_AT_ONCE} photos are being fetched; try again, or send the file")
        async with self._fetches:
            try:
                data = await self._outbound.fetch(url, self._most_bytes)
            except InputError as error:
                raise bad(error.code, str(error), NAME) from None
            async with self._slots:
                await self._checked(data, key_id)
        return data

    async def _read(self, source: Source, name: str) -> bytes:
        if not isinstance(source, str):
            return await source.read(self._most_bytes + 1)
        if source.startswith("data:"):
            return await asyncio.to_thread(from_data_url, source, name)
        others = " or the id of an earlier video of yours" if name == NAME else ""
        message = f"{name} is a file, a data URL (data:image/png;base64,...){others}; paths are not read"
        raise bad(f"{name}_invalid", message, name)

    async def _checked(self, data: bytes, key_id: str) -> None:
        """Decodes it, but for a photo of this key that was decoded before: one of a person may make many videos.

        One of another key is decoded again: else the time would tell that somebody had sent it.
        """
        if len(data) > SMALL_BYTES or _name(data, key_id) not in self._known:
            await asyncio.to_thread(self._check, data, key_id)

    def _check(self, data: bytes, key_id: str) -> None:
        name = _name(data, key_id)
        if name in self._known:
            return
        size = size_by_header(data)
        if size is None or size[0] * size[1] <= self._most_pixels:
            height, width = decode_photo(data, NAME).shape[:2]
            size = width, height
        if size[0] * size[1] > self._most_pixels:
            raise InputError(
                "image_too_large",
                f"{NAME} is too large: it is {size[0]} x {size[1]} pixels; give a photo of at most "
                f"{self._most_pixels:,} pixels",
            )
        if len(self._known) >= MOST_KNOWN:
            self._known.clear()
        self._known.add(name)


def _name(data: bytes, key_id: str) -> tuple[str, str]:
    return key_id, hashlib.sha256(data).hexdigest()


def is_job_id(source: Source) -> bool:
    """Whether an earlier video is named."""
    return isinstance(source, str) and re.fullmatch(JOB_ID, source) is not None


def from_data_url(url: str, name: str) -> bytes:
    """Raises ApiError, about the field `name`, for a data URL that is not base64."""
    head = DATA_URL.match(url)
    try:
        if head is not None:
            return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        pass
    message = f"the data URL in {name} cannot be read; it is data:image/png;base64,... and whole"
    raise bad(f"{name}_invalid", message, name)


def size_by_header(data: bytes) -> tuple[int, int] | None:
    """Width and height as a file claims them; None where only decoding tells. Nothing of that size is allocated."""
    if jpeg_markers.excess(data) is not None:
        return None
    silence_readers()
    try:
        with Image.open(BytesIO(data), formats=HEADERS_READ) as image:
            return image.size
    except Exception:  # what is wrong with it, decoding tells
        return None


def no_photo() -> ApiError:
    """The answer to a request without one."""
    return bad("image_missing", "no photo; send a picture of a face as input_reference", NAME)
