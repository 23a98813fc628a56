"""Where a stopped render can go on from: one safetensors file, or an object in memory.

Latents, the solver's history (x0, float32), the noise source's state, and how many steps are done, bound to the request
and the plan that it belongs to.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.check import config, holds
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError, InputError
from fantasyid_engine.runtime.plan import ExecutionPlan
from fantasyid_engine.sampling.noise import SeededNoise

FORMAT = "fantasyid-state-1"


@config
class _Values:
    """What a state file says beside its tensors."""

    request_digest: str
    seed: int
    steps_done: int
    plan: ExecutionPlan

    def __post_init__(self) -> None:
        holds(self, "seed", 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")
        holds(self, "steps_done", self.steps_done >= 0, "0 or more")


@dataclass(frozen=True, slots=True)
class RenderState:
    """A render after `steps_done` steps.

    Attributes:
        request_digest: SHA-256 of what is rendered: request, inputs, model.
        seed: the resolved seed.
        plan: how it is rendered; it is pinned.
        steps_done: steps that `latents` have behind them.
        latents: [1, F, C, H, W] float32, on the CPU.
        history: the solver's, of the same shape; None for a solver that keeps none.
        noise: state of the noise source.
    """

    request_digest: str
    seed: int
    plan: ExecutionPlan
    steps_done: int
    latents: Tensor
    history: Tensor | None
    noise: Tensor

    def save(self, path: Path) -> None:
        """Writes one file, whole or not at all; raises OutputError where it cannot be written."""
        tensors = {"latents": self.latents.contiguous(), "noise": self.noise}
        if self.history is not None:
            tensors["history"] = self.history.contiguous()
        values = _Values(request_digest=self.request_digest, seed=self.seed, steps_done=self.steps_done, plan=self.plan)
        metadata = {"format": FORMAT, "state": json.dumps(to_json_object(values))}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> "RenderState":
        """Reads a file that `save` wrote.

        Raises:
            InputError: `state_unreadable`, missing or no such file.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"its format is not {FORMAT}")
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            values = from_json_object(_Values, json.loads(metadata["state"]), path)
            state = cls(
                request_digest=values.request_digest,
                seed=values.seed,
                plan=values.plan,
                steps_done=values.steps_done,
                latents=tensors["latents"],
                history=tensors.get("history"),
                noise=tensors["noise"],
            )
            _check_tensors(state)
        except (OSError, SafetensorError, ConfigError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError("state_unreadable", f"{path} is no state to go on from: {error}") from None
        return state


def _check_tensors(state: RenderState) -> None:
    """Raises ValueError, RuntimeError or TypeError for tensors that no render has."""
    for name, tensor in (("latents", state.latents), ("history", state.history)):
        if tensor is not None and (tensor.dtype != torch.float32 or tensor.shape != state.latents.shape):
            raise ValueError(f"its {name} are {tensor.dtype} {tuple(tensor.shape)}")
    if state.latents.ndim != 5:
        raise ValueError(f"its latents have {state.latents.ndim} axes, not 5")
    SeededNoise(0).restore(state.noise)
