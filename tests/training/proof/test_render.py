"""Requests with a face, with changed vertices, and without a face; on a model whose injections are not idle."""

import numpy as np
import pytest
import torch

from fantasyid_engine.face.vertices import decode_vertices
from fantasyid_engine.training.proof.people import Subject
from fantasyid_engine.training.proof.render import needs_vertices, rendered, true_vertices, without_identity
from fantasyid_engine.training.proof.shape_control import has_shape_control
from tests.training.proof.cases import lively_engine, subjects

PROMPT = "a person nods"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Subject, ...]:
    return subjects(tmp_path_factory.mktemp("two"))


def test_without_identity_all_photos_give_one_clip(two: tuple[Subject, ...]) -> None:
    engine = lively_engine()
    before = [rendered(engine, one, PROMPT, 1, 2) for one in two]
    with without_identity(engine.model.network):
        nobody = [rendered(engine, one, PROMPT, 1, 2) for one in two]
    after = rendered(engine, two[0], PROMPT, 1, 2)
    assert (nobody[0] == nobody[1]).all()
    assert (before[0] != before[1]).any() and (before[0] != nobody[0]).any()
    assert (before[0] == after).all()


def test_a_shape_is_of_the_request(two: tuple[Subject, ...]) -> None:
    engine = lively_engine()
    assert has_shape_control(engine.model)
    as_read = rendered(engine, two[0], PROMPT, 1, 2)
    assert (rendered(engine, two[0], PROMPT, 1, 2, shape={"face_width": 0.0}) == as_read).all()
    assert (rendered(engine, two[0], PROMPT, 1, 2, shape={"face_width": 2.0}) != as_read).any()


def test_own_vertices_of_a_person(two: tuple[Subject, ...]) -> None:
    model = lively_engine().model
    assert not needs_vertices(model)
    own = decode_vertices(true_vertices(two[0]), "own", model.hierarchy)
    shape = model.network.shape
    assert shape is not None
    assert np.allclose(own, shape.vertices(torch.from_numpy(two[0].sample.who.shape)[None])[0], atol=1e-6)
