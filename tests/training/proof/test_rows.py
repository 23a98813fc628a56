"""The table's rows on true renders and on blurred ones: what they say must be so."""

import cv2
import numpy as np
import pytest

from fantasyid_engine.evaluation.frames import read_frames
from fantasyid_engine.evaluation.instruments import avatar_instruments
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.training.proof.people import clip_path, write_clip, write_truth
from fantasyid_engine.training.proof.report import Row, Settings
from fantasyid_engine.training.proof.rows import measured_rows
from fantasyid_engine.training.recipe_file import read_recipe
from tests.training.proof.cases import quiet

PEOPLE = 6


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    """True clips, these blurred, those of the next person, and clips of nobody."""
    place = tmp_path_factory.mktemp("rows")
    people = write_truth(start_model(read_recipe("avatar-mini")), place, Settings(people=PEOPLE), quiet)
    true = [read_frames(clip_path(place, "true", person)) for person in people]
    for number, person in enumerate(people):
        blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in true[number]])
        write_clip(blurred.astype(np.uint8), place, "blurred", person, 8)
        write_clip(true[(number + 1) % PEOPLE][:2], place, "others", person, 8)
        write_clip(np.zeros((2, 64, 64, 3), np.uint8), place, "nobody", person, 8)
    _, made = measured_rows(place, ("true", "blurred", "others", "nobody"), avatar_instruments(), quiet)
    return {row.name: row for row in made}


def test_true_renders_are_recognised(rows: dict[str, Row]) -> None:
    true = rows["true"]
    assert true.rank_1 == 1 and true.faces == 1
    assert true.mean_adherence is not None and true.mean_adherence >= 0.9


def test_a_blurred_face_is_less_sharp(rows: dict[str, Row]) -> None:
    true, blurred = rows["true"].sharpness, rows["blurred"].sharpness
    assert true is not None and blurred is not None
    assert 0.4 < blurred / true < 0.7


def test_another_person_is_not_recognised(rows: dict[str, Row]) -> None:
    assert rows["others"].rank_1 == 0
    assert rows["others"].rs < rows["true"].rs - 0.3


def test_without_faces_figures_are_missing(rows: dict[str, Row]) -> None:
    nobody = rows["nobody"]
    assert (nobody.fid, nobody.ifs, nobody.fm, nobody.sharpness) == (None,) * 4
    assert (nobody.rs, nobody.faces, nobody.rank_1) == (0, 0, 0)
