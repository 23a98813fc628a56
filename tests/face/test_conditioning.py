"""Where a face's vertices come from: the request, else the photo, else the template, else an error; or nowhere."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import InputError
from fantasyid_engine.face.conditioning import FaceInput, condition
from fantasyid_engine.face.tower_input import tower_input
from fantasyid_engine.models.network import Network
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.weights.model import Model
from tests.face.pictures import avatar, encoded
from tests.face.plys import ply
from tests.small import ABLATIONS, PAPER, hierarchy, randomise, reads_shape
from tests.whole_model import paper_model

GIVEN = np.float32(0.9) * hierarchy().template.numpy()


def plain(row: str | None = None) -> Network:
    network = Network(PAPER if row is None else ABLATIONS[row], hierarchy())
    randomise(network)
    return network.eval()


@cache
def parts() -> Model:
    return paper_model()


def model_of(network: Network, *, template: bool = False) -> Model:
    return replace(parts(), network=network, render=replace(parts().render, template_vertices=template))


def photo() -> FaceInput:
    return FaceInput(encoded(avatar(80), "PNG"), "me.png", None, "")


def tokens(network: Network, *, given: bool = False, template: bool = False) -> Tensor:
    face = replace(photo(), vertices=ply(GIVEN) if given else None, vertices_name="me.ply")
    return condition(model_of(network, template=template), face).id_tokens


def expected(network: Network, vertices_V3: Tensor | None) -> Tensor:
    with torch.inference_mode():
        return network.id_tokens(tower_input(crop(), 32), None if vertices_V3 is None else vertices_V3[None])


def crop() -> np.ndarray:
    seen = condition(model_of(reads_shape()), photo()).crop
    assert seen is not None
    return seen


def test_a_render_hashes_its_photo_and_its_vertices_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the job, the cache and the record together."""
    sha256, hashed = hashlib.sha256, []

    def counting(data: Any = b"", **options: Any) -> Any:
        hashed.append(data)
        return sha256(data, **options)

    image, vertices = photo().photo, ply(GIVEN)
    request = VideoRequest(image=image, vertices=vertices, prompt="smile", num_inference_steps=1, num_frames=1)
    with Engine(paper_model()) as engine:
        monkeypatch.setattr(hashlib, "sha256", counting)
        inputs = engine.generate(request).record["inputs"]
    given = [data for data in hashed if isinstance(data, bytes)]
    assert given.count(image) == given.count(vertices) == 1
    assert inputs["image_sha256"] == sha256(image).hexdigest()
    assert inputs["vertices_sha256"] == sha256(vertices).hexdigest()


def test_a_changed_face_has_digests_of_its_own() -> None:
    face = photo()
    assert face.digests == {"image": hashlib.sha256(face.photo).hexdigest()}
    other = replace(face, photo=b"another", vertices=b"ply")
    expected = {"image": hashlib.sha256(b"another").hexdigest(), "vertices": hashlib.sha256(b"ply").hexdigest()}
    assert other.digests == expected


@pytest.mark.parametrize("given", [True, False], ids=["given", "read off"])
def test_a_model_that_guides_by_the_photo_has_tokens_without_it(given: bool) -> None:
    """First, of the same vertices; behind them those of the face, as any model has them."""
    network = reads_shape()
    model = model_of(network)
    guides = replace(model, render=replace(model.render, guides_by_photo=True))
    face = replace(photo(), vertices=ply(GIVEN) if given else None, vertices_name="me.ply")
    made, alone = condition(guides, face).id_tokens, condition(model, face).id_tokens
    assert made.shape == guides.id_tokens_shape and alone.shape == model.id_tokens_shape
    torch.testing.assert_close(made[1:], alone, rtol=0, atol=0)
    assert not torch.allclose(made[:1], alone)
    with torch.inference_mode():
        features = network.tower(tower_input(crop(), 32))
        vertices = torch.tensor(GIVEN)[None] if given else network.shape.vertices(network.shape(features))
        expected = network.conditioner.id_tokens(torch.randn_like(features), vertices, torch.tensor([False]))
    torch.testing.assert_close(made[:1], expected, rtol=1e-5, atol=1e-5)


def test_given_vertices_win() -> None:
    for network in (plain(), reads_shape()):
        wanted = expected(network, torch.from_numpy(GIVEN))
        for template in (True, False):
            assert torch.equal(tokens(network, given=True, template=template), wanted)


@pytest.mark.parametrize("template", [True, False])
def test_read_off_the_photo(template: bool) -> None:
    """Also where a template could stand in; the tower runs once."""
    network = reads_shape()
    assert network.shape is not None
    runs = []
    network.tower.register_forward_hook(lambda module, args, output: runs.append(output))
    made = tokens(network, template=template)
    assert len(runs) == 1
    with torch.inference_mode():
        vertices = network.shape.vertices(network.shape(runs[0]))
        assert torch.equal(made, network.conditioner.id_tokens(runs[0], vertices))
    assert not torch.allclose(made, expected(network, hierarchy().template))


def test_template_stands_in() -> None:
    network = plain()
    assert torch.equal(tokens(network, template=True), expected(network, hierarchy().template))


def test_nothing_to_stand_in() -> None:
    with pytest.raises(InputError) as error:
        tokens(plain())
    assert error.value.code == "vertices_missing"
    assert "no vertices for me.png" in str(error.value) and "162 vertices" in str(error.value)


@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("template", [True, False])
def test_a_model_without_vertices_wants_none(given: bool, template: bool) -> None:
    network = plain("face_vertices")
    assert torch.equal(tokens(network, given=given, template=template), expected(network, None))


@pytest.mark.parametrize(
    ("row", "notes"),
    [("face_vertices", ["this model takes no vertices: those of the request are not used"]), ("face_abstractor", [])],
)
def test_a_render_says_that_vertices_are_not_used(row: str, notes: list[str], tmp_path: Path) -> None:
    (tmp_path / "me.ply").write_bytes(ply(GIVEN))
    model = replace(paper_model(), network=plain(row))
    request = VideoRequest(
        image=encoded(avatar(80), "PNG"), prompt="smile", seed=1, num_inference_steps=1, num_frames=1
    )
    with Engine(model) as engine:
        with_vertices = engine.generate(replace(request, vertices=tmp_path / "me.ply"))
        without = engine.generate(request)
    assert list(with_vertices.notes) == notes and without.notes == ()
    assert (with_vertices.frames_sha256 == without.frames_sha256) == (row == "face_vertices")


@pytest.mark.parametrize("given", [True, False], ids=["given", "photo"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_change_of_shape_enters(given: bool, dtype: torch.dtype) -> None:
    network = reads_shape().to_dtype(dtype)
    vertices = ply(GIVEN) if given else None
    plain_face = replace(photo(), vertices=vertices, vertices_name="me.ply")
    face = replace(plain_face, shape_change=(1.5, 0.0, -2.0))
    made = condition(model_of(network), face).id_tokens
    with torch.inference_mode():
        read = torch.from_numpy(GIVEN)[None] if given else None
        wanted = network.id_tokens(tower_input(crop(), 32).to(dtype), read, torch.tensor([[1.5, 0.0, -2.0]]))
    assert torch.equal(made, wanted)
    assert not torch.allclose(made, condition(model_of(network), plain_face).id_tokens)


@pytest.mark.parametrize("make", [plain, reads_shape], ids=["template", "photo"])
def test_half_precision(make: Callable[[], Network]) -> None:
    network = make().to_dtype(torch.bfloat16)
    made = tokens(network, template=True)
    assert made.dtype == torch.bfloat16 and made.isfinite().all()
