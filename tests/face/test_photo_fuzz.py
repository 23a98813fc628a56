"""Files of the corpus, broken in any way: a picture within the limits or one line of refusal, and nothing else.

Bytes are changed, cut out, doubled, and overwritten with extreme numbers; files are cut off, and spliced with others. A
PNG's checksums are put right again, or nothing behind them would be reached.

The same examples every time, unless FANTASYID_FUZZ_EXAMPLES says how many new ones a format gets:

    FANTASYID_FUZZ_EXAMPLES=20000 pytest tests/face/test_photo_fuzz.py
"""

import os
import re
import warnings
import zlib
from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.photo import MAX_PIXELS, MIN_SIDE, decode_photo
from tests.face.corpus import CASES, Case, Shown

NAME = "photo.jpg"
CODES = {"image_unreadable", "image_too_small", "image_too_large"}
EXTREMES = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF]
FORMATS = ["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "AVIF", "HEIC"]
LONGER = os.environ.get("FANTASYID_FUZZ_EXAMPLES")
PROFILE = settings(
    max_examples=int(LONGER or 300),
    derandomize=not LONGER,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@cache
def whole(format: str) -> list[bytes]:
    """The corpus's files of a format that are read, but for large ones."""
    made = [case.make() for case in CASES if isinstance(case.result, Shown) and format in words(case)]
    return [data for data in made if len(data) < 1 << 16]


def words(case: Case) -> set[str]:
    """Its group, and those at the ends of its name: "TIFF, 6", "Display P3 in TIFF"."""
    name = re.findall(r"\w+", case.name)
    return {case.group, name[0], name[-1]}


@st.composite
def broken(draw: st.DrawFn, format: str) -> bytes:
    data = bytearray(draw(st.sampled_from(whole(format))))
    for kind in draw(
        st.lists(st.sampled_from(["set", "flip", "cut", "double", "number", "end", "splice"]), min_size=1, max_size=5)
    ):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        part = slice(place, place + draw(st.integers(1, 64)))
        match kind:
            case "set":
                data[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "flip":
                data[place : place + 1] = bytes(
                    value ^ 1 << draw(st.integers(0, 7)) for value in data[place : place + 1]
                )
            case "cut":
                del data[part]
            case "double":
                data[part.stop : part.stop] = data[part]
            case "number":
                order = draw(st.sampled_from(["big", "little"]))
                size = draw(st.sampled_from([2, 4]))
                number = draw(st.sampled_from(EXTREMES)) & (1 << 8 * size) - 1
                data[place : place + size] = number.to_bytes(size, order)
            case "end":
                del data[place:]
            case "splice":
                other = draw(st.sampled_from(whole(format)))
                data[place:] = other[draw(st.integers(0, len(other) - 1)) :]
    return with_checksums(bytes(data)) if format == "PNG" else bytes(data)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose parts have the checksums that they should have, as far as they can be followed."""
    fixed, place = bytearray(data), 8
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        fixed[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(fixed)


def check(data: bytes) -> None:
    """`data` becomes a picture within the limits, or an InputError as it is documented."""
    try:
        picture = decode_photo(data, NAME)
    except InputError as error:
        code, message = error.code, str(error)
    else:
        height, width, channels = picture.shape
        assert picture.dtype == np.uint8 and channels == 3
        assert min(height, width) >= MIN_SIDE and height * width <= MAX_PIXELS
        return
    assert code in CODES
    assert message.isprintable() and message.startswith(NAME) and len(message) < 400


@pytest.mark.parametrize("format", FORMATS)
def test_broken_files(format: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert whole(format)

    @PROFILE
    @given(broken(format))
    def every(data: bytes) -> None:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check(data)
        assert not caught, [str(warning.message) for warning in caught]
        assert capfd.readouterr() == ("", "")

    every()
