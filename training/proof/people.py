"""Who is measured: people of the test split, whom no training sees, each with a photo, a prompt and the true clip.

PLACE/people/0003.png               the photo
      clips/ROW/0003/, 0003.json    a clip as PNG pictures, and its prompt: no codec comes between a model and a measure
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.evaluation.clips import CLIP_FORMAT
from fantasyid_engine.face.draw import write_picture
from fantasyid_engine.training.avatar.clips import Sample, World, render_takes
from fantasyid_engine.training.data.avatar import FINER
from fantasyid_engine.training.proof.report import Settings
from fantasyid_engine.video.sidecar import sidecar_path
from fantasyid_engine.video.write import write_video
from fantasyid_engine.weights.model import Model

SPLIT = "test"
Tell = Callable[[str, int, int], None]
"""Hears what was done with how many clips of how many; raising in it stops."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """One person: `name` of the files, the world's sample, the photo's bytes."""

    name: str
    sample: Sample
    photo: bytes


def check_model(model: Model) -> None:
    """Refuses a model whose clips cannot be compared with renders of avatars.

    Raises:
        ConfigError: it takes photos of real people, or makes other than square clips of two frames or more.
    """
    height, width = model.frame_size
    if model.render.face == "detect":
        raise ConfigError(f"{model.name} renders real people; a report is of a model of avatars")
    if height != width or model.network.config.dit.sample_frames < 2:
        raise ConfigError(f"{model.name} makes {width} x {height} pictures; a report needs square ones, and two a clip")


def write_truth(model: Model, place: Path, settings: Settings, tell: Tell) -> tuple[Subject, ...]:
    """Renders everybody's photo and, at the model's own size and length, everybody's clip.

    Photos are as fine as those that training cuts its reference pictures from.
    """
    frames, size = model.network.config.dit.sample_frames, model.frame_size[0]
    world = World(seed=settings.seed, split=SPLIT, people=settings.people, num_frames=frames)
    (place / "people").mkdir()
    subjects = []
    for number in range(settings.people):
        sample, name = world.sample(number), f"{number:04d}"
        photo = place / "people" / f"{name}.png"
        seen = render_takes([sample.reference], round(FINER * model.render.crop_size)).pictures
        write_picture(seen[0].permute(1, 2, 0).numpy(), photo)
        subjects.append(Subject(name, sample, photo.read_bytes()))
        clip = render_takes([sample.target], size).pictures.permute(0, 2, 3, 1).contiguous().numpy()
        write_clip(clip, place, "true", subjects[-1], model.render.fps)
        tell("rendered true", number + 1, settings.people)
    return tuple(subjects)


def clip_path(place: Path, row: str, subject: Subject) -> Path:
    """Where the clip of a person in a row is."""
    return place / "clips" / row / subject.name


def write_clip(frames: NDArray[np.uint8], place: Path, row: str, subject: Subject, fps: int) -> None:
    """Writes frames [F, H, W, 3] as a person's clip in a row, with the prompt as `evaluate` reads it."""
    path = clip_path(place, row, subject)
    write_video(frames, path, fps)
    digest = hashlib.sha256(subject.photo).hexdigest()
    record = {"format": CLIP_FORMAT, "prompt": subject.sample.prompt, "image_sha256": digest, "fps": fps}
    sidecar_path(path).write_text(json.dumps(record, indent=1) + "\n")
