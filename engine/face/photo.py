"""A photo as users have it -> upright sRGB pixels.

    bytes -> format, by the first bytes -> size, from the header -> pixels -> 8 bits -> sRGB -> on white -> upright

Each format is read by its own Pillow class and not by `Image.open`: no other parser (EPS, PDF, fonts, ...) is ever
reached, and sizes are judged here, before anything of that size is allocated.
"""

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face import jpeg_markers
from fantasyid_engine.face.silence import silence_readers
from fantasyid_engine.face.source import Source, check_length, name_of, read_source

MAX_BYTES = 64 << 20
MAX_PIXELS = 89_478_485
"""As Pillow's own default limit: 256 MiB of RGB."""
MIN_SIDE = 16

FORMATS = "JPEG, PNG, WebP, TIFF, BMP, GIF, HEIC or AVIF"
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
AVIF_BRANDS = {b"avif", b"avis"}
END_OF_JPEG = b"\xff\xd9"

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""


def read_photo(source: str | Path | bytes) -> NDArray[np.uint8]:
    """A photo -> [H, W, 3] RGB, upright: `photo_bytes`, then `decode_photo`; raises what they raise."""
    return decode_photo(photo_bytes(source), name_of(source, "photo"))


def photo_bytes(source: Source) -> bytes:
    """The file as it is, so that what is hashed is what is decoded.

    Raises:
        InputError: `image_missing` when no such file can be read, `image_too_large` above 64 MiB.
    """
    return read_source(source, "photo", MAX_BYTES, "image_missing", "image_too_large")


