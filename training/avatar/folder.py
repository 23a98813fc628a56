"""Samples of the world as files, for trying the engine and for measuring.

people/0003.png     the reference photo of sample 3
clips/0003.mp4      its clip
clips/0003.json     its prompt and the photo's SHA-256, as `fantasyid-engine evaluate` reads them
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.evaluation.clips import CLIP_FORMAT
from fantasyid_engine.face.draw import write_picture
from fantasyid_engine.training.avatar.clips import FPS, World, render_takes
from fantasyid_engine.video.write import write_video


def write_world(
    world: World,
    folder: Path,
    samples: int,
    size: int,
    *,
    on_sample: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Writes the first `samples` samples, `size` x `size` pixels, into a new folder, which is whole or not there.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be created.
        WriteError: it cannot be written to its end.
    """
    with atomic_folder(folder) as place:
        for part in ("people", "clips"):
            (place / part).mkdir()
        for number in range(samples):
            sample, name = world.sample(number), f"{number:04d}"
            pictures = render_takes([sample.reference, sample.target], size).pictures.permute(0, 2, 3, 1).numpy()
            photo = place / "people" / f"{name}.png"
            write_picture(pictures[0], photo)
            write_video(pictures[1:].copy(), place / "clips" / f"{name}.mp4", FPS)
            digest = hashlib.sha256(photo.read_bytes()).hexdigest()
            record = {"format": CLIP_FORMAT, "prompt": sample.prompt, "image_sha256": digest, "fps": FPS}
            (place / "clips" / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
            on_sample(number + 1, samples)
