"""The engine: a model ready to render, one request after the other."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.config.presets import MINIATURES, PRESETS
from fantasyid_engine.errors import OUT_OF_MEMORY, ConfigError, InputError, WeightsError
from fantasyid_engine.face.cache import FaceCache
from fantasyid_engine.face.conditioning import Conditioning
from fantasyid_engine.face.stored import KeptFace, to_bytes
from fantasyid_engine.job import Job, face_input, prepare
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.fused import FusedDiT
from fantasyid_engine.progress import OnProgress, Watch
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.result import VideoResult, make_record
from fantasyid_engine.runtime.backend import resolve_backend
from fantasyid_engine.runtime.device import (
    DTYPES,
    is_out_of_memory,
    out_of_memory_as_error,
    resolve_device,
    resolve_precision,
)
from fantasyid_engine.runtime.plan import EngineConfig, ExecutionPlan
from fantasyid_engine.sampling.loop import denoise
from fantasyid_engine.sampling.noise import SeededNoise
from fantasyid_engine.sampling.predict import dit_predictor
from fantasyid_engine.sampling.solvers import Step, make_solver
from fantasyid_engine.sampling.state import RenderState
from fantasyid_engine.text.encoder import TextEncoder
from fantasyid_engine.vae.decode import Frames, chunks, decode
from fantasyid_engine.vae.encode import encode_photo
from fantasyid_engine.vae.memory import leaner_tile
from fantasyid_engine.weights.home import model_home
from fantasyid_engine.weights.model import Model, load_model
from fantasyid_engine.weights.shipped import MODELS

Made = TypeVar("Made")


class Engine:
    """Renders videos with one model. Safe to call from several threads: requests take turns.

    ```python
    with Engine.from_preset("avatar-mini") as engine:
        result = engine.generate(VideoRequest(image="face.png", prompt="smiles", seed=7))
        result.save("out.mp4")
    ```
    """

    def __init__(self, model: Model, config: EngineConfig | None = None) -> None:
        """Takes a loaded model over; `from_preset`, `from_pretrained` and `open` load one.

        On the backends `fused` and `folded` the engine keeps the model's DiT for itself: it cannot be saved afterwards,
        nor opened again.

        Raises:
            ConfigError: another engine has taken the model's DiT, or the backend cannot run here.
            OutputError: `face_cache_dir` cannot be made.
        """
        config = config or EngineConfig()
        if not hasattr(model.network, "dit"):
            raise ConfigError(f"{model.name}: another engine has taken its DiT; load the model again")
        weight = model.network.tower.cls_token
        precision = next(name for name, dtype in DTYPES.items() if dtype == weight.dtype)
        self._turn = threading.RLock()
        network = model.network.config
        backend = resolve_backend(config.backend, network, weight.device, weight.dtype, faces=model.id_tokens_shape[0])
        self._config = replace(config, device=str(weight.device), precision=precision, backend=backend)
        text, faces = _caches(model, config)
        dit = model.network.dit
        if backend != "eager":
            dit = FusedDiT(dit, folds=backend == "folded")
            del model.network.dit
        self._loaded: _Loaded | None = _Loaded(model, text, faces, dit)

    @classmethod
    def open(cls, model: str | Path, **settings: Any) -> "Engine":
        """A preset by its name, or else a model folder; see `from_preset` and `from_pretrained`."""
        return cls.from_preset(str(model), **settings) if model in PRESETS else cls.from_pretrained(model, **settings)

    @classmethod
    def from_preset(cls, name: str, **settings: Any) -> "Engine":
        """A model that has a name.

        Args:
            name: `avatar-mini`, which is in the package, or `fantasyid-5b`, which is looked for in `$FANTASYID_MODELS`.
            **settings: fields of `EngineConfig`.

        Raises:
            ConfigError: there is no such preset.
            WeightsError: its weights are not there, or as in `from_pretrained`.
            DeviceError: as in `from_pretrained`.
        """
        if name not in PRESETS:
            raise ConfigError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
        if name in MINIATURES:
            return cls._load(MODELS / name, settings, name)
        folder = model_home() / name
        if not folder.is_dir():
            raise WeightsError(f"no weights for {name} at {folder}: fantasyid-engine weights pull {name}")
        return cls.from_pretrained(folder, **settings)

    @classmethod
    def from_pretrained(cls, folder: str | Path, **settings: Any) -> "Engine":
        """A model folder, in the authors' layout or our own.

        Args:
            folder: the model folder.
            **settings: fields of `EngineConfig`, such as `device="cuda"`.

        Raises:
            WeightsError, ConfigError: see `load_model`.
            DeviceError: the device is not there, or has not the precision asked for.
            ResourceError: there is no memory for the weights.
        """
        return cls._load(Path(folder), settings)

    @classmethod
    def _load(cls, folder: Path, settings: dict[str, Any], name: str | None = None) -> "Engine":
        config, device, dtype = _resolve(settings)
        with out_of_memory_as_error(f"loading {folder}"):
            model = load_model(folder, device=device, dtype=dtype, verify=config.verify)
            return cls(model if name is None else replace(model, name=name), config)

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Lets the model go; a render under way ends first. Closing twice is fine."""
        with self._turn:
            self._loaded = None

    def forget(self) -> None:
        """Lets go of the faces and prompts that are kept in memory; a render under way ends first.

        Files of `face_cache_dir` stay.
        """
        with self._turn:
            loaded = self._open()
            text, faces = _caches(loaded.model, self._config)
            self._loaded = replace(loaded, text=text, faces=faces)

    @property
    def model(self) -> Model:
        """The model; raises ConfigError once the engine is closed."""
        return self._open().model

    def _open(self) -> "_Loaded":
        if self._loaded is None:
            raise ConfigError("this engine is closed; open another")
        return self._loaded

    def generate(
        self,
        request: VideoRequest,
        *,
        on_progress: OnProgress | None = None,
        plan: ExecutionPlan | None = None,
        resume: RenderState | None = None,
    ) -> VideoResult:
        """Renders one video.

        Args:
            request: what to render.
            on_progress: called on this thread as the render goes on; what it raises stops the render (`Cancelled` is
                there for that). In the denoise stage it can take a state to resume from, and a preview.
            plan: the plan of an earlier render, to get its frames again; None resolves one.
            resume: where a render of the same request stopped; brings its plan and seed.

        Returns:
            The frames, and the record that makes them again. The same request and plan give the same frames.

        Raises:
            InputError: the request cannot be rendered; see its `code`.
            ConfigError: `plan` or `resume` are not of this engine, or the model makes no numbers in this precision.
            ResourceError: out of memory, also in the smallest tiles.
        """
        with self._turn:
            model, watch = self.model, Watch(on_progress)
            job = prepare(model, self._config, request, plan=plan, resume=resume)
            noise = SeededNoise(job.seed)
            if not model.render.trained:
                watch.note(f"{model.name} is not trained: its weights come from a seed, so the picture is noise")
            face = self._condition(job, watch)
            text_BLC = self._encode_text(job, watch)
            image_BFCHW = self._encode_image(job, face, noise, watch)
            latents_BFCHW, job = self._denoise(job, face, text_BLC, image_BFCHW, noise, watch)
            frames, job = self._decode(job, latents_BFCHW, watch)
            record = make_record(job, model, frames, face.record, watch)
            return VideoResult(frames, model.render.fps, job.seed, tuple(watch.notes), record)

    def encode_face(self, request: VideoRequest) -> bytes:
        """Reads the face of a request with a photo, for `VideoRequest.face` of others that this model renders.

        Returns:
            A safetensors file: write it as it is. Without the photo, but for image-to-video models, whose first frame
            the crop is. Who has it can make videos of the person.

        Raises:
            InputError: the request brings no photo, or its face cannot be read; see its `code`.
        """
        if request.face is not None:
            raise InputError("face_settings", "the face of this request is encoded already; name a photo")
        with self._turn, out_of_memory_as_error("reading the face"):
            return to_bytes(self._open().faces(face_input(self.model, request)), self.model)

    def _condition(self, job: Job, watch: Watch) -> Conditioning:
        if isinstance(job.face, KeptFace):
            return job.face.conditioning
        if job.face.vertices is not None and not self.model.network.config.takes_vertices:
            watch.note("this model takes no vertices: those of the request are not used")
        with watch.stage("face"), out_of_memory_as_error("reading the face"):
            face = self._open().faces(job.face)
        if face.record.rung is not None and not face.record.rung.isdecimal():
            watch.note(f"the face was found at a second look only ({face.record.detector}: {face.record.rung})")
        if job.face.deca_input != "face" and not self.model.reads_with_deca(face.record.vertices):
            watch.note("DECA does not read this face: what deca_input says is not used")
        return face

    def _encode_text(self, job: Job, watch: Watch) -> Tensor:
        """Tokens [2, L, C] of negative prompt and prompt, or [1, L, C] of the prompt where guidance is off."""
        encode = self._open().text
        with watch.stage("text"), out_of_memory_as_error("encoding the prompt"):
            tokens = [encode(prompt) for prompt in job.prompts]
            for what, text in zip(("prompt", "negative prompt"), reversed(tokens), strict=False):
                if text.cut:
                    kept = text.count - text.cut
                    watch.note(
                        f"the {what} has {text.count} tokens; this model reads the first {kept}, the rest is cut"
                    )
        return torch.cat([text.tokens for text in tokens])

    def _encode_image(self, job: Job, face: Conditioning, noise: SeededNoise, watch: Watch) -> Tensor | None:
        """Image latents of the crop; None for a text-to-video model."""
        if not self.model.takes_picture:
            return None
        assert face.crop is not None, "what is kept for a model that takes the picture has it"
        with watch.stage("image"), out_of_memory_as_error("encoding the photo"):
            return encode_photo(self.model.vae, face.crop, self.model.frame_size, job.size[0], noise)

    def _denoise(
        self,
        job: Job,
        face: Conditioning,
        text_BLC: Tensor,
        image_BFCHW: Tensor | None,
        noise: SeededNoise,
        watch: Watch,
    ) -> tuple[Tensor, Job]:
        """Clean latents, and the job with the guidance that they were made with."""
        begin = noise.state()

        def leaner(plan: ExecutionPlan) -> ExecutionPlan | None:
            if len(text_BLC) == 1 or plan.guidance == "in_turn":
                return None
            # From the first step, so that all of a video is of one plan.
            noise.restore(begin)
            watch.note(f"{OUT_OF_MEMORY} while denoising; it begins anew, with the two prompts in turn")
            watch.step(0)
            return replace(plan, guidance="in_turn")

        def run(job: Job) -> Tensor:
            return self._denoise_as_planned(job, face, text_BLC, image_BFCHW, noise, watch)

        with watch.stage("denoise", job.num_steps), out_of_memory_as_error("denoising"):
            x_BFCHW, job = _as_memory_allows(job, run, leaner)
        if not bool(x_BFCHW.isfinite().all()):
            advice = "fetch its weights again" if job.plan.precision == "float32" else "try --precision float32"
            raise ConfigError(f"the model makes values that are no numbers in {job.plan.precision}; {advice}")
        return x_BFCHW, job

    def _denoise_as_planned(
        self,
        job: Job,
        face: Conditioning,
        text_BLC: Tensor,
        image_BFCHW: Tensor | None,
        noise: SeededNoise,
        watch: Watch,
    ) -> Tensor:
        model, dit, device = self.model, self._open().dit, text_BLC.device
        solver = make_solver(model.render.solver, model.schedule, job.num_steps, noise)
        frames, height, width = job.size
        x_BFCHW = noise(torch.empty(1, frames, dit.config.out_channels, height, width, device=device))
        history, steps_done = None, 0
        if job.resume is not None:
            x_BFCHW, steps_done = job.resume.latents.to(device), job.resume.steps_done
            history = None if job.resume.history is None else job.resume.history.to(device)
            noise.restore(job.resume.noise)

        def on_step(step: Step, x: Tensor, x0: Tensor) -> None:
            done = step.index + 1
            watch.step(done, partial(job.state, done, x, x0, noise.state()), partial(self._preview, job, x0))

        timesteps = [step.t for step in solver]
        with torch.inference_mode():
            id_kv = model.network.conditioner.project(face.id_tokens)
        predict = dit_predictor(
            dit,
            id_kv,
            text_BLC,
            image_BFCHW,
            job.size,
            job.guidance_scale,
            timesteps,
            job.plan.guidance,
            model.render.skip_guidance_layers,
        )
        return denoise(predict, solver, x_BFCHW, history=history, steps_done=steps_done, on_step=on_step)

    def _preview(self, job: Job, x0_BFCHW: Tensor) -> NDArray[np.uint8]:
        """The first frame, RGB [H, W, 3]: its latent is the only one that is a picture alone; no numbers become 0."""
        first_BFCHW = x0_BFCHW[:, :1].nan_to_num(0, 0, 0)
        return decode(self.model.vae, first_BFCHW, job.plan.vae_tile)[0].astype(np.uint8, copy=False)

    def _decode(self, job: Job, latents_BFCHW: Tensor, watch: Watch) -> tuple[Frames, Job]:
        """The frames, and the job with the tiles that they were decoded in."""
        vae = self.model.vae

        def leaner(plan: ExecutionPlan) -> ExecutionPlan | None:
            tile = leaner_tile(vae, job.size[1:], plan.vae_tile)
            if tile is None:
                return None
            watch.note(f"{OUT_OF_MEMORY} in the decoder; decoding in tiles of {tile} latents instead")
            return replace(plan, vae_tile=tile)

        def run(job: Job) -> Frames:
            bits, tile = job.request.bit_depth, job.plan.vae_tile
            return decode(vae, latents_BFCHW, tile, bits=bits, on_chunk=lambda done, total: watch.step(done))

        with watch.stage("decode", len(chunks(job.size[0]))), out_of_memory_as_error("decoding the video"):
            return _as_memory_allows(job, run, leaner)


