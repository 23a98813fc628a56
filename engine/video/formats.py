"""What videos are written as, chosen by the suffix of the output.

.mp4        H.264, 8 bit 4:2:0: plays everywhere
.mov        ProRes 422 HQ, 10 bit 4:2:2: for editing
no suffix   a folder of PNG pictures, lossless, 8 or 16 bit as the frames are
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fantasyid_engine.errors import OutputError

PICTURES = ""
"""The suffix of a folder of PNG pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFormat:
    """How frames are encoded into one file; names and options are those of FFmpeg."""

    container: Literal["mp4", "mov"]
    encoder: Literal["libx264", "prores_ks"]
    pixel_format: Literal["yuv420p", "yuv422p10le"]
    options: Mapping[str, str]
    bits: int
    even_size: bool


CONTAINERS: Mapping[str, ContainerFormat] = {
    ".mp4": ContainerFormat(
        container="mp4",
        encoder="libx264",
        pixel_format="yuv420p",
        # The same bytes whatever the machine: x264 decides otherwise with other numbers of threads, and its mbtree with
        # AVX-512 (build 165) differs from run to run.
        # swscale puts a chroma sample in the middle of its four pixels; players assume the left unless told.
        options={
            "crf": "17",
            "preset": "medium",
            "threads": "1",
            "mbtree": "0",
            "chroma_sample_location": "center",
        },
        bits=8,
        even_size=True,
    ),
    ".mov": ContainerFormat(
        container="mov",
        encoder="prores_ks",
        pixel_format="yuv422p10le",
        options={"profile": "hq", "threads": "1"},
        bits=10,
        even_size=False,
    ),
}


def suffix_of(path: Path) -> str:
    """`.mp4`, `.mov` or `PICTURES`.

    Raises:
        OutputError: the path has another suffix, or no name.
    """
    suffix = path.suffix.lower()
    if not path.name or suffix not in (*CONTAINERS, PICTURES):
        raise OutputError(
            f"cannot write {path}: name a .mp4 or .mov file, or, without a suffix, a folder for PNG pictures"
        )
    return suffix
