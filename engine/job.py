"""A request made ready for one model: every setting resolved, inputs read, the plan fixed."""

import difflib
import hashlib
import json
import secrets
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from fantasyid_engine.config.serialise import to_json_object
from fantasyid_engine.errors import ConfigError, InputError, some_of
from fantasyid_engine.face.conditioning import FaceInput
from fantasyid_engine.face.photo import photo_bytes
from fantasyid_engine.face.source import name_of
from fantasyid_engine.face.stored import KeptFace, read_kept
from fantasyid_engine.face.vertices import vertices_bytes
from fantasyid_engine.kernels.dispatch import VARIABLE
from fantasyid_engine.request import VideoRequest, bare, check_consent
from fantasyid_engine.runtime.backend import resolve_kernels
from fantasyid_engine.runtime.device import memory_at_hand
from fantasyid_engine.runtime.plan import EngineConfig, ExecutionPlan
from fantasyid_engine.sampling.state import RenderState
from fantasyid_engine.vae.memory import best_tile
from fantasyid_engine.weights.faces import digests_that_matter
from fantasyid_engine.weights.model import Model


@dataclass(frozen=True, slots=True)
class Job:
    """One render.

    Attributes:
        request: every setting resolved.
        face: what it brings for its face, or a face that is kept.
        size: latent frames, height and width.
        plan: how it runs; `pinned` where it must not change on the way.
        resume: where it goes on from.
        digest: SHA-256 of what is rendered.
    """

    request: VideoRequest
    face: FaceInput | KeptFace
    size: tuple[int, int, int]
    plan: ExecutionPlan
    pinned: bool
    resume: RenderState | None
    digest: str

    @property
    def seed(self) -> int:
        """Of all noise."""
        return self.request.seed or 0

    @property
    def num_steps(self) -> int:
        """Steps of the solver."""
        return self.request.num_inference_steps or 1

    @property
    def guidance_scale(self) -> float:
        """1 is no guidance."""
        return self.request.guidance_scale or 1.0

    @property
    def prompts(self) -> list[str]:
        """Negative prompt and prompt; the prompt alone where guidance is off."""
        prompt = bare(self.request.prompt)
        return [prompt] if self.guidance_scale == 1 else [bare(self.request.negative_prompt), prompt]

    def state(self, steps_done: int, latents: Tensor, history: Tensor | None, noise: Tensor) -> RenderState:
        """Where this render can go on from, copied to the CPU; `noise` is the state of the noise source."""
        return RenderState(
            request_digest=self.digest,
            seed=self.seed,
            plan=self.plan,
            steps_done=steps_done,
            latents=latents.to("cpu", torch.float32, copy=True),
            history=None if history is None else history.to("cpu", copy=True),
            noise=noise,
        )


def prepare(
    model: Model,
    config: EngineConfig,
    request: VideoRequest,
    *,
    plan: ExecutionPlan | None,
    resume: RenderState | None,
) -> Job:
    """Resolves a request for a model.

    Args:
        model: the model.
        config: of the engine, `auto` resolved.
        request: what to render.
        plan: pins the plan.
        resume: pins plan and seed.

    Raises:
        InputError: a frame count that the model cannot make; no consent where it is required; see `face_input` and
            `read_kept`.
        ConfigError: a plan or a state of another engine or request.
    """
    check_consent(request, required=config.require_consent)
    face = face_input(model, request) if request.face is None else read_kept(request.face, model)
    resolved = _resolve(model, request, resume)
    size = _latent_size(model, resolved)
    pinned = plan or (resume.plan if resume else None)
    if pinned is not None:
        _check_plan(pinned, config)
    job = Job(
        request=resolved,
        face=face,
        size=size,
        plan=pinned or _plan(model, config, size),
        pinned=pinned is not None,
        resume=resume,
        digest=_digest(model, resolved, face),
    )
    if resume is not None:
        _check_resume(resume, job, model)
    return job


def face_input(model: Model, request: VideoRequest) -> FaceInput:
    """What a request with a photo brings for its face, its files read.

    Raises:
        InputError: a file that cannot be read; a change of shape that the model cannot make (`shape_unsupported`) or
            does not know (`shape_unknown`); a second face where the picture is the crop (`face_index`).
    """
    shape_change = _shape_change(model, request)
    if model.render.face == "picture" and request.face_index not in (None, 1, "largest", "center"):
        raise InputError("face_index", "this model takes the picture as its crop: there is no second face to choose")
    image = request.image or b""
    return FaceInput(
        photo=photo_bytes(image),
        name=name_of(image, "photo"),
        vertices=None if request.vertices is None else vertices_bytes(request.vertices),
        vertices_name=name_of(request.vertices or b"", "vertex"),
        choice=request.face_index,
        shape_change=shape_change,
        deca_input=request.deca_input,
    )