@dataclass(frozen=True, slots=True)
class _Loaded:
    model: Model
    text: TextEncoder
    faces: FaceCache
    dit: DiT | FusedDiT


def _as_memory_allows(
    job: Job, run: Callable[[Job], Made], leaner: Callable[[ExecutionPlan], ExecutionPlan | None]
) -> tuple[Made, Job]:
    """What `run` makes of a job, and the job: by the next leaner plan, if there is one, when it is out of memory."""
    while True:
        try:
            return run(job), job
        except (MemoryError, RuntimeError) as error:
            plan = leaner(job.plan) if is_out_of_memory(error) and not job.pinned else None
            if plan is None:
                raise
        # Outside the handler, whose traceback would keep the failed attempt's tensors alive.
        job = replace(job, plan=plan)


def _caches(model: Model, config: EngineConfig) -> tuple[TextEncoder, FaceCache]:
    """What keeps prompts and faces, empty but for a folder that it may have."""
    max_length = model.network.config.dit.max_text_seq_length
    text = TextEncoder(model.text_encoder, model.tokenizer, max_length, config.text_cache)
    folder = None if config.face_cache_dir is None else Path(config.face_cache_dir)
    return text, FaceCache(model, config.face_cache_mib << 20, folder, config.face_cache_disk_mib << 20)


def _resolve(settings: dict[str, Any]) -> tuple[EngineConfig, torch.device, torch.dtype]:
    config = EngineConfig(**settings)
    device = resolve_device(config.device)
    return config, device, DTYPES[resolve_precision(config.precision, device)]
