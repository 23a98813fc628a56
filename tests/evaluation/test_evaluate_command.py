"""The command `evaluate` as it is called: arguments, real faces with small ONNX networks, studies."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from fantasyid_engine.cli.evaluate import evaluate
from fantasyid_engine.errors import EngineError, InputError, OutputError, WeightsError
from fantasyid_engine.evaluation.report import read_evaluation
from fantasyid_engine.evaluation.study import QUESTIONS
from fantasyid_engine.video.write import write_video
from tests.evaluation.onnx_files import write_network
from tests.face.pictures import on, portrait


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(evaluate)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def check_refused(done: Result, error: type[EngineError], *says: str) -> None:
    assert isinstance(done.exception, error), done.output
    for part in says:
        assert part in str(done.exception)
    assert done.stdout == ""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A photo, two rows of videos of the drawn face, and an ArcFace network of a kind."""
    monkeypatch.chdir(tmp_path)
    face = portrait(200)
    Image.fromarray(on((240, 240), (face, 20, 20))).save("anna.png")
    for name, step in (("still", 0), ("moving", 4)):
        frames = np.stack([on((240, 240), (face, 20 + step * index, 20)) for index in range(3)])
        write_video(frames, Path(name) / "anna.mp4", 8)
    write_video(np.zeros((2, 240, 240, 3), np.uint8), Path("still") / "dark", 8)
    write_network(Path("arc.onnx"))
    return tmp_path


REAL = ("--references", "anna.png", "--arcface", "arc.onnx")


def test_real_faces(place: Path) -> None:
    done = run("still", "moving", *REAL, "--out", "out")
    assert done.exit_code == 0, done.output
    head, still, moving, *below = done.stdout.splitlines()
    assert head.split() == ["FID", "(arc.onnx)", "↓", "RS", "↑", "IFS", "↑", "FM", "↑", "faces", "↑"]
    assert (still.split()[0], moving.split()[0]) == ("still", "moving")
    assert any(line.endswith("are without them: still/dark") and "still: 1 of 2 clips" in line for line in below)
    assert below[-1] == "wrote out"
    assert "measured 3 of 3 videos: moving/anna.mp4" in done.stderr
    assert sorted(path.name for path in Path("out").iterdir()) == ["evaluation.json", "report.html", "table.md"]

    found = read_evaluation(Path("out/evaluation.json"))
    one, dark = found.methods[0].clips
    assert (dark.rs, dark.faces, one.faces) == (0, 0, 1)
    assert one.rs > 0.99 and one.fm is not None and one.fm < 0.2
    assert found.methods[1].fm is not None and found.methods[1].fm > one.fm + 0.5
    assert found.fid_against_crops == 1 and found.methods[0].fid_crops == 3
    values = json.loads(Path("out/evaluation.json").read_text())
    assert values["settings"]["networks"]["arcface"]["file"] == "arc.onnx"
    assert {"onnxruntime", "torch"} <= values["versions"].keys() and "cpu" in values["machine"]
    assert "| moving |" in Path("out/table.md").read_text()

    check_refused(run("still", *REAL, "--out", "out"), OutputError, "it exists already")
    assert run("moving", *REAL, "--out", "out", "--overwrite").exit_code == 0
    assert [method.name for method in read_evaluation(Path("out/evaluation.json")).methods] == ["moving"]


