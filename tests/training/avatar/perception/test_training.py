"""Losses against plain formulas, data that says what it shows, and the whole training at the smallest size."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fantasyid_engine.evaluation.observer import CLIP, FRAMES, NUMBERS, PICTURE, best
from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.detector import detection_loss, detector_data, iou
from fantasyid_engine.training.avatar.perception.fit import disturbed, fit, jittered
from fantasyid_engine.training.avatar.perception.observer import class_loss, classes, motion_data
from fantasyid_engine.training.avatar.perception.pictures import shuffled
from fantasyid_engine.training.avatar.perception.recogniser import MARGIN, SHARPNESS, arcface_loss
from fantasyid_engine.training.avatar.perception.run import SMOKE, train_perception
from fantasyid_engine.training.avatar.prompts import draw_attributes

FOLDER = Path(__file__).parents[4] / "engine"


def test_arcface_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings, centres = torch.randn(4, 6, generator=generator), torch.randn(5, 6, generator=generator)
    people = [2, 0, 4, 4]
    expected = []
    for e, person in zip(embeddings.double(), people, strict=True):
        logits = []
        for number, c in enumerate(centres.double()):
            angle = math.acos(float(e @ c / e.norm() / c.norm()))
            logits.append(SHARPNESS * math.cos(angle + MARGIN * (number == person)))
        expected.append(-logits[person] + math.log(sum(map(math.exp, logits))))
    found = arcface_loss(embeddings, centres, torch.tensor(people))
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_iou() -> None:
    one = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 4, 4]])
    other = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 15], [6, 6, 9, 9]])
    assert iou(one, other).tolist() == pytest.approx([1, 25 / 175, 0])


def test_detection_loss_is_least_where_the_guess_is_right() -> None:
    boxes = torch.full((2, 2, 4), float("nan"))
    boxes[0, 0] = torch.tensor([20.0, 24, 60, 72])  # its middle lies in cell (6, 5)
    logits, guesses = torch.full((2, 12, 12), -6.0), torch.zeros(2, 4, 12, 12)
    logits[0, 6, 5] = 6
    guesses[0, :, 6, 5] = boxes[0, 0]
    right = detection_loss(logits, guesses, boxes)
    assert 0 <= right < 0.01
    for wrong in ({"logits": logits.roll(3, 2)}, {"logits": -logits}, {"guesses": guesses * 0.7}):
        assert detection_loss(**{"logits": logits, "guesses": guesses, "boxes_NK4": boxes, **wrong}) > right + 0.1


def test_detector_data_shows_what_it_says() -> None:
    pictures, boxes = detector_data(World(seed=0, split="perception", people=6), 6)
    there = ~boxes[..., 0].isnan()
    assert pictures.shape == (len(boxes), 3, 96, 96) and pictures.dtype == torch.uint8
    assert set(there.sum(1).tolist()) == {0, 1, 2}
    assert there.any(1).sum() <= (~there.any(1)).sum()
    found = boxes[there]
    assert (found[:, 2:] > found[:, :2]).all()
    middles = (found[:, :2] + found[:, 2:]) / 2
    assert ((middles > 0) & (middles < 96)).all()


def test_shuffled_keeps_tiles_and_no_face() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    mixed = shuffled(picture, np.random.default_rng(1))
    assert mixed.shape == picture.shape and (mixed != picture).any()
    assert (np.sort(mixed.reshape(-1, 3), axis=0) == np.sort(picture.reshape(-1, 3), axis=0)).all()


def test_class_loss_is_the_sum_of_cross_entropies() -> None:
    logits = torch.randn(3, sum(len(VALUES[name]) for name in PICTURE), generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[0, 1, 2, 0], [3, 7, 3, 2], [1, 0, 0, 1]])
    expected, start = 0.0, 0
    for place, name in enumerate(PICTURE):
        part = logits[:, start : start + len(VALUES[name])].double()
        start += len(VALUES[name])
        expected += float((part.exp().sum(1).log() - part[range(3), labels[:, place]]).mean())
    assert class_loss(logits, labels, PICTURE).item() == pytest.approx(expected, rel=1e-5)


def test_best_names_what_classes_counts() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        attributes = draw_attributes(rng)
        for names in (PICTURE, CLIP):
            logits = torch.cat(
                [
                    torch.nn.functional.one_hot(place, len(VALUES[name]))
                    for name, place in zip(names, classes(attributes, names), strict=True)
                ]
            )
            assert best(logits[None].float(), names) == [{name: getattr(attributes, name) for name in names}]


def test_motion_data() -> None:
    paths, labels = motion_data(12, np.random.default_rng(0))
    assert paths.shape == (12, FRAMES, NUMBERS) and labels.shape == (12, 2)
    again, _ = motion_data(12, np.random.default_rng(0))
    assert torch.equal(paths, again)


def test_disturbed_and_jittered_keep_sizes_and_range() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(2, 3, 76, 76, generator=generator) * 2 - 1
    for _ in range(30):
        cut = jittered(x, generator)
        made = disturbed(cut, generator)
        assert cut.shape == made.shape == (2, 3, 64, 64)
        assert made.abs().max() <= 1


def test_fit_finds_a_minimum_and_reports_ten_times() -> None:
    at, lines = torch.nn.Parameter(torch.tensor([3.0])), []
    fit([at], lambda: ((at - 1) ** 2).sum(), steps=400, lr=0.1, say=lines.append, name="x")
    assert abs(at.item() - 1) < 0.05
    assert len(lines) == 10 and lines[-1].startswith("x: step 400 of 400, loss ")


def test_training_passes_through_and_repeats(tmp_path: Path) -> None:
    lines: list[str] = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        train_perception(tmp_path / name, budget=SMOKE, seed=3, say=lines.append)
    for name, folder in (("detector", "face"), ("recogniser", "evaluation"), ("observer", "evaluation")):
        made = load_file(tmp_path / "a" / f"avatar_{name}.safetensors")
        again = load_file(tmp_path / "b" / f"avatar_{name}.safetensors")
        shipped = load_file(FOLDER / folder / f"avatar_{name}.safetensors")
        assert {k: (v.shape, v.dtype) for k, v in made.items()} == {k: (v.shape, v.dtype) for k, v in shipped.items()}
        assert all(torch.equal(made[key], again[key]) for key in made)
        log = json.loads((tmp_path / "a" / f"avatar_{name}.json").read_text())
        assert (log["network"], log["seed"]) == (name, 3) and log["seconds"] > 0 and log["machine"] and log["versions"]
        assert any(f"{name}: done in" in line for line in lines)
