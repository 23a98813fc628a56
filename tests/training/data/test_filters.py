"""What counts as a subtitle and as a sure face, and what a chain of filters leaves and reports."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.errors import Cancelled, OutputError
from fantasyid_engine.face.avatar import SURE
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.avatar.clips import World, render_clips
from fantasyid_engine.training.avatar.no_faces import KINDS, no_face
from fantasyid_engine.training.data.faces import FoundFace
from fantasyid_engine.training.data.filters.confidence import SureAvatar, SureFace, SureFinder
from fantasyid_engine.training.data.filters.report import READING, Report, run_filters, write_report
from fantasyid_engine.training.data.filters.subtitles import Subtitles, TextLine
from fantasyid_engine.training.data.frames import Frames
from fantasyid_engine.training.data.manifest import Clip
from tests.training.data.filter_videos import numbers, write_numbered
from tests.training.data.manifest_clips import clip


class Written:
    """Gives, frame by frame, the lines it was made with; a frame is known by its level."""

    name = "written"

    def __init__(self, lines: Sequence[Sequence[TextLine]]) -> None:
        self.of_frames = lines

    def lines(self, picture: Frames) -> list[TextLine]:
        return list(self.of_frames[int(picture[0, 0, 0])])


def verdict(*lines: Sequence[TextLine]) -> str | None:
    frames = np.broadcast_to(np.arange(len(lines), dtype=np.uint8)[:, None, None, None], (len(lines), 200, 300, 3))
    return Subtitles(Written(lines)).judge(clip(), frames)


def line(left: float = 60, top: float = 170, width: float = 180, height: float = 16) -> TextLine:
    return TextLine(left, top, left + width, top + height)


def test_text_that_stays_falls_out() -> None:
    assert verdict(*[[line()]] * 8) == "text at the bottom in 8 of 8 frames"
    assert verdict(*[[line(top=10)]] * 3, *[[]] * 5) == "text at the top in 3 of 8 frames"
    assert verdict([], [line()], [], [line()], [], [line()], [], []) == "text at the bottom in 3 of 8 frames"


def test_other_words_in_its_place_are_the_same_subtitle() -> None:
    assert verdict([line()], [line(110, width=80)], [line(40, 172, 220, 15)], [], []) is not None


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([[line()], [line()], *[[]] * 6], id="two-frames"),
        pytest.param([[line(top=90)]] * 8, id="in-the-middle"),
        pytest.param([[line(top=170 - 9 * i)] for i in range(8)], id="moves-up"),
        pytest.param([[line(left=10 + 50 * i, width=90)] for i in range(8)], id="moves-across"),
        pytest.param([[line(left, width=60)] for left in (10, 100, 200)], id="side-by-side"),
        pytest.param([[line(top=140, height=12)], [line(top=160)], [line(top=180)]], id="below-each-other"),
        pytest.param([[]] * 8, id="nothing"),
    ],
)
def test_text_elsewhere_stays(lines: Sequence[Sequence[TextLine]]) -> None:
    assert verdict(*lines) is None


class Sure:
    """As sure of a face as the first value of a picture says, in percent."""

    name = "sure"

    def sureness(self, picture: Frames) -> float:
        return float(picture[0, 0, 0]) / 100


def face_verdict(*percent: int, **settings: float) -> str | None:
    frames = np.array(percent, np.uint8)[:, None, None, None].repeat(3, axis=3)
    return SureFace(faces=Sure(), **settings).judge(clip(), frames)


def test_faces_that_are_sure() -> None:
    assert face_verdict(90, 95, 99, 100) is None
    assert face_verdict(90, 95, 99, 0) is None
    assert face_verdict(90, 95, 89, 89) == "a face of confidence 0.9 in 2 of 4 frames, under 75%"
    assert face_verdict(90, 95, 99, 0, share=1.0) == "a face of confidence 0.9 in 3 of 4 frames, under 100%"
    assert face_verdict(60, 60, 60, 60, least=0.55) is None
    for wrong in ({"least": 0.0}, {"least": 5.0}, {"share": 0.0}, {"share": 1.5}):
        with pytest.raises(ValueError, match="it must be above 0 and at most 1"):
            face_verdict(90, **wrong)


def test_the_surest_face_of_a_finder() -> None:
    class Two:
        name = "two"

        def find(self, picture: Frames) -> list[FoundFace]:
            points = np.zeros((5, 2), np.float32)
            return [FoundFace(FaceBox(0, 0, 9, 9, sure), sure, points) for sure in (0.6, 0.95)[: len(picture) - 1]]

    finder = SureFinder(Two())
    assert [finder.sureness(np.zeros((n, 4, 3), np.uint8)) for n in (3, 2, 1)] == [0.95, 0.6, 0.0]
    assert SureFace(faces=finder).name == "face confidence (two)"


def test_avatars_are_sure_enough_and_nothing_else_is() -> None:
    world = World(seed=5, split="train", people=4, num_frames=4)
    clips = render_clips([world.sample(i) for i in range(4)], 96).permute(0, 1, 3, 4, 2).numpy()
    sure = SureFace(faces=SureAvatar(), least=SURE)
    assert [sure.judge(clip(), frames) for frames in clips] == [None] * 4
    rng = np.random.default_rng(5)
    assert all(sure.judge(clip(), no_face(kind, rng, 96)[None]) for kind in KINDS)


class NumberUnder:
    """A filter that rejects clips whose first frame has a number under `least`, and remembers whom it saw."""

    def __init__(self, name: str, least: int) -> None:
        self.name, self.least = name, least
        self.saw: list[str] = []

    def judge(self, clip: Clip, frames: Frames) -> str | None:
        assert frames.shape == (8, 32, 96, 3)
        self.saw.append(clip.key)
        first = numbers(frames)[0]
        return None if first >= self.least else f"number {first}"


def made_clips(folder: Path) -> list[Clip]:
    write_numbered(folder / "a.mp4", 60)
    (folder / "bad.mp4").write_bytes(b"garbage")
    starts = [(f"at{start}", "a.mp4", start) for start in (0, 10, 20, 30, 40)]
    return [
        clip(key=key, video=video, start=start, frames=9)
        for key, video, start in (*starts[:2], ("damaged", "bad.mp4", 0), *starts[2:], ("gone", "gone.mp4", 0))
    ]


def test_a_chain(tmp_path: Path) -> None:
    clips, seen = made_clips(tmp_path), []
    low, high = NumberUnder("low", 10), NumberUnder("high", 30)
    report = run_filters(clips, tmp_path, [low, high], on_clip=lambda done, total: seen.append((done, total)))
    assert [kept.key for kept in report.kept] == ["at30", "at40"]
    assert list(report.fell_out) == [READING, "low", "high"]
    assert report.fell_out["low"] == (("at0", "number 0"),)
    assert report.fell_out["high"] == (("at10", "number 10"), ("at20", "number 20"))
    assert [key for key, _ in report.fell_out[READING]] == ["damaged", "gone"]
    assert all("cannot be read" in reason for _, reason in report.fell_out[READING])
    assert low.saw == ["at0", "at10", "at20", "at30", "at40"] and high.saw == low.saw[1:]
    assert seen == [(number, 7) for number in range(1, 8)] and report.total == 7


def test_the_order_decides_who_is_named(tmp_path: Path) -> None:
    clips = made_clips(tmp_path)
    report = run_filters(clips, tmp_path, [NumberUnder("high", 30), NumberUnder("low", 10)])
    assert report.fell_out["low"] == () and len(report.fell_out["high"]) == 3


def test_report_files(tmp_path: Path) -> None:
    fell_out = {READING: (("b", "cut\nshort"),), "low|er": (), "high": (("c", "small"), ("d", "small"))}
    write_report(Report(kept=(clip(), clip(key="e")), fell_out=fell_out), tmp_path / "new")
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["report.json", "report.md"]
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == {
        "format": 1,
        "clips": 5,
        "kept": ["a", "e"],
        "fell_out": {
            READING: [{"key": "b", "reason": r"cut\nshort"}],
            "low|er": [],
            "high": [{"key": "c", "reason": "small"}, {"key": "d", "reason": "small"}],
        },
    }
    assert (tmp_path / "new" / "report.md").read_text() == (
        "| filter | clips | fell out |\n"
        "|---|---:|---:|\n"
        "| reading | 5 | 1 |\n"
        "| low/er | 4 | 0 |\n"
        "| high | 4 | 2 |\n"
        "| kept | 2 | |\n"
    )
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        write_report(Report(kept=(), fell_out={}), tmp_path / "file" / "new")


def test_stopped(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        run_filters(made_clips(tmp_path), tmp_path, [], on_clip=stop)


def test_names_of_filters_differ(tmp_path: Path) -> None:
    for names in (["a", "a"], [READING]):
        with pytest.raises(ValueError, match="each needs a name of its own"):
            run_filters([], tmp_path, [NumberUnder(name, 0) for name in names])