def decode_photo(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decodes the first frame of a photo.

    Args:
        data: a whole file: JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, or HEIC with the extra `heif`.
        name: what messages call it.

    Returns:
        [H, W, 3] uint8, sRGB. EXIF orientation is undone, an embedded colour profile applied (one that is broken or of
        another colour space is ignored, as is unreadable EXIF), transparency laid on white, 16 bits scaled to 8.

    Raises:
        InputError: `image_unreadable` (empty, of no known format, truncated, corrupt, a JPEG of very many scans
            or segments), `image_too_small` under 16 pixels a side, `image_too_large` above 64 MiB or 89 million pixels.
    """
    name = one_line(name)
    check_length(data, name, "photo", MAX_BYTES, "image_too_large")
    silence_readers()
    try:
        image = _decoded(data, name)
        return np.array(_upright(_on_white(image, name), _orientation(image)))
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "it has too many pixels") from None
    except Exception as error:  # a hostile or truncated file can make its reader fail in any way
        reason = one_line(str(error))[:160] or type(error).__name__
        raise _unreadable(name, f"it is damaged or cut off ({reason})") from None


def _decoded(data: bytes, name: str) -> Image.Image:
    """The first frame in its own mode; the size is checked before the pixels are touched."""
    if not data:
        raise _unreadable(name, "it is empty")
    match _kind(data):
        case "JPEG":
            reason = jpeg_markers.excess(data)
            if reason is not None:
                raise _unreadable(name, reason)
            image = _Jpeg(BytesIO(data))
            # Where the data ends in zeros (a download cut off in a file of full size), libjpeg paints the rest grey.
            if data.find(END_OF_JPEG, image.fp.tell() if image.fp else 0) < 0:
                raise _unreadable(name, "it is cut off (its end is missing)")
        case "PNG":
            image = PngImagePlugin.PngImageFile(BytesIO(data))
        case "WEBP":
            image = WebPImagePlugin.WebPImageFile(BytesIO(data))
        case "TIFF":
            image = TiffImagePlugin.TiffImageFile(BytesIO(data))
            _check_tiles(image, name)
        case "BMP":
            image = BmpImagePlugin.BmpImageFile(BytesIO(data))
        case "GIF":
            image = GifImagePlugin.GifImageFile(BytesIO(data))
        case "AVIF":
            from PIL import AvifImagePlugin

            image = AvifImagePlugin.AvifImageFile(BytesIO(data))
        case "HEIF":
            return _decoded_heif(data, name)
        case _:
            raise _unreadable(name, "it is no picture of a known format")
    _check_size(image.size, name)
    image.load()
    return image


class _Jpeg(JpegImagePlugin.JpegImageFile):
    """Opened without the resolution that EXIF may hold: EXIF that is hostile would make the photo unreadable."""

    def _read_dpi_from_exif(self) -> None:
        pass


def _decoded_heif(data: bytes, name: str) -> Image.Image:
    try:
        import pillow_heif
    except ImportError:
        reason = "it is a HEIC picture; pip install 'fantasyid-engine[heif]' makes it readable"
        raise _unreadable(name, reason) from None
    picture = pillow_heif.open_heif(data)
    _check_size(picture.size, name)
    # Rotation is part of decoding HEIF; `to_pillow` sets the EXIF orientation to upright for that.
    image = picture.to_pillow()
    _check_size(image.size, name)  # less than was said, where the cut-out that HEIF can name leaves the picture
    return image


def _kind(data: bytes) -> str | None:
    signatures = {
        "JPEG": (jpeg_markers.START,),
        "PNG": (b"\x89PNG\r\n\x1a\n",),
        "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "BMP": (b"BM",),
        "GIF": (b"GIF87a", b"GIF89a"),
    }
    for kind, starts in signatures.items():
        if data.startswith(starts):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        end = min(int.from_bytes(data[:4], "big"), 256)
        brands = {data[8:12], *(data[i : i + 4] for i in range(16, end, 4))}
        return "AVIF" if brands & AVIF_BRANDS else "HEIF" if brands & HEIF_BRANDS else None
    return None


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise InputError(
            "image_too_small",
            f"{name} is {width} x {height} pixels; give a photo of at least {MIN_SIDE} pixels a side",
        )
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"it is {width} x {height} pixels")


def _check_tiles(image: TiffImagePlugin.TiffImageFile, name: str) -> None:
    """A tile is unpacked as a whole, and may be far larger than its picture."""
    width, height = (image.tag_v2.get(tag, 1) for tag in (TiffImagePlugin.TILEWIDTH, TiffImagePlugin.TILELENGTH))
    if width * height > MAX_PIXELS:
        raise _too_large(name, f"its tiles are {width} x {height} pixels")


def _on_white(image: Image.Image, name: str) -> Image.Image:
    """Any mode -> 8-bit sRGB, transparent parts white."""
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in ("I", "F"):
        raise _unreadable(name, "its pixels have 32 bits a channel, of unknown range; save it with 8 or 16")
    if not image.has_transparency_data:
        return _srgb(image if image.mode in ("L", "RGB", "CMYK") else image.convert("RGB"), profile)
    grey = image.mode in ("L", "LA", "La")
    image = image.convert("LA") if image.mode == "La" else image  # the only mode that "La" converts to
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(_srgb(image.convert("L" if grey else "RGB"), profile), mask=image.getchannel("A"))
    return white


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 12 or 16 bits -> 8-bit grey, with alpha where one value means transparent."""
    values = np.asarray(image).astype(np.uint32)
    largest = 65535
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # of which Pillow stretches no bits, and inverts eight at most
        largest = 2 ** image.tag_v2[TiffImagePlugin.BITSPERSAMPLE][0] - 1
        if image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0:
            values = largest - values
    grey = Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8))
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return grey


def _srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An L, RGB or CMYK image -> RGB, through its colour profile where that can be used."""
    if profile:
        from PIL import ImageCms

        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except Exception:  # broken, or of another colour space than the pixels
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _orientation(image: Image.Image) -> object:
    try:
        return image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # hostile EXIF can make its reader fail in any way
        return None


def _upright(image: Image.Image, orientation: object) -> Image.Image:
    turn = UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _unreadable(name: str, reason: str) -> InputError:
    return InputError("image_unreadable", f"{name} cannot be read: {reason}; give a whole {FORMATS} file")


def _too_large(name: str, reason: str) -> InputError:
    most = f"{MAX_PIXELS // 1_000_000} million pixels"
    return InputError("image_too_large", f"{name} is too large: {reason}; give a photo of at most {most}")
