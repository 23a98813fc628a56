"""A change of a face's shape, from the request or the command line to the frames; and every way to refuse one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
import typer
from click.testing import Result
from torch import Tensor
from typer.testing import CliRunner

from fantasyid_engine.cli import app
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import ConfigError, InputError
from fantasyid_engine.job import prepare
from fantasyid_engine.models.network import Network
from fantasyid_engine.progress import Progress
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.runtime.plan import EngineConfig
from fantasyid_engine.sampling.state import RenderState
from fantasyid_engine.video.sidecar import read_sidecar
from fantasyid_engine.weights.model import Model, save_model
from tests.face.pictures import avatar, encoded
from tests.face.plys import ply
from tests.small import ABLATIONS, READS_SHAPE, hierarchy, randomise, reads_shape
from tests.whole_model import paper_model, write_released_model

PHOTO = encoded(avatar(80), "PNG")
REQUEST = VideoRequest(image=PHOTO, prompt="smiles", seed=11, num_inference_steps=1, num_frames=1)
CONFIG = EngineConfig(device="cpu", precision="float32", backend="eager")
DIGEST = "f51c13f97bcc8080888ef49a72c95153367f1afa293098611e1b1b65c3081774"
"""Of a request for b"a photo", as it was before there were shapes."""


def model() -> Model:
    """Reads width, height and jaw off a photo."""
    return replace(paper_model(), network=reads_shape())


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine(model()) as engine:
        yield engine


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, with face.png beside it."""
    folder = tmp_path_factory.mktemp("shape") / "model"
    save_model(model(), folder)
    folder.with_name("face.png").write_bytes(PHOTO)
    return folder


def vertices(engine: Engine, request: VideoRequest) -> Tensor:
    """The vertices that the conditioner gets, [V, 3]."""
    seen: list[Tensor] = []
    conditioner = engine.model.network.conditioner
    real = conditioner.id_tokens

    def spy(features: Tensor, vertices: Tensor) -> Tensor:
        seen.append(vertices)
        return real(features, vertices)

    with patch.object(conditioner, "id_tokens", spy):
        engine.generate(request)
    return seen[0][0]


def basis(engine: Engine) -> Tensor:
    shape = engine.model.network.shape
    assert shape is not None
    return shape.basis


@pytest.mark.parametrize("given", [False, True], ids=["photo", "given"])
def test_vertices_move_as_the_basis_says(engine: Engine, given: bool) -> None:
    request = replace(REQUEST, vertices=ply(np.float32(0.9) * hierarchy().template.numpy()) if given else None)
    changed = replace(request, shape={"jaw": -1.0, "width": 1.5})
    moved = vertices(engine, changed) - vertices(engine, request)
    torch.testing.assert_close(moved, 1.5 * basis(engine)[0] - basis(engine)[2], rtol=0, atol=2e-7)
    assert moved.abs().max() > 0.01


def test_frames(engine: Engine) -> None:
    """Another shape, other frames; no change, the same; the order of names does not matter."""
    plain = engine.generate(REQUEST)
    assert plain.record["request"]["shape"] is None
    one, other, more = (
        engine.generate(replace(REQUEST, shape=shape))
        for shape in ({"width": 2.0, "jaw": -1.0}, {"jaw": -1.0, "width": 2.0}, {"width": 2.0, "jaw": -2.0})
    )
    assert one.frames_sha256 == other.frames_sha256
    assert len({result.frames_sha256 for result in (plain, one, more)}) == 3
    assert engine.generate(replace(REQUEST, shape={"jaw": 0.0})).frames_sha256 == plain.frames_sha256


def test_again_from_the_sidecar(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(PHOTO)
    request = replace(REQUEST, image=tmp_path / "face.png", shape={"width": 2, "jaw": -0.1})
    result = engine.generate(request)
    result.save(tmp_path / "a.mp4")
    assert json.loads((tmp_path / "a.json").read_text())["request"]["shape"] == {"width": 2.0, "jaw": -0.1}
    sidecar = read_sidecar(tmp_path / "a.json")
    again = engine.generate(sidecar.request, plan=sidecar.plan)
    assert np.array_equal(again.frames, result.frames) and again.record["request"] == result.record["request"]


def test_a_state_of_another_shape_is_refused(engine: Engine) -> None:
    states: list[RenderState] = []

    def keep(progress: Progress) -> None:
        if progress.state is not None:
            states.append(progress.state())

    shape = {"width": 2.0, "jaw": -1.0}
    whole = engine.generate(replace(REQUEST, shape=shape), on_progress=keep).frames_sha256
    backwards = dict(reversed(shape.items()))
    assert engine.generate(replace(REQUEST, shape=backwards), resume=states[0]).frames_sha256 == whole
    for other in (None, {"width": 2.0}, {"width": 2.0, "jaw": 1.0}):
        with pytest.raises(ConfigError, match="another request"):
            engine.generate(replace(REQUEST, shape=other), resume=states[0])


def test_the_digest_of_a_request_without_a_shape_is_what_it_was() -> None:
    """States that were saved before there were shapes go on."""
    request = VideoRequest(image=b"a photo", prompt="smiles", seed=11)
    plain = prepare(model(), CONFIG, request, plan=None, resume=None)
    shaped = prepare(model(), CONFIG, replace(request, shape={"jaw": 0.0}), plan=None, resume=None)
    assert plain.digest == DIGEST != shaped.digest
    assert plain.face.shape_change is None and shaped.face.shape_change == (0.0, 0.0, 0.0)


def without_vertices() -> Network:
    network = Network(replace(ABLATIONS["face_vertices"], shape=READS_SHAPE.shape), hierarchy())
    randomise(network)
    return network.eval()


def refused(made: Model, shape: dict[str, float], code: str) -> str:
    """Before anything is read or reported."""
    reports: list[Progress] = []
    request = replace(REQUEST, image="nowhere.png", shape=shape)
    with Engine(made) as engine, pytest.raises(InputError) as error:
        engine.generate(request, on_progress=reports.append)
    assert error.value.code == code and not reports
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.mark.parametrize(
    "made",
    [paper_model, lambda: replace(paper_model(), network=without_vertices())],
    ids=["no regressor", "no vertices"],
)
def test_models_that_cannot(made) -> None:
    message = refused(made(), {"jaw": 1.0}, "shape_unsupported")
    assert message == "this model does not read the shape of a face; leave shape out"


@pytest.mark.parametrize(
    ("name", "shown", "hint"),
    [
        ("jaww", "jaww", "did you mean jaw? "),
        ("Width", "Width", "did you mean width? "),
        ("ears", "ears", ""),
        ("", "", ""),
        ("a\nb\x1b", r"a\nb\x1b", ""),
        ("x" * 5000, "x" * 97 + "...", ""),
    ],
    ids=["near", "case", "far", "empty", "escapes", "long"],
)
def test_names_that_the_model_does_not_know(name: str, shown: str, hint: str) -> None:
    message = refused(model(), {"jaw": 1.0, name: 1.0}, "shape_unknown")
    assert message == f"this model knows no shape '{shown}'; {hint}it knows width, height, jaw"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["generate", *map(str, words)])


