"""The right frames of a video, in the right size, without reading all of it."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.training.data.frames import read_clip_frames, sample_frames
from fantasyid_engine.video.write import write_video
from tests.training.data.filter_videos import numbers, write_numbered
from tests.training.data.manifest_clips import refused


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1000 frames with key frames every 250."""
    return write_numbered(tmp_path_factory.mktemp("videos") / "long.mp4", 1000)


@pytest.mark.parametrize(
    ("start", "frames", "count", "expected"),
    [
        pytest.param(0, None, 5, [0, 250, 500, 749, 999], id="all"),
        pytest.param(0, None, 1, [0], id="first"),
        pytest.param(130, 49, 8, [130, 137, 144, 151, 157, 164, 171, 178], id="clip"),
        pytest.param(700, None, 3, [700, 850, 999], id="to-the-end"),
        pytest.param(3, 450, 4, [3, 153, 302, 452], id="far-apart"),
        pytest.param(999, None, 2, [999, 999], id="last"),
        pytest.param(40, 2, 5, [40, 40, 40, 41, 41], id="fewer-than-asked"),
    ],
)
def test_samples(start: int, frames: int | None, count: int, expected: list[int], long_video: Path) -> None:
    found = sample_frames(long_video, start, frames, count)
    assert found.shape == (count, 32, 96, 3) and found.dtype == np.uint8
    assert numbers(found) == expected


@pytest.mark.parametrize(("start", "frames"), [(0, 3), (249, 4), (260, 1), (990, 10), (997, None)])
def test_clips(start: int, frames: int | None, long_video: Path) -> None:
    found = read_clip_frames(long_video, start, frames, (16, 48))
    assert numbers(found) == list(range(start, start + (frames or 3)))


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_every_rate(suffix: str, fps: int, tmp_path: Path) -> None:
    path = write_numbered(tmp_path / f"x{suffix}", 70, fps=fps)
    for start in (0, 1, 33, 69):
        assert numbers(sample_frames(path, start, 1, 1)) == [start]


def test_frames_that_are_not_shown(tmp_path: Path) -> None:
    """A file cut without encoding holds frames from its key frame on, and counts them."""
    whole = write_numbered(tmp_path / "whole.mp4", 60, fps=10)
    with av.open(str(whole)) as source, av.open(str(tmp_path / "cut.mp4"), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None and packet.pts is not None:
                hidden = int(2 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - hidden, packet.dts - hidden, copy
                target.mux(packet)
    with av.open(str(tmp_path / "cut.mp4")) as container:
        assert container.streams.video[0].frames == 60
    assert numbers(sample_frames(tmp_path / "cut.mp4", 0, None, 3)) == [20, 40, 59]
    assert numbers(read_clip_frames(tmp_path / "cut.mp4", 5, 2, (16, 48))) == [25, 26]


@pytest.mark.parametrize("size", [(16, 16), (24, 8), (8, 24), (70, 50), (31, 47)], ids=str)
@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50)], ids=str)
def test_the_middle_in_any_size(shape: tuple[int, int], size: tuple[int, int], tmp_path: Path) -> None:
    """The largest middle part in the asked proportions: what is kept of coordinates tells."""
    height, width = shape
    down, across = np.mgrid[:height, :width]
    picture = np.stack([across * 3, down * 3, np.full(shape, 60)], axis=2).astype(np.uint8)
    write_video(np.repeat(picture[None], 3, axis=0), tmp_path / "x.mp4", 8)
    found = read_clip_frames(tmp_path / "x.mp4", 0, 3, size)
    assert found.shape == (3, *size, 3)
    scale = min(height / size[0], width / size[1])
    rows = (np.arange(size[0]) + 0.5 - size[0] / 2) * scale + height / 2 - 0.5
    columns = (np.arange(size[1]) + 0.5 - size[1] / 2) * scale + width / 2 - 0.5
    assert np.abs(found[1, 2:-2, 2:-2, 0].mean(axis=0) - 3 * columns[2:-2]).max() < 5
    assert np.abs(found[1, 2:-2, 2:-2, 1].mean(axis=1) - 3 * rows[2:-2]).max() < 5


def test_nothing_aliases(tmp_path: Path) -> None:
    """Stripes too fine for the small picture become grey, as Pillow's own filter makes them."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, ::2] = 255
    write_video(np.repeat(picture[None], 2, axis=0), tmp_path / "x.mp4", 8)
    small = read_clip_frames(tmp_path / "x.mp4", 0, None, (16, 24))
    assert np.ptp(small[:, 2:-2, 2:-2].astype(int)) < 30 and abs(small.mean() - 127) < 10
    whole = sample_frames(tmp_path / "x.mp4", 0, None, 1)[0]
    expected = np.asarray(Image.fromarray(whole).resize((24, 16), Image.Resampling.LANCZOS))
    assert np.array_equal(small[0], expected)


@pytest.mark.parametrize(
    ("start", "frames", "says"),
    [(1000, None, "no frame 1000"), (10**6, 1, "no frame 1000000"), (990, 11, "no frame 1000"), (10**6, None, "no fr")],
)
def test_no_such_frames(start: int, frames: int | None, says: str, long_video: Path) -> None:
    assert says in refused("video_unreadable", "long.mp4", sample_frames, long_video, start, frames, 4)
    refused("video_unreadable", "long.mp4", read_clip_frames, long_video, start, frames, (8, 8))


@pytest.mark.parametrize("data", [b"", b"x", b"garbage" * 100, b"#EXTM3U\n#EXTINF:1\nother.mp4\n", b"\0\0\0\x08moov"])
def test_no_video(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_bytes(data)
    refused("video_unreadable", "x.mp4", sample_frames, tmp_path / "x.mp4", 0, None, 2)
    refused("video_unreadable", "x.mp4", read_clip_frames, tmp_path / "x.mp4", 0, None, (8, 8))


def test_other_refusals(tmp_path: Path) -> None:
    assert "No such file" in refused("video_unreadable", "gone.mp4", sample_frames, tmp_path / "gone.mp4", 0, 1, 1)
    (tmp_path / "x.avi").write_bytes(b"x")
    assert "none of .mp4, .mov" in refused("video_unreadable", "x.avi", sample_frames, tmp_path / "x.avi", 0, 1, 1)
    refused("video_unreadable", r"a\nb.mp4", sample_frames, tmp_path / "a\nb.mp4", 0, 1, 1)


def test_cut_short(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "x.mp4", 120)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 3 // 4])
    refused("video_unreadable", "x.mp4", sample_frames, path, 0, None, 8)
    refused("video_unreadable", "x.mp4", read_clip_frames, path, 0, 120, (8, 8))


def test_sound_only(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    assert "no pictures" in refused("video_unreadable", "x.mp4", sample_frames, tmp_path / "x.mp4", 0, None, 2)
