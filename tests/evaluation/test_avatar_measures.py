"""The measures on true renders of people whom no network has met: what they say must be so."""

import itertools
import json
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine.evaluation.clips import read_clip
from fantasyid_engine.evaluation.faces import face_crops, face_of_picture, faces_of_clip
from fantasyid_engine.evaluation.frechet import frechet_distance
from fantasyid_engine.evaluation.identity import inter_frame_similarity, mean_known, reference_similarity
from fantasyid_engine.evaluation.motion import face_motion
from fantasyid_engine.evaluation.recogniser import AvatarRecogniser
from fantasyid_engine.face.avatar import AvatarDetector
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.folder import write_world
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.motion import motion_path
from fantasyid_engine.training.avatar.perception.pictures import heads
from tests.integration.cases import COMMAND

PEOPLE = 48
Pictures = NDArray[np.uint8]


@pytest.fixture(scope="module")
def clips() -> list[Pictures]:
    world = World(seed=0, split="test", people=PEOPLE, num_frames=9)
    return [heads([world.sample(number).target]).pictures for number in range(PEOPLE)]


@pytest.fixture(scope="module")
def embedded(clips: list[Pictures]) -> NDArray[np.float32]:
    """[people, 9 frames, E]; every frame of a true render has a face."""
    recogniser, detector = AvatarRecogniser(), AvatarDetector()
    found = [(list(frames), faces_of_clip(frames, detector)) for frames in clips]
    assert all(box is not None for _, boxes in found for box in boxes)
    return np.stack([recogniser.embed(frames, [b for b in boxes if b]) for frames, boxes in found])


@pytest.fixture(scope="module")
def photos() -> NDArray[np.float32]:
    """Embeddings of the reference photos [people, E]."""
    world = World(seed=0, split="test", people=PEOPLE, num_frames=9)
    pictures = [heads([world.sample(number).reference]).pictures[0] for number in range(PEOPLE)]
    boxes = [face_of_picture(picture, AvatarDetector()) for picture in pictures]
    return AvatarRecogniser().embed(pictures, [box for box in boxes if box])


def test_rs_of_the_right_person_is_higher(embedded: NDArray[np.float32], photos: NDArray[np.float32]) -> None:
    rs = np.array([[mean_known(reference_similarity(list(clip), photo)) for photo in photos] for clip in embedded])
    assert np.allclose(rs, np.einsum("cfe,pe->cpf", embedded, photos).mean(2), atol=1e-5)
    others = ~np.eye(PEOPLE, dtype=bool)
    right = np.diag(rs)[:, None] > rs
    assert right[others].mean() >= 0.99
    assert np.diag(rs).mean() > 0.6 > 0.3 > rs[others].mean()


def test_ifs_falls_when_frames_are_shuffled_between_people(embedded: NDArray[np.float32]) -> None:
    for one, other in zip(embedded, np.roll(embedded, 1, axis=0), strict=True):
        mixed = np.where(np.arange(len(one))[:, None] % 2, one, other)
        true, shuffled = (mean_known(inter_frame_similarity(list(frames))) for frames in (one, mixed))
        assert true is not None and shuffled is not None and true > shuffled + 0.1
        assert true == pytest.approx(np.mean([a @ b for a, b in itertools.pairwise(one)]), abs=1e-5)


@pytest.mark.parametrize("motion", ["turn_left", "nod", "tilt", "look_around"])
def test_fm_is_zero_on_a_still_and_grows_with_amplitude(motion: str) -> None:
    sample = World(seed=2, split="test", people=3).sample(1)
    found = []
    for amplitude in (0.0, 0.25, 0.5, 1.0):
        path = motion_path(motion, "neutral", 9, np.random.default_rng(4), amplitude=amplitude)
        frames = heads([Take(sample.who, path, sample.target.scene)]).pictures
        found.append(mean_known(face_motion(frames, faces_of_clip(frames, AvatarDetector()))))
    assert found[0] == 0
    assert all(more is not None and less is not None and more > less for less, more in itertools.pairwise(found))


def noisy(crops: Pictures, strength: float) -> Pictures:
    noise = np.random.default_rng(0).normal(0, strength, crops.shape)
    return np.clip(crops + noise, 0, 255).astype(np.uint8)


def blurred(crops: Pictures, sigma: float) -> Pictures:
    return np.stack([np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.uint8) for crop in crops])


def test_fid_grows_with_blur_and_noise(clips: list[Pictures]) -> None:
    recogniser, detector = AvatarRecogniser(), AvatarDetector()
    frames = np.concatenate([clip[::2] for clip in clips])
    crops = face_crops(frames, [face_of_picture(frame, detector) for frame in frames], recogniser.crop_size)
    clean = recogniser.features(crops)
    assert frechet_distance(clean, clean) < 1e-6 * np.trace(np.cov(clean.T))
    between_people = frechet_distance(clean[::2], clean[1::2])
    for spoil, strengths in ((blurred, (0.6, 1.0, 1.8)), (noisy, (6.0, 14.0, 30.0))):
        found = [frechet_distance(recogniser.features(spoil(crops, strength)), clean) for strength in strengths]
        assert found == sorted(found)
        assert found[-1] > between_people > 0


def test_evaluate_tells_right_people_from_wrong(tmp_path: Path) -> None:
    """From files to the table, as a user does it."""
    write_world(World(seed=5, split="test", people=6), tmp_path / "world", 6, 96)
    clips, wrong = tmp_path / "world" / "clips", tmp_path / "wrong"
    wrong.mkdir()
    for number in range(6):  # each with the photo of the next
        record = json.loads((clips / f"{(number + 1) % 6:04d}.json").read_text())
        record["prompt"] = read_clip(clips / f"{number:04d}.mp4").prompt
        (wrong / f"{number:04d}.json").write_text(json.dumps(record))
        (wrong / f"{number:04d}.mp4").write_bytes((clips / f"{number:04d}.mp4").read_bytes())
    people = tmp_path / "world" / "people"
    words = ["evaluate", clips, wrong, "--references", people, "--real", clips, "--out", tmp_path / "report"]
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    rows = {row["name"]: row for row in found["methods"]}
    assert rows["clips"]["rs"] > 0.6 > 0.4 > rows["wrong"]["rs"]
    assert rows["clips"]["fid"] == pytest.approx(0, abs=1e-6)
    assert rows["clips"]["faces"] == 1 and rows["clips"]["ifs"] > 0.9 and rows["clips"]["fm"] > 0
    scores = rows["clips"]["adherence"].values()
    assert len(scores) == 6 and all(score["share"] > score["chance"] for score in scores)
    assert np.mean([score["share"] for score in scores]) >= 0.8
    assert "FID-avatar ↓" in done.stdout and "clips" in done.stdout and "motion (chance 11%)" in done.stdout
