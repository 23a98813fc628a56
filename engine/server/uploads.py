"""Photos on their way in: a file of a form, a data URL, the photo of an earlier video, or an address where allowed.

    source -> bytes -> size, by the header -> decoded once, so that what is broken is refused now -> kept by digest

Two are decoded at a time, in threads; their bytes are in memory only then. A text is never taken for a path.
"""

import asyncio
import base64
import binascii
import re
from io import BytesIO

from PIL import Image
from starlette.datastructures import UploadFile

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.photo import MAX_BYTES, decode_photo
from fantasyid_engine.face.silence import silence_readers
from fantasyid_engine.server.errors import ApiError, bad
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.outbound import Outbound
from fantasyid_engine.server.schemas import JOB_ID
from fantasyid_engine.server.settings import Settings

AT_ONCE = 2
NAME = "input_reference"
DATA_URL = re.compile(r"data:[\w.+/-]*(;[\w.+=-]+)*;base64,", re.ASCII)
HEADERS_READ = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
Source = UploadFile | str


class Uploads:
    """Takes photos, a few at a time."""

    def __init__(self, settings: Settings, outbound: Outbound, files: Files) -> None:
        self._most_pixels, self._most_bytes = settings.max_photo_pixels, min(settings.max_body_bytes, MAX_BYTES)
        self._urls = settings.allow_input_urls
        self._outbound, self._files = outbound, files
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def take(self, source: Source) -> bytes:
        """A photo's bytes, of which it is known that they can be decoded.

        Raises:
            InputError: they cannot, or the photo is too large or too small.
            ApiError: the source is none that may be used.
        """
        fetched = await self._fetched(source)  # not in a slot: who answers slowly holds up nobody
        async with self._slots:  # waits before a file is read, so that few are in memory
            data = await self._read(source) if fetched is None else fetched
            await asyncio.to_thread(self._check, data)
            return data

    async def read(self, source: Source) -> bytes:
        """A file's bytes as they are."""
        async with self._slots:
            return await self._read(source)

    async def _fetched(self, source: Source) -> bytes | None:
        """What is at an address; None for a source that is none."""
        if not isinstance(source, str) or re.match("https?://", source, re.IGNORECASE) is None:
            return None
        if not self._urls:
            raise bad("input_urls_off", "this server fetches no photos from addresses; send the file", NAME)
        try:
            return await self._outbound.fetch(source, self._most_bytes)
        except InputError as error:
            raise bad(error.code, str(error), NAME) from None

    async def _read(self, source: Source) -> bytes:
        if not isinstance(source, str):
            return await source.read(self._most_bytes + 1)
        if source.startswith("data:"):
            return await asyncio.to_thread(from_data_url, source)
        raise bad(
            "input_reference_invalid",
            "input_reference is a file, a data URL (data:image/png;base64,...) or the id of an earlier video of yours; "
            "paths are not read",
            NAME,
        )

    def _check(self, data: bytes) -> None:
        size = size_by_header(data)
        if size is None or (size[0] * size[1] <= self._most_pixels and not self._files.has_photo(data)):
            height, width = decode_photo(data, NAME).shape[:2]
            size = width, height
        if size[0] * size[1] > self._most_pixels:
            raise InputError(
                "image_too_large",
                f"{NAME} is too large: it is {size[0]} x {size[1]} pixels; give a photo of at most "
                f"{self._most_pixels:,} pixels",
            )


def is_job_id(source: Source) -> bool:
    """Whether an earlier video is named."""
    return isinstance(source, str) and re.fullmatch(JOB_ID, source) is not None


def from_data_url(url: str) -> bytes:
    """Raises ApiError for a data URL that is not base64."""
    head = DATA_URL.match(url)
    try:
        if head is not None:
            return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError):
        pass
    raise bad("input_reference_invalid", "the data URL cannot be read; it is data:image/png;base64,... and whole", NAME)


def size_by_header(data: bytes) -> tuple[int, int] | None:
    """Width and height as a file claims them; None where only decoding tells. Nothing of that size is allocated."""
    silence_readers()
    try:
        with Image.open(BytesIO(data), formats=HEADERS_READ) as image:
            return image.size
    except Exception:  # what is wrong with it, decoding tells
        return None


def no_photo() -> ApiError:
    """The answer to a request without one."""
    return bad("image_missing", "no photo; send a picture of a face as input_reference", NAME)
