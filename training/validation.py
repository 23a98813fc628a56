"""What a model makes of people it has not learnt from: clips as the engine renders them, and the paper's measures.

step-.../people/NAME.png               the photo
step-.../clips/NAME.mp4, NAME.json     the clip
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.clips import find_methods
from fantasyid_engine.evaluation.measure import MethodMeasures, evaluate
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.evaluation.references import read_references
from fantasyid_engine.face.draw import write_picture
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.runtime.device import DTYPES, resolve_precision
from fantasyid_engine.runtime.plan import EngineConfig
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.recipe import DiffusionStage
from fantasyid_engine.training.run_log import RunLog
from fantasyid_engine.weights.model import Model


def show_validation(
    model: Model,
    samples: Sequence[TrainingSample],
    stage: DiffusionStage,
    step: int,
    folder: Path,
    device: torch.device,
    instruments: Instruments | None,
    log: RunLog,
) -> None:
    """Renders the first `stage.videos` samples' prompts with their people, and measures them with `instruments`.

    The photo is the first reference picture. Vertices come from it where the model can read them off, as for any user;
    else they are the sample's. Clips that cannot be measured, as faces are not found, are told of and kept.

    Raises:
        OutputError: the folder cannot be written.
    """
    shown = [samples[i] for i in range(min(stage.videos, len(samples)))]
    if not folder.is_dir():
        with atomic_folder(folder) as place:
            for name, frames in render_samples(model, shown, place, device, steps=stage.video_steps):
                log.video(stage.name, step, name, frames, model.render.fps)
    if instruments is None:
        log.say(f"{stage.name}: step {step} rendered {folder}")
        return
    try:
        found = evaluate(find_methods([folder / "clips"]), read_references([folder / "people"]), instruments)
    except InputError as reason:
        log.say(f"{stage.name}: step {step} rendered {folder}; not measured: {reason}")
        return
    values = measures(found.methods[0])
    log.record(stage.name, step, "videos", values)
    told = "  ".join(f"{name} {value:.3g}" for name, value in values.items() if value is not None)
    log.say(f"{stage.name}: step {step} rendered {folder}  {told}")


def render_samples(
    model: Model, samples: Sequence[TrainingSample], folder: Path, device: torch.device, *, steps: int
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Renders each sample's prompt with its first reference picture, with the seed of its place in the list.

    Yields:
        Its key and the frames [F, H, W, 3], once photo and clip are in `folder`.
    """
    (folder / "people").mkdir(parents=True, exist_ok=True)
    (folder / "clips").mkdir(exist_ok=True)
    # Reference pictures are cut out already.
    whole = replace(model, render=replace(model.render, face="picture"))
    config = EngineConfig(device=str(device))
    dtype = DTYPES[resolve_precision(config.precision, device)]
    reads_shape = model.network.shape is not None or not model.network.config.takes_vertices
    with Engine(whole.to(device, dtype), config) as engine:
        for seed, sample in enumerate(samples):
            photo = folder / "people" / f"{sample.key}.png"
            write_picture(sample.views[0].permute(1, 2, 0).numpy(), photo)
            request = VideoRequest(
                image=photo,
                vertices=None if reads_shape else vertex_file(sample.vertices),
                prompt=sample.prompt,
                seed=seed,
                num_inference_steps=steps,
            )
            result = engine.generate(request)
            result.save(folder / "clips" / f"{sample.key}.mp4", signer=None)  # for the trainer's eyes alone
            yield sample.key, result.frames


def vertex_file(vertices_V3: Tensor) -> bytes:
    """Vertices [V, 3] in metres as a PLY, as the engine takes them."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices_V3)}\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "end_header\n"
    return header.encode() + vertices_V3.numpy().astype("<f4").tobytes()


def measures(row: MethodMeasures) -> dict[str, float | None]:
    """A row's numbers by their names; adherence is the mean over attributes that prompts named."""
    shares = [score.share for score in row.adherence.values()]
    adherence = sum(shares) / len(shares) if shares else None
    return {"rs": row.rs, "ifs": row.ifs, "fm": row.fm, "faces": row.faces, "adherence": adherence}