def test_inception_and_real_pictures(place: Path) -> None:
    write_network(Path("inception.onnx"), side=299, out=5)
    done = run("moving/anna.mp4", *REAL, "--inception", "inception.onnx", "--real", "still")
    assert done.exit_code == 0, done.output
    assert "FID (inception.onnx) ↓" in done.stdout and "face crops of videos 3; against 3 of still" in done.stdout
    assert "looked at" in done.stderr and not (place / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name videos, or --study with --answers"),
        (["still"], "needs --references"),
        (["still", "--references", "anna.png", "--inception", "arc.onnx"], "needs --arcface"),
        (["--answers", "a.json"], "needs the --study"),
        (["still", "--study", "p.html", "--answers", "a.json"], "is scored alone"),
        (["still", *REAL, "--study", "p.html"], "--study alone measures nothing"),
    ],
)
def test_wrong_usage(place: Path, arguments: list[str], says: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2 and done.stdout == ""
    assert says in " ".join(done.stderr.split()).replace("│ ", "")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (["nowhere.mp4", *REAL], InputError, "nowhere.mp4 does not exist"),
        (["anna.png", *REAL], InputError, "anna.png is no video"),
        (["broken.mp4", *REAL], InputError, "broken.mp4 cannot be read"),
        (["still", "--references", "empty", "--arcface", "arc.onnx"], InputError, "empty holds no photo"),
        (["still", "--references", "broken.mp4", "--arcface", "arc.onnx"], InputError, "broken.mp4 cannot be read"),
        (
            ["still", "--references", "grey", "--arcface", "arc.onnx"],
            InputError,
            "none of 2 photos belongs to still/anna",
        ),
        (["still", "--references", "grey/a.png", "--arcface", "arc.onnx"], InputError, "no face found in grey/a.png"),
        (["still", "--references", "anna.png", "--arcface", "broken.mp4"], WeightsError, "broken.mp4 cannot be loaded"),
        (["still", *REAL, "--inception", "arc.onnx"], WeightsError, "not one input [N, 3, 299, 299]"),
        (["still", *REAL, "--real", "empty"], InputError, "no photo and no video at empty"),
        (["still", *REAL, "--real", "grey"], InputError, "no face found in grey"),
        (["still", *REAL, "--out", "anna.png"], OutputError, "cannot write anna.png/evaluation.json"),
        (["still", "--references", "anna.png", "--study", "page.txt"], OutputError, "a study's page is a .html file"),
        (["still", "--references", "grey", "--study", "page.html"], InputError, "none of 2 photos"),
        (["--study", "page.html", "--answers", "anna.png"], InputError, "page.key.json cannot be read"),
    ],
)
def test_refused(place: Path, arguments: list[str], error: type[EngineError], says: str) -> None:
    (place / "empty").mkdir()
    (place / "grey").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (64, 64), "grey").save(place / "grey" / f"{name}.png")
    (place / "broken.mp4").write_bytes(b"no video")
    before = sorted(place.rglob("*"))
    check_refused(run(*arguments), error, says)
    assert sorted(place.rglob("*")) == before


def answers(study: str, items: Any, session: str, rating: int) -> str:
    rated = {item: {question.code: rating for question in QUESTIONS} for item in items}
    record = {"format": "fantasyid-answers-1", "study": study, "session": session, "rater": "", "saved_at": ""}
    return json.dumps(record | {"answers": rated})


def test_study_and_its_answers(place: Path) -> None:
    done = run("still", "moving", "--references", "anna.png", "--study", "page.html")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[0] == "wrote page.html: 3 videos to rate"
    assert "encoded 3 of 3 videos" in done.stderr
    key = json.loads(Path("page.key.json").read_text())
    for name, rating in (("a", 4), ("b", 7)):
        Path(f"{name}.json").write_text(answers(key["study"], key["items"], name, rating))
    scored = run("--study", "page.html", "--answers", "a.json", "--answers", "b.json", "--out", "out")
    assert scored.exit_code == 0, scored.output
    lines = scored.stdout.splitlines()
    assert lines[0].split() == ["OQ", "↑", "F-Sim", "↑", "F-Str", "↑", "FD", "↑"]
    assert [line.split() for line in lines[1:3]] == [[name, *["5.50"] * 4] for name in ("moving", "still")]
    assert lines[3].startswith("2 raters; videos: moving 1, still 2")
    assert sorted(path.name for path in Path("out").iterdir()) == ["study.json", "study.md"]
    check_refused(run("--study", "page.html", "--answers", "a.json", "--out", "out"), OutputError, "it exists already")
    check_refused(run("--study", "page.html", "--answers", "a.json", "--answers", "a.json"), InputError, "same rater")


def test_study_and_measures_in_one_run(place: Path) -> None:
    done = run("moving", *REAL, "--study", "page.html", "--out", "out")
    assert done.exit_code == 0, done.output
    assert (place / "page.html").exists() and (place / "out" / "report.html").exists()
    assert "wrote page.html" in done.stdout and "IFS" in done.stdout