def rendered(*words: str | Path) -> str:
    """SHA-256 of the frames, as the command prints it."""
    done = run("--device", "cpu", *words)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout.splitlines()[1]


def test_command_line(folder: Path, tmp_path: Path) -> None:
    """As in Python; the sidecar brings its shape, and --shape takes its place."""
    settings = ["--model", folder, "--image", folder.with_name("face.png"), "--prompt", "smiles"]
    settings += ["--seed", "11", "--steps", "1", "--frames", "1"]
    words = ["--shape", "width=+1.5", "--shape", "jaw=-1"]
    plain = rendered(*settings, "--out", tmp_path / "plain.mp4")
    shaped = rendered(*settings, *words, "--out", tmp_path / "shaped.mp4")
    recorded = json.loads((tmp_path / "shaped.json").read_text())["request"]
    assert recorded["shape"] == {"width": 1.5, "jaw": -1.0} and shaped != plain
    assert rendered("--from", tmp_path / "shaped.json", "--out", tmp_path / "again.mp4") == shaped
    assert rendered("--from", tmp_path / "plain.json", *words, "--out", tmp_path / "later.mp4") == shaped
    other = rendered("--from", tmp_path / "shaped.json", "--shape", "jaw=-1", "--out", tmp_path / "other.mp4")
    assert other not in (plain, shaped)
    assert read_sidecar(tmp_path / "other.json").request.shape == {"jaw": -1.0}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["jaww=1"], "shape_unknown", "did you mean jaw?"),
        (["jaw=nan"], "shape_invalid", "shape 'jaw' is nan; it must be a number from -5 to 5"),
        (["jaw=-inf"], "shape_invalid", "shape 'jaw' is -inf"),
        (["width=1", "jaw=5.5"], "shape_invalid", "shape 'jaw' is 5.5"),
    ],
    ids=str,
)
def test_command_line_refuses(folder: Path, tmp_path: Path, words: list[str], code: str, says: str) -> None:
    options = [part for word in words for part in ("--shape", word)]
    photo = folder.with_name("face.png")
    done = run("--model", folder, "--image", photo, "--prompt", "x", *options, "--out", tmp_path / "a.mp4")
    assert isinstance(done.exception, InputError) and done.exception.code == code and done.exception.exit_code == 65
    assert says in str(done.exception) and not list(tmp_path.iterdir())


def test_a_model_in_the_authors_form_refuses(tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(PHOTO)
    released = write_released_model(tmp_path / "model")
    photo, out = tmp_path / "face.png", tmp_path / "a.mp4"
    done = run("--model", released, "--image", photo, "--prompt", "x", "--shape", "jaw=1", "--out", out)
    assert isinstance(done.exception, InputError) and done.exception.code == "shape_unsupported"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["jaw"], "is not NAME=NUMBER"),
        (["jaw="], "is not NAME=NUMBER"),
        (["=1"], "is not NAME=NUMBER"),
        (["jaw=wide"], "is not NAME=NUMBER"),
        (["jaw=1=2"], "is not NAME=NUMBER"),
        (["jaw:1"], "is not NAME=NUMBER"),
        ([""], "is not NAME=NUMBER"),
        (["jaw=1", "width=2", "jaw=1"], "names 'jaw' twice"),
    ],
    ids=str,
)
def test_wrong_usage(words: list[str], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before a model is opened."""
    monkeypatch.setattr(Engine, "open", lambda *arguments, **settings: pytest.fail("opened"))
    options = [part for word in words for part in ("--shape", word)]
    done = run("--image", "a.png", "--prompt", "x", *options, "--out", "a.mp4")
    assert done.exit_code == typer.BadParameter.exit_code == 2
    assert says in " ".join(done.output.split())
