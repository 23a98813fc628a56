"""What is no video, or not a whole one. That videos come back right is in `test_write.py`."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine.errors import InputError
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.write import write_video
from tests.video.pictures import PRIMARIES, bars, moving, noise


def refused(path: Path, why: str) -> None:
    with pytest.raises(InputError, match=f"cannot be read: {why}") as error:
        read_video(path)
    assert error.value.code == "video_unreadable"
    assert "\n" not in str(error.value)


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "x.mp4", "No such file")
    refused(tmp_path / "x", "No such file")


@pytest.mark.parametrize("data", [b"", b"x", b"garbage" * 100, b"#EXTM3U\n#EXTINF:1\nother.mp4\n", b"\0\0\0\x08moov"])
def test_no_video(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(data)
    refused(tmp_path / "x.mp4", "")


@pytest.mark.parametrize("name", ["x.mp4", "x.mov"])
def test_cut_short(name: str, tmp_path: Path) -> None:
    """Wherever it is cut, at the end of a frame too: the index at the front still names all frames."""
    write_video(noise(4), tmp_path / name, 8)
    data = (tmp_path / name).read_bytes()
    with av.open(str(tmp_path / name)) as container:
        ends = [p.pos + p.size for p in container.demux(video=0) if p.pos is not None]
    for end in {*ends, *range(0, len(data), len(data) // 15), len(data) - 1} - {len(data)}:
        (tmp_path / name).write_bytes(data[:end])
        refused(tmp_path / name, "")


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    refused(tmp_path / "x.mp4", "it has no pictures")


def test_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    refused(tmp_path, "it has no PNG pictures")


@pytest.mark.parametrize("cut", [0, 1, 8, 100, -20])
def test_broken_picture_is_named(cut: int, tmp_path: Path) -> None:
    write_video(noise(), tmp_path / "x", 8)
    file = tmp_path / "x" / "frame_0001.png"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(InputError, match=r"frame_0001\.png cannot be read: ") as error:
        read_video(tmp_path / "x")
    assert error.value.code == "video_unreadable"


@pytest.mark.parametrize("other", [moving(1, 4, 6), noise(1, 4, 4, np.uint16)], ids=["size", "depth"])
def test_pictures_of_different_kinds(other: NDArray[Any], tmp_path: Path) -> None:
    write_video(moving(1, 4, 4), tmp_path / "x", 8)
    write_video(other, tmp_path / "y", 8)
    (tmp_path / "y" / "frame_0000.png").rename(tmp_path / "x" / "frame_0001.png")
    refused(tmp_path / "x", "its pictures differ in size or depth")


def test_pictures_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    write_video(moving(2, 4, 4), tmp_path / "x", 8)
    for index, number in enumerate(["9999", "10000"]):
        (tmp_path / "x" / f"frame_000{index}.png").rename(tmp_path / "x" / f"frame_{number}.png")
    np.testing.assert_array_equal(read_video(tmp_path / "x").frames, moving(2, 4, 4))


@pytest.mark.parametrize(
    ("colour_space", "matrix"), [(1, "bt709"), (2, "unknown"), (5, "bt470bg"), (6, "smpte170m")], ids=str
)
def test_tags_of_others_are_believed(colour_space: int, matrix: str, tmp_path: Path) -> None:
    """A file by another matrix that says so; one that says nothing is taken for BT.709."""
    rgb = av.VideoFrame.from_ndarray(bars()[0], format="rgb24")
    swscale = {1: 1, 2: 1, 5: 5, 6: 5}[colour_space]
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "5"})
        stream.width, stream.height, stream.pix_fmt = rgb.width, rgb.height, "yuv420p"
        stream.codec_context.colorspace = colour_space
        yuv = rgb.reformat(format="yuv420p", dst_colorspace=swscale, dst_color_range=1)
        yuv.colorspace = colour_space
        container.mux(stream.encode(yuv))
        container.mux(stream.encode())
    video = read_video(tmp_path / "x.mp4")
    assert video.colours.matrix == matrix
    np.testing.assert_allclose(video.frames[0, 16, 16::32].astype(int), PRIMARIES, atol=4)
