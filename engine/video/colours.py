"""RGB to YUV and back by the matrix of BT.709, and the tags that tell a player so.

    Y = 0.2126 R + 0.7152 G + 0.0722 B,    Cb = (B - Y) / 1.8556,    Cr = (R - Y) / 1.5748

RGB is full range (0..255, 0..65535). YUV is limited range: Y 16..235, Cb and Cr 16..240, times 4 in 10 bit.
Source: ITU-R BT.709-6, section 3; tags by number: ITU-T H.273.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

_BT709, _UNSPECIFIED, _SRGB_TRANSFER, _LIMITED = 1, 2, 13, 1

_PRIMARIES = {1: "bt709", 2: "unknown", 5: "bt470bg", 6: "smpte170m", 9: "bt2020", 12: "smpte432"}
_TRANSFERS = {1: "bt709", 2: "unknown", 6: "smpte170m", 13: "iec61966-2-1", 16: "smpte2084", 18: "arib-std-b67"}
_MATRICES = {0: "gbr", 1: "bt709", 2: "unknown", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc"}
_RANGES = {0: "unknown", 1: "tv", 2: "pc"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """Colour tags by FFmpeg's names; a rare one by its number."""

    primaries: str
    transfer: str
    matrix: str
    range: str


def colours_of(frame: "VideoFrame") -> Colours:
    """The tags of a decoded frame."""
    return Colours(
        primaries=_name(_PRIMARIES, frame.color_primaries),
        transfer=_name(_TRANSFERS, frame.color_trc),
        matrix=_name(_MATRICES, frame.colorspace),
        range=_name(_RANGES, frame.color_range),
    )


def _name(names: Mapping[int, str], number: int) -> str:
    return names.get(number, str(int(number)))


def tag_as_bt709(target: "VideoCodecContext | VideoFrame") -> None:
    """Tags YUV of limited range; on frames for the encoder's bitstream, on its context for the container."""
    target.color_primaries = target.color_trc = target.colorspace = _BT709
    target.color_range = _LIMITED


def to_yuv(frame: NDArray[Any], pixel_format: str) -> "VideoFrame":
    """uint8 or uint16 [H, W, 3] RGB -> a tagged frame of a YUV format."""
    from av.video.reformatter import ColorRange, Colorspace

    # Without a colour space swscale would use the matrix of BT.601.
    yuv = _rgb(frame, "rgb24" if frame.dtype == np.uint8 else "rgb48le").reformat(
        format=pixel_format,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        interpolation=_exact(),
    )
    tag_as_bt709(yuv)
    return yuv


def to_picture(frame: NDArray[Any]) -> "VideoFrame":
    """uint8 or uint16 [H, W, 3] RGB -> a frame in PNG's own format, tagged sRGB as pictures are."""
    picture = _rgb(frame, "rgb24" if frame.dtype == np.uint8 else "rgb48be")
    picture.color_primaries, picture.color_trc = _BT709, _SRGB_TRANSFER
    return picture


def _rgb(frame: NDArray[Any], format: str) -> "VideoFrame":
    from av.video.frame import VideoFrame

    return VideoFrame.from_ndarray(np.ascontiguousarray(frame), format=format)


def to_rgb(frame: "VideoFrame", most_bits: int) -> NDArray[Any]:
    """A frame of any format -> [H, W, 3] RGB: uint16 if it has more than 8 bits and 16 are allowed, else uint8.

    YUV without a tag is taken for BT.709.
    """
    from av.video.reformatter import ColorRange, Colorspace

    bits = min(most_bits, max(component.bits for component in frame.format.components))
    return frame.to_ndarray(
        format="rgb24" if bits <= 8 else "rgb48le",
        src_colorspace=Colorspace.ITU709 if frame.colorspace == _UNSPECIFIED else None,
        dst_color_range=ColorRange.JPEG,
        interpolation=_exact(),
    )


def _exact() -> int:
    """Flags of swscale: all chroma samples count, right rounding, the same numbers on every processor."""
    from av.video.reformatter import Interpolation as Flag

    return Flag.BICUBIC | Flag.FULL_CHR_H_INP | Flag.FULL_CHR_H_INT | Flag.ACCURATE_RND | Flag.BITEXACT
