"""What is in a written file, read back; `test_write_errors.py` has what is refused and what goes wrong."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.video.colours import Colours, to_yuv
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.write import write_video
from tests.video.pictures import PRIMARIES, bars, moving, noise, psnr

CONTAINERS = ["x.mp4", "x.mov"]
BT709 = Colours(primaries="bt709", transfer="bt709", matrix="bt709", range="tv")
NASTY = json.dumps({"prompt": "Zoë said: \"grüß dich\";\n\t'ok' \\ 你好 🙂 = # %s"}, ensure_ascii=False) + "\r\n\n end "


@pytest.mark.parametrize("widen", [1, 257], ids=["8-bit", "16-bit"])
@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"), [("x.mp4", "h264", "yuv420p"), ("x.MOV", "prores", "yuv422p10le")]
)
def test_smooth_pictures_come_back(name: str, codec: str, pixel_format: str, widen: int, tmp_path: Path) -> None:
    frames = moving()
    write_video(frames if widen == 1 else frames.astype(np.uint16) * np.uint16(widen), tmp_path / name, 8)
    video = read_video(tmp_path / name)
    assert (video.codec, video.pixel_format, video.fps) == (codec, pixel_format, 8)
    assert video.colours == BT709
    assert (video.frames.shape, video.frames.dtype) == (frames.shape, np.uint8)
    assert min(psnr(a, b) for a, b in zip(video.frames, frames, strict=True)) >= 35
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", CONTAINERS)
def test_container_is_tagged_too(name: str, tmp_path: Path) -> None:
    """Editors look there, and do not decode."""
    write_video(bars(), tmp_path / name, 8)
    colr = {"x.mp4": b"colrnclx\0\1\0\1\0\1\0", "x.mov": b"colrnclc\0\1\0\1\0\1"}
    assert colr[name] in (tmp_path / name).read_bytes()


@pytest.mark.parametrize("widen", [1, 257], ids=["8-bit", "16-bit"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_pure_colours_come_back(name: str, widen: int, tmp_path: Path) -> None:
    write_video(bars() if widen == 1 else bars().astype(np.uint16) * np.uint16(widen), tmp_path / name, 8)
    middles = read_video(tmp_path / name).frames[0, 16, 16::32]
    np.testing.assert_allclose(middles.astype(int), PRIMARIES, atol=2)


def test_yuv_is_that_of_bt709() -> None:
    """Not only what the reader undoes: the numbers of the standard."""
    rgb = PRIMARIES / 255
    luma = rgb @ [0.2126, 0.7152, 0.0722]
    expected = 16 + 219 * luma, 128 + 224 * (rgb[:, 2] - luma) / 1.8556, 128 + 224 * (rgb[:, 0] - luma) / 1.5748
    for plane, values in zip(to_yuv(bars()[0], "yuv444p").to_ndarray(), expected, strict=True):
        np.testing.assert_allclose(plane[16, 16::32], values, atol=1)


def test_chroma_lies_in_the_middle() -> None:
    """As the next test's tag says: then the chroma of a mirrored picture is the mirrored chroma."""
    frame = noise(height=32, width=48)[0]
    chroma, mirrored = (
        to_yuv(picture, "yuv420p").to_ndarray()[32:].reshape(2, 16, 24) for picture in (frame, frame[:, ::-1])
    )
    np.testing.assert_array_equal(mirrored, chroma[:, :, ::-1])


def test_chroma_is_tagged_to_lie_in_the_middle(tmp_path: Path) -> None:
    """Read by FFmpeg's parser of headers, which only logs; the log's level is global, so in a process of its own."""
    write_video(moving(1), tmp_path / "x.mp4", 8)
    code = """
import sys, av
av.logging.set_level(av.logging.DEBUG)
av.logging.set_libav_level(56)
with av.open(sys.argv[1]) as container, av.logging.Capture() as lines:
    av.BitStreamFilterContext("trace_headers", in_stream=container.streams.video[0])
    print(*(line for _, _, line in lines))
"""
    log = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "x.mp4"], capture_output=True, text=True, check=True
    ).stdout
    (line,) = (line for line in log.splitlines() if "chroma_sample_loc_type_top_field" in line)
    assert line.endswith("= 1")


@pytest.mark.parametrize("name", CONTAINERS)
def test_index_comes_before_the_pictures(name: str, tmp_path: Path) -> None:
    write_video(moving(), tmp_path / name, 8)
    data, kinds = (tmp_path / name).read_bytes(), []
    while data:
        kinds.append(data[4:8])
        data = data[int.from_bytes(data[:4], "big") :]
    assert kinds.index(b"moov") < kinds.index(b"mdat")


