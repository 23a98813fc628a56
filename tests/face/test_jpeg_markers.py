"""Scans and segments are counted where a reader would meet them, and nowhere else."""

import pytest

from fantasyid_engine.face.jpeg_markers import MOST_SCANS, MOST_SEGMENTS, SCAN, excess
from tests.face.corpus.jpegs import with_segment
from tests.face.corpus.saved import jpeg

SCANS = (SCAN + b"\0\x08\1\1\0\0\x3f\0") * 300
COMMENTS = b"\xff\xfe\0\2" * 10_000


def behind_the_start(more: bytes) -> bytes:
    return jpeg()[:2] + more + jpeg()[2:]


def scanned(times: int) -> bytes:
    return jpeg()[:-2] + SCANS[:10] * (times - 1) + jpeg()[-2:]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(scanned(MOST_SCANS), id="as many scans as may be"),
        pytest.param(jpeg() + SCANS + COMMENTS, id="behind the end, as a film is"),
        pytest.param(with_segment(0xE1, SCANS), id="in a segment, as a thumbnail is"),
        pytest.param(with_segment(0xE2, bytes(65_533), 1_024), id="the longest file, full of segments"),
        pytest.param(b"GIF89a" + SCANS, id="another format"),
        pytest.param(b"\xff\xd8\xff", id="a start alone"),
        pytest.param(b"\xff\xd8\xff\xe1\xff", id="cut off in a length"),
    ],
)
def test_no_more_than_others(data: bytes) -> None:
    assert excess(data) is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(scanned(MOST_SCANS + 1), "more than 100 scans", id="a scan too many"),
        pytest.param(with_segment(0xFE, b"", MOST_SEGMENTS), "more than 5,000 segments", id="a segment too many"),
        pytest.param(behind_the_start(b"\xff\xd9" + COMMENTS), "5,000", id="behind an end before the first scan"),
        pytest.param(behind_the_start(b"\xff\xf0\xff\xff" + COMMENTS), "5,000", id="behind a marker of unknown kind"),
        pytest.param(
            behind_the_start(b"\xff\x01\xff\xff" + COMMENTS), "5,000", id="behind a marker that has no length"
        ),
        pytest.param(behind_the_start(b"\xff\xfe\0\0" + COMMENTS), "5,000", id="behind a length of nothing"),
        pytest.param(behind_the_start(b"\xff\xff\xff" + COMMENTS), "5,000", id="behind filling"),
    ],
)
def test_more_than_others(data: bytes, says: str) -> None:
    assert says in (excess(data) or "nothing")