def _shape_change(model: Model, request: VideoRequest) -> tuple[float, ...] | None:
    """A request's change of shape in the order of the model's names; None for none."""
    shape, names = request.shape, model.shape_names
    if shape is None:
        return None
    if not names:
        raise InputError("shape_unsupported", "this model does not read the shape of a face; leave shape out")
    if request.vertices is not None and model.network.shape is None:
        raise InputError(
            "shape_unsupported", "this model changes the shape that it reads off a photo; leave shape or vertices out"
        )
    unknown = [name for name in shape if name not in names]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        what = f"this model knows no shape {some_of(unknown[:1])!r}"
        raise InputError("shape_unknown", f"{what}; {hint}it knows {some_of(names, most=50)}")
    return tuple(shape.get(name, 0.0) for name in names)


def _resolve(model: Model, request: VideoRequest, resume: RenderState | None) -> VideoRequest:
    seed = request.seed if request.seed is not None else (resume.seed if resume else secrets.randbelow(2**32))
    scale, steps = request.guidance_scale, request.num_inference_steps
    return replace(
        request,
        seed=seed,
        num_inference_steps=model.render.num_inference_steps if steps is None else steps,
        guidance_scale=float(model.render.guidance_scale if scale is None else scale),
        num_frames=model.frame_counts[-1] if request.num_frames is None else request.num_frames,
    )


def _latent_size(model: Model, request: VideoRequest) -> tuple[int, int, int]:
    frames, allowed = request.num_frames or 1, model.frame_counts
    if frames not in allowed:
        counts = ", ".join(map(str, allowed))
        raise InputError("frames_unsupported", f"{frames} frames cannot be made by this model; it makes {counts}")
    dit = model.network.config.dit
    return (frames - 1) // dit.temporal_compression_ratio + 1, dit.sample_height, dit.sample_width


def _plan(model: Model, config: EngineConfig, size: tuple[int, int, int]) -> ExecutionPlan:
    device, latent_size = torch.device(config.device), size[1:]
    if config.vae_tile is None:
        tile = best_tile(model.vae, latent_size, memory_at_hand(device))
    else:
        side = max(1, config.vae_tile // model.spatial_scale)
        rows, columns = (min(side, length) for length in latent_size)
        tile = None if config.vae_tile == 0 or (rows, columns) == latent_size else (rows, columns)
    assert config.backend != "auto" and config.precision != "auto", "the engine resolves them"
    return ExecutionPlan(
        device=device.type,
        precision=config.precision,
        backend=config.backend,
        kernels=resolve_kernels(device),
        vae_tile=tile,
        guidance="in_turn" if model.render.skip_guidance_layers else "batched",
    )


def _check_plan(plan: ExecutionPlan, config: EngineConfig) -> None:
    device = torch.device(config.device)
    for what, planned, ours, how in (
        ("device", plan.device, device.type, "open the engine with device={}"),
        ("precision", plan.precision, config.precision, "open the engine with precision={}"),
        ("backend", plan.backend, config.backend, "open the engine with backend={}"),
        ("kernels", plan.kernels, resolve_kernels(device), f"set {VARIABLE}={{}}"),
    ):
        if planned != ours:
            raise ConfigError(
                f"the plan to render again has {what} {planned}; this engine runs {ours}, and frames would differ: "
                f"{how.format(planned)}, or leave the plan out"
            )


def _check_resume(resume: RenderState, job: Job, model: Model) -> None:
    shape = (1, job.size[0], model.network.config.dit.out_channels, *job.size[1:])
    if resume.request_digest != job.digest:
        raise ConfigError("the state to resume from is of another request, photo or model")
    fits = all(tuple(t.shape) == shape for t in (resume.latents, resume.history) if t is not None)
    if not fits or not 0 <= resume.steps_done <= job.num_steps:
        raise ConfigError("the state to resume from does not fit this request: latents of another size")


def _digest(model: Model, request: VideoRequest, face: FaceInput | KeptFace) -> str:
    """SHA-256 of what is rendered: settings, prompts, bytes of the inputs, weights that take part."""
    settings: dict[str, Any] = to_json_object(replace(request, image="-", face=None, vertices=None))
    del settings["consent_ref"]  # frames do not depend on it
    for name, unset in (("face", None), ("shape", None), ("deca_input", "face")):
        if settings[name] == unset:
            del settings[name]  # so that states older than this setting go on
    used = digests_that_matter(model.digests, kept=request.face is not None, given=request.vertices is not None)
    settings |= {"vertices": None, **face.digests, "weights": used}
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