@pytest.mark.parametrize("name", [*CONTAINERS, "x"])
def test_same_frames_same_bytes(name: str, tmp_path: Path) -> None:
    """Several times, because what an encoder reads beside its memory is not other each time."""
    written = []
    for folder in "abcdef":
        write_video(moving(), tmp_path / folder / name, 8, metadata={"comment": NASTY})
        written.append([p.read_bytes() for p in sorted((tmp_path / folder).rglob("*")) if p.is_file()])
    assert written == [written[0]] * 6 and written[0]


@pytest.mark.parametrize("name", CONTAINERS)
def test_metadata_comes_back(name: str, tmp_path: Path) -> None:
    metadata = {"title": "Zoë; = \\", "comment": NASTY * 200, "com.example.seed": "42"}
    write_video(moving(1), tmp_path / name, 8, metadata=metadata)
    read = read_video(tmp_path / name).metadata
    assert {key: read.get(key) for key in metadata} == metadata
    assert "creation_time" not in read


@pytest.mark.parametrize("fps", [1, 8, 60])
@pytest.mark.parametrize("frames", [1, 2, 61])
@pytest.mark.parametrize("name", CONTAINERS)
def test_counts_and_rates(name: str, frames: int, fps: int, tmp_path: Path) -> None:
    write_video(moving(frames, 16, 16), tmp_path / name, fps)
    video = read_video(tmp_path / name)
    assert len(video.frames) == frames and video.fps == Fraction(fps)


@pytest.mark.parametrize(
    ("name", "height", "width"), [("x.mp4", 2, 2), ("x.mov", 2, 2), ("x.mov", 3, 5), ("x", 1, 1), ("x", 3, 5)]
)
def test_small_and_odd_sizes(name: str, height: int, width: int, tmp_path: Path) -> None:
    frames = np.full((2, height, width, 3), (200, 100, 50), np.uint8)
    write_video(frames, tmp_path / name, 8)
    np.testing.assert_allclose(read_video(tmp_path / name).frames.astype(int), frames, atol=3)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pictures_are_exact(dtype: Any, tmp_path: Path) -> None:
    frames = noise(dtype=dtype)
    (tmp_path / "x").mkdir()
    write_video(frames, tmp_path / "x", 8, metadata={"comment": "not kept"})
    assert sorted(p.name for p in (tmp_path / "x").iterdir()) == [f"frame_000{i}.png" for i in range(3)]
    video = read_video(tmp_path / "x")
    np.testing.assert_array_equal(video.frames, frames)
    assert video.frames.dtype == dtype
    assert (video.codec, video.fps, video.metadata) == ("png", None, {})
    assert video.pixel_format == {np.uint8: "rgb24", np.uint16: "rgb48be"}[dtype]
    assert video.colours == Colours(primaries="bt709", transfer="iec61966-2-1", matrix="gbr", range="pc")


def test_sixteen_bits_are_rounded_for_mp4(tmp_path: Path) -> None:
    """Each value to the nearest of 255 steps: the same file as of the rounded frames."""
    deep = noise(dtype=np.uint16)
    write_video(deep, tmp_path / "deep.mp4", 8)
    write_video(np.rint(deep / 257).astype(np.uint8), tmp_path / "rounded.mp4", 8)
    assert (tmp_path / "deep.mp4").read_bytes() == (tmp_path / "rounded.mp4").read_bytes()


@pytest.mark.parametrize("name", [*CONTAINERS, "x"])
def test_frames_may_lie_in_any_order(name: str, tmp_path: Path) -> None:
    planar = np.ascontiguousarray(moving().transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    write_video(planar, tmp_path / "a" / name, 8)
    write_video(moving(), tmp_path / "b" / name, 8)
    a, b = (read_video(tmp_path / folder / name).frames for folder in "ab")
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_file_is_replaced(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("old")
    write_video(moving(1), tmp_path / name, 8)
    assert len(read_video(tmp_path / name).frames) == 1


@pytest.mark.parametrize("name", ["a:b.mp4", "%03d é.mov", "a:b%d", "http:", "-x.mp4"])
def test_names_are_only_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg would see protocols, patterns and options in them."""
    monkeypatch.chdir(tmp_path)
    write_video(moving(2, 16, 16), Path(name), 8)
    assert read_video(Path(name)).frames.shape == (2, 16, 16, 3)
    assert [p.name for p in tmp_path.iterdir()] == [name]
