"""Whole evaluations with stand-ins for networks: patches for faces, colours for people."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.clips import Clip, Method
from fantasyid_engine.evaluation.faces import face_crops
from fantasyid_engine.evaluation.frechet import frechet_distance
from fantasyid_engine.evaluation.measure import evaluate
from fantasyid_engine.evaluation.real import read_real
from fantasyid_engine.evaluation.references import Reference
from fantasyid_engine.face.detect import FaceBox
from tests.evaluation.stand_ins import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    ColourEmbedder,
    FixedObserver,
    clip,
    patch_picture,
    stand_ins,
    write_patches,
    write_reference,
)


@pytest.fixture
def red(tmp_path: Path) -> Reference:
    return write_reference(tmp_path / "photos" / "red.png", RED)


def same(found: Sequence[float | None], expected: Sequence[float | None]) -> bool:
    """Whether numbers are near each other, and missing where the others are."""
    numbers = [[math.nan if value is None else value for value in values] for values in (found, expected)]
    return numbers[0] == pytest.approx(numbers[1], rel=1e-5, nan_ok=True)


def test_same_person_standing_still(tmp_path: Path, red: Reference) -> None:
    video = write_patches(tmp_path / "still", [RED] * 3)
    (row,) = evaluate([Method("ours", (clip(video),))], [red], stand_ins()).methods
    assert (row.rs, row.ifs, row.fm, row.faces) == (pytest.approx(1), pytest.approx(1), 0, 1)
    assert row.fid == pytest.approx(0, abs=1e-6)
    assert row.fid_crops == 3 and row.adherence == {}


def test_against_plain_numbers(tmp_path: Path, red: Reference) -> None:
    """Two people in turn, and frames without any."""
    colours = [RED, GREEN, None, RED, RED]
    video = write_patches(tmp_path / "turns", colours, step=2)
    found = evaluate([Method("ours", (clip(video),))], [red], stand_ins())
    (row,), (measured,) = found.methods, found.methods[0].clips

    def cosine(one: tuple[int, ...], other: tuple[int, ...]) -> float:
        a, b = np.array(one) - 30.0, np.array(other) - 30.0
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    expected = [None if colour is None else cosine(colour, RED) for colour in colours]
    assert same(measured.rs_by_frame, expected)
    assert same(measured.ifs_by_pair, [cosine(RED, GREEN), None, None, 1])
    assert [value is None for value in measured.fm_by_pair] == [False, True, True, False]
    assert measured.faces == row.faces == 0.8
    assert row.rs == pytest.approx((3 + cosine(RED, GREEN)) / 4, rel=1e-5)
    assert row.ifs == pytest.approx((1 + cosine(RED, GREEN)) / 2, rel=1e-5)

    places = [10 + 2 * index for index in range(5)]
    pictures = [patch_picture(c, left=x) for c, x in zip(colours, places, strict=True) if c is not None]
    boxes = [FaceBox(x, 16, 24, 24, None) for c, x in zip(colours, places, strict=True) if c is not None]
    features = ColourEmbedder().features(face_crops(pictures, boxes, 16))
    reference = ColourEmbedder().features(face_crops([patch_picture(RED)], [FaceBox(20, 16, 24, 24, None)], 16))
    assert row.fid == pytest.approx(frechet_distance(features, reference))
    assert (row.fid_crops, found.fid_against_crops, found.fid_against) == (4, 1, "references")
    assert found.fid_label == "FID-standin"


def test_changing_people_lowers_ifs_and_rs(tmp_path: Path, red: Reference) -> None:
    methods = [
        Method("one", (clip(write_patches(tmp_path / "one", [RED] * 6)),)),
        Method("two", (clip(write_patches(tmp_path / "two", [RED] * 3 + [GREEN] * 3)),)),
        Method("mixed", (clip(write_patches(tmp_path / "mixed", [RED, GREEN] * 3)),)),
    ]
    one, two, mixed = evaluate(methods, [red], stand_ins()).methods
    assert one.ifs is not None and two.ifs is not None and mixed.ifs is not None
    assert one.ifs > two.ifs > mixed.ifs
    assert one.rs > two.rs == pytest.approx(mixed.rs)
    assert one.fid is not None and two.fid is not None and one.fid < two.fid


def test_no_face_at_all(tmp_path: Path, red: Reference) -> None:
    clips = clip(write_patches(tmp_path / "none", [None] * 3)), clip(write_patches(tmp_path / "one", [RED]))
    found = evaluate([Method("a", clips), Method("b", clips[:1])], [red], stand_ins())
    both, none = found.methods
    assert (none.rs, none.ifs, none.fm, none.fid, none.fid_crops, none.faces) == (0, None, None, None, 0, 0)
    assert both.rs == pytest.approx(0.5) and both.faces == 0.5 and both.fid_crops == 1
    assert any(str(tmp_path / "none") in note and "no face" in note for note in found.notes)


def test_each_clip_counts_the_same(tmp_path: Path, red: Reference) -> None:
    clips = clip(write_patches(tmp_path / "long", [RED] * 9)), clip(write_patches(tmp_path / "short", [GREEN] * 2))
    (row,) = evaluate([Method("a", clips)], [red], stand_ins()).methods
    assert row.rs == pytest.approx((row.clips[0].rs + row.clips[1].rs) / 2)


def test_every_clip_has_its_own_person(tmp_path: Path, red: Reference) -> None:
    green = write_reference(tmp_path / "photos" / "green.png", GREEN)
    clips = clip(write_patches(tmp_path / "red", [RED] * 2)), clip(write_patches(tmp_path / "green", [GREEN] * 2))
    (row,) = evaluate([Method("a", clips)], [green, red], stand_ins()).methods
    assert [measured.rs for measured in row.clips] == pytest.approx([1, 1])
    assert [Path(measured.reference).name for measured in row.clips] == ["red.png", "green.png"]


def test_pairs_are_checked_before_any_clip_is_read(tmp_path: Path, red: Reference) -> None:
    blue = write_reference(tmp_path / "photos" / "blue.png", BLUE)
    methods = [Method("a", (clip(tmp_path / "red"), clip(tmp_path / "unknown")))]
    with pytest.raises(InputError, match="unknown") as caught:
        evaluate(methods, [red, blue], stand_ins())
    assert caught.value.code == "reference_missing"


def test_a_reference_without_a_face_is_refused(tmp_path: Path) -> None:
    dark = write_reference(tmp_path / "dark.png", (40, 40, 40))
    video = write_patches(tmp_path / "v", [RED])
    with pytest.raises(InputError, match=r"no face found in .*dark\.png"):
        evaluate([Method("a", (clip(video),))], [dark], stand_ins())


def test_a_video_from_another_photo_is_noted(tmp_path: Path, red: Reference) -> None:
    video = write_patches(tmp_path / "v", [RED])
    found = evaluate([Method("a", (Clip(video, None, "00", None),))], [red], stand_ins())
    assert any("from another photo" in note for note in found.notes)


def test_adherence(tmp_path: Path, red: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of a prompt as the vocabulary would give them: `motion=nod`."""
    monkeypatch.setattr(
        "fantasyid_engine.evaluation.measure.named_in", lambda prompt: dict(w.split("=") for w in prompt.split())
    )
    monkeypatch.setattr("fantasyid_engine.evaluation.measure.number_of_values", lambda: {"motion": 4, "colour": 8})
    video = write_patches(tmp_path / "v", [RED])
    clips = tuple(Clip(video, prompt, None, None) for prompt in ("motion=nod colour=red", "motion=talk", None))
    observer = FixedObserver((("motion", "nod"), ("colour", "blue")))
    found = evaluate([Method("a", clips)], [red], stand_ins(observer))
    (row,) = found.methods
    assert {name: (s.share, s.clips, s.chance) for name, s in row.adherence.items()} == {
        "motion": (0.5, 2, 0.25),
        "colour": (0.0, 1, 0.125),
    }
    assert "a: 1 of 3 clips have no prompt beside them; not in adherence" in found.notes
    assert row.clips[2].shown is None
    assert found.instruments["observer"] == "stand-in observer"


def test_real_pictures(tmp_path: Path, red: Reference) -> None:
    folder = tmp_path / "real"
    for name, colour in (("a", RED), ("b", GREEN), ("none", (40, 40, 40))):
        write_reference(folder / "deep" / f"{name}.png", colour)
    (folder / "notes.txt").write_text("no picture")
    seen = []
    real = read_real(folder, stand_ins(), on_file=lambda done, total: seen.append((done, total)))
    assert real.features.shape == (2, 3)
    assert real.notes == ("--real: 1 pictures without a face were left out",)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    video = write_patches(tmp_path / "v", [RED, ORANGE])
    found = evaluate([Method("a", (clip(video),))], [red], stand_ins(), real=real)
    assert (found.fid_against, found.fid_against_crops) == (str(folder), 2)
    assert real.notes[0] in found.notes


@pytest.mark.parametrize("name", ["empty", "nowhere", "faceless"])
def test_refused_real_pictures(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    write_reference(tmp_path / "faceless" / "a.png", (40, 40, 40))
    with pytest.raises(InputError, match=name) as caught:
        read_real(tmp_path / name, stand_ins())
    assert caught.value.code == "real_missing"
