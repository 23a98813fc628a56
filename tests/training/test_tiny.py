"""Every stage, from nothing to a model that renders: eight clips learnt by heart."""

import io
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.engine import Engine
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.training.data.avatar_parts import open_parts, part_folders
from fantasyid_engine.training.export_run import export_run
from tests.integration.cases import COMMAND
from tests.training.cases import TINY

CLIPS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole recipe, as a user runs it; under three minutes on two cores."""
    folder = tmp_path_factory.mktemp("tiny") / "run"
    done = subprocess.run(
        [COMMAND, "train", TINY, "--out", folder, "--cpu"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rendered(run: Path) -> list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
    """What the exported model makes of each clip's photo and prompt, beside the clip."""
    export_run(run, run.parent / "model")
    pairs = []
    with Engine.from_pretrained(run.parent / "model") as engine:
        for seed, sample in enumerate(open_parts(part_folders(run / "data" / "train", CLIPS))):
            photo = io.BytesIO()
            Image.fromarray(sample.views[0].permute(1, 2, 0).numpy()).save(photo, "PNG")
            request = VideoRequest(image=photo.getvalue(), prompt=sample.prompt, seed=seed, num_inference_steps=20)
            assert sample.frames is not None
            pairs.append((engine.generate(request).frames, sample.frames.permute(0, 2, 3, 1).numpy()))
    return pairs


def last(run: Path, stage: str, kind: str = "train") -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if (line["stage"], line["kind"]) == (stage, kind)][-1]


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.square(one.astype(float) - other).mean()))


def test_every_stage_learns_its_clips(run: Path) -> None:
    """The stated losses; untrained they are 1.0, 1.4, 1.3 and 1.3."""
    assert last(run, "vae")["loss"] < 0.25
    assert last(run, "tower")["shape"] < 0.1
    assert last(run, "text")["loss"] < 0.15
    assert last(run, "identity")["loss"] < 0.08


def test_the_exported_model_renders_the_clips_that_it_learnt(
    rendered: list[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> None:
    """At least 22 dB on average, and each is more like its own clip than like any other."""
    assert len(rendered) == CLIPS
    found = np.array([[psnr(made, clip) for _, clip in rendered] for made, _ in rendered])
    assert found.diagonal().mean() > 22, found.diagonal()
    assert (found.argmax(axis=1) == np.arange(CLIPS)).all(), found


def test_validation_shows_clips_and_measures_them(run: Path) -> None:
    (folder,) = (run / "validation" / "03-identity").glob("step-*")
    clips = sorted(path.name for path in (folder / "clips").iterdir())
    assert len(clips) == 2 and clips[0].endswith(".json") and clips[1].endswith(".mp4")
    measured = last(run, "identity", "videos")
    assert {"rs", "ifs", "fm", "adherence", "faces"} <= measured.keys()


def test_tensorboard_reads_curves_and_moving_pictures(run: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard")).Reload()
    tags = events.Tags()
    assert {"vae/train/psnr", "identity/train/loss", "identity/validation/loss", "text/train/lr"} <= set(
        tags["scalars"]
    )
    (tag,) = tags["images"]
    picture = Image.open(io.BytesIO(events.Images(tag)[0].encoded_image_string))
    assert picture.format == "GIF" and picture.n_frames == 9 and picture.size == (32, 32)


def test_the_shape_is_read_off_the_photo(run: Path, rendered: object) -> None:
    """Vertices of learnt people are within two millimetres of their own, root mean square; the template is not."""
    import torch

    from fantasyid_engine.face.tower_input import clip_normalised
    from fantasyid_engine.weights.model import load_model

    model = load_model(run.parent / "model", dtype=torch.float32)
    regressor = model.network.shape
    assert regressor is not None
    samples = list(open_parts(part_folders(run / "data" / "train", CLIPS)))
    with torch.inference_mode():
        features = model.network.tower(clip_normalised(torch.stack([s.views[0] for s in samples]).float() / 255))
        vertices = regressor.vertices(regressor(features))
    true = torch.stack([sample.vertices for sample in samples])
    found, template = ((guess - true).square().mean().sqrt() for guess in (vertices, regressor.mean))
    assert found < 0.002 < template
