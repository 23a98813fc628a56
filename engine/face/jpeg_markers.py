"""How much work a JPEG makes of its bytes, told by its markers before any reader sees it.

    FF D8, then segments: FF, kind, length, content; behind a scan's segment its pixels, up to the next marker; FF D9

A scan may have a few bytes, and yet libjpeg goes over the whole picture for each. Pillow joins the segments of EXIF one
by one, in a time that grows with the square of their number. What both readers pass over without its length is passed
over here too, so that nothing hides from here that they would see. Sources: ITU-T T.81, B.1; libjpeg's `jdmarker.c`.
"""

import re

START = b"\xff\xd8\xff"
MOST_SCANS = 100
"""As libtiff has it for JPEG in TIFF; cameras write 1, encoders for the web some 10."""
MOST_SEGMENTS = 5_000
"""Full ones, of 64 KiB, are 1,024 in the largest file."""

SCAN, END = b"\xff\xda", b"\xff\xd9"
MARKER = re.compile(rb"\xff[\xc0-\xc7\xc9-\xcf\xd9-\xef\xfe]")
"""All that have a length, and the end."""


def excess(data: bytes) -> str | None:
    """What a JPEG has too much of; None for one that makes no more work than others, and for other files."""
    if not data.startswith(START):
        return None
    place, scans, segments = 2, 0, 0
    while (found := MARKER.search(data, place)) is not None:
        place = found.end()
        if found[0] == END:
            if scans:  # an end before the first scan is none to Pillow
                return None
            continue
        scans += found[0] == SCAN
        segments += 1
        if scans > MOST_SCANS:
            return f"it has more than {MOST_SCANS} scans"
        if segments > MOST_SEGMENTS:
            return f"it has more than {MOST_SEGMENTS:,} segments"
        place += max(int.from_bytes(data[place : place + 2], "big"), 2)
    return None
