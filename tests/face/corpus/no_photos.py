"""Files of other kinds, bare signatures, and photos that are something else too."""

import struct

from tests.face.corpus.materials import poster
from tests.face.corpus.model import Group
from tests.face.corpus.results import DAMAGED, NEAR, POSTER, UNKNOWN
from tests.face.corpus.saved import jpeg
from tests.face.pictures import blocks, encoded

SVG = b"<svg xmlns='http://www.w3.org/2000/svg' width='64' height='48'/>"
NO_PHOTOS: Group = {
    UNKNOWN: {
        "a text": lambda: b"hello, this is no picture\n" * 9,
        "HTML, saved as photo.jpg": lambda: b"<!doctype html><html><body>404 not found</body></html>",
        "HTML in front of a JPEG": lambda: b"<html></html>\n" + jpeg(),
        "SVG": lambda: SVG,
        "PDF": lambda: b"%PDF-1.7\n" + jpeg(),
        "PostScript (EPS)": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n(%pipe%id) (r) file\n",
        "Photoshop (PSD)": lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 48, 64, 8, 3) + bytes(9999),
        "JPEG 2000": lambda: encoded(blocks(), "JPEG2000"),
        "JPEG XL": lambda: b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(200),
        "PPM": lambda: encoded(blocks(), "PPM"),
        "an icon": lambda: encoded(blocks(), "ICO"),
        "a zip": lambda: b"PK\3\4" + bytes(60),
        "a video (MP4)": lambda: b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(60),
        "zeros": lambda: bytes(5000),
    },
    DAMAGED: {
        f"the first {len(start)} bytes of {kind}, and no more": lambda start=start: start
        for kind, start in {
            "a JPEG": b"\xff\xd8\xff",
            "a PNG": b"\x89PNG\r\n\x1a\n",
            "a GIF": b"GIF89a",
            "a BMP": b"BM",
            "a TIFF": b"II*\0",
            "a WebP": b"RIFF\x10\0\0\0WEBP",
            "an AVIF": b"\0\0\0\x10ftypavif\0\0\0\0",
        }.items()
    },
    NEAR: {
        "a JPEG that is a PDF too": lambda: jpeg() + b"%PDF-1.7\n%%EOF",
        "a PNG, saved as photo.jpg": lambda: encoded(blocks(), "PNG"),
    },
    POSTER: {"a GIF that is a zip too": lambda: encoded(poster(), "GIF") + b"PK\5\6" + bytes(18)},
}
