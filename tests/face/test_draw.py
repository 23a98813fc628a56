from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.errors import OutputError
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.draw import BRIGHT, DARK, check_picture, draw_faces, write_picture
from tests.face.pictures import blocks

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where no user may write")


def box(left: float, top: float, size: float) -> FaceBox:
    return FaceBox(left, top, size, size, None)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_boxes_stand_out(grey: int) -> None:
    photo = np.full((400, 500, 3), grey, np.uint8)
    drawn = draw_faces(photo, [box(100, 120, 150), box(300, 200, 90)])
    assert (photo == grey).all()
    assert drawn.shape == photo.shape and drawn.dtype == np.uint8 and drawn.flags.writeable
    for x in (100, 250, 300, 390):
        assert tuple(drawn[260, x]) == BRIGHT
        assert tuple(drawn[260, x - 1]) == tuple(drawn[260, x + 1]) == DARK
    assert (drawn[150:260, 110:240] == grey).all()


def test_numbers_differ() -> None:
    photo = np.zeros((300, 600, 3), np.uint8)
    drawn = draw_faces(photo, [box(100, 100, 100), box(400, 100, 100)])
    assert (drawn[60:99, 90:200] != drawn[60:99, 390:500]).any()
    assert (drawn[98:210, 150:210] == drawn[98:210, 450:510]).all()


def test_lines_grow_with_the_photo() -> None:
    def thickness(side: int) -> int:
        drawn = draw_faces(np.zeros((side, side, 3), np.uint8), [box(side / 4, side / 4, side / 2)])
        return int((drawn[side // 2] == BRIGHT).all(axis=-1).sum()) // 2

    assert [thickness(side) for side in (200, 800, 2000)] == [1, 2, 5]


@pytest.mark.parametrize(
    ("shape", "faces"),
    [
        pytest.param((16, 16), [box(2, 2, 9)], id="smallest-photo"),
        pytest.param((100, 100), [box(-50, -50, 300)], id="larger-than-the-photo"),
        pytest.param((100, 100), [box(-90, 10, 60)], id="left-of-the-photo"),
        pytest.param((100, 100), [box(200, 300, 60)], id="beyond-the-photo"),
        pytest.param((100, 100), [box(95, 0, 5)], id="in-a-corner"),
        pytest.param((100, 100), [box(20.4, 20.6, 0.2)], id="a-point"),
        pytest.param((300, 300), [box(2 * i, 3 * i, 40) for i in range(60)], id="many"),
    ],
)
def test_odd_boxes_are_seen(shape: tuple[int, int], faces: list[FaceBox]) -> None:
    drawn = draw_faces(np.full((*shape, 3), 90, np.uint8), faces)
    assert (drawn == BRIGHT).all(axis=-1).any()


def test_number_at_the_right_edge_is_whole() -> None:
    drawn = draw_faces(np.full((100, 100, 3), 90, np.uint8), [box(5, 50, 10)] * 9 + [box(90, 50, 9)])
    number = drawn[30:48, 70:]
    assert tuple(number[9, -1]) == DARK and tuple(number[9, -2]) == BRIGHT


def test_no_faces_no_change() -> None:
    assert (draw_faces(blocks(), []) == blocks()).all()


def test_write_and_read_again(tmp_path: Path) -> None:
    write_picture(blocks(), tmp_path / "new" / "a.PNG")
    with Image.open(tmp_path / "new" / "a.PNG") as image:
        assert (np.asarray(image) == blocks()).all()
    write_picture(blocks(), tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.format == "JPEG" and image.size == (64, 48)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "new"]


@pytest.mark.parametrize(
    ("name", "overwrite", "says"),
    [
        pytest.param("a.gif", True, ".png or .jpg", id="suffix"),
        pytest.param("a", True, ".png or .jpg", id="no-suffix"),
        pytest.param("folder.png", True, "it is a folder", id="folder"),
        pytest.param("old.png", False, "exists already", id="exists"),
        pytest.param("old.png/new/a.png", True, "Not a directory", id="below-a-file"),
        pytest.param(f"{'x' * 252}.png", True, "too long", id="long-name"),
        pytest.param("/proc/new/a.png", True, "name another place", id="not-writable", marks=NEEDS_PROC),
    ],
)
def test_where_no_picture_can_be_written(tmp_path: Path, name: str, overwrite: bool, says: str) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.png").write_bytes(b"old")
    with pytest.raises(OutputError, match=says) as caught:
        check_picture(tmp_path / name, overwrite=overwrite)
    assert name in str(caught.value) and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.png", "old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_overwrite(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    check_picture(tmp_path / "old.png", overwrite=True)
    check_picture(tmp_path / "new.png")
    check_picture(tmp_path / "new" / "folder" / "new.png")
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
