"""The execution plan: everything about how a render runs that its frames depend on.

The same request under the same plan gives the same frames. A plan is resolved once, recorded beside the video, and
pinned when that video is rendered again or a stopped render goes on.
"""

from typing import Literal

from fantasyid_engine.config.check import all_positive, config, holds, one_of, positive


@config
class ExecutionPlan:
    """How one render runs.

    `vae_tile` is the height and width of a VAE tile in latents; None decodes the picture whole. `kernels` says who runs
    the ops that have a Triton kernel (`FANTASYID_KERNELS`). `guidance` says whether negative prompt and prompt go
    through the DiT as one batch, or in turn, which takes half the memory.
    """

    device: str
    precision: str
    vae_tile: tuple[int, int] | None = None
    backend: Literal["eager", "fused", "folded"] = "eager"
    kernels: Literal["torch", "triton"] = "torch"
    attention: Literal["sdpa"] = "sdpa"
    guidance: Literal["batched", "in_turn"] = "batched"
    step_cache: Literal["none"] = "none"
    batch_size: Literal[1] = 1
    parallel: Literal["none"] = "none"

    def __post_init__(self) -> None:
        one_of(self, "device", ("cpu", "cuda"))
        one_of(self, "precision", ("float32", "bfloat16"))
        one_of(self, "backend", ("eager", "fused", "folded"))
        one_of(self, "kernels", ("torch", "triton"))
        one_of(self, "attention", ("sdpa",))
        one_of(self, "guidance", ("batched", "in_turn"))
        one_of(self, "step_cache", ("none",))
        one_of(self, "batch_size", (1,))
        one_of(self, "parallel", ("none",))
        if self.vae_tile is not None:
            all_positive(self, "vae_tile", most=65536)
            holds(self, "vae_tile", len(self.vae_tile) == 2, "a height and a width")


@config
class EngineConfig:
    """How an engine runs; `auto` is resolved when it is made.

    `device` is auto, cpu, cuda or cuda:N. `precision` auto is bfloat16 on a GPU and float32 on a CPU. `backend` is the
    form of the DiT (`runtime.backend`); auto takes the kernels on a GPU. `vae_tile` is the
    side of a VAE tile in pixels; 0 decodes whole, None takes the largest that the memory at hand allows.
    `text_cache` counts the prompts whose tokens are kept. Faces that were read are kept in up to `face_cache_mib` of
    memory, and in a folder only where `face_cache_dir` names one: they are as personal as the photos; that takes up to
    `face_cache_disk_mib`. `verify` compares weights with their manifest on loading. `require_consent` refuses requests
    without `consent_ref`.
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    backend: Literal["auto", "eager", "fused", "folded"] = "auto"
    vae_tile: int | None = None
    text_cache: int = 64
    face_cache_mib: int = 64
    face_cache_dir: str | None = None
    face_cache_disk_mib: int = 1024
    verify: bool = True
    require_consent: bool = False

    def __post_init__(self) -> None:
        one_of(self, "precision", ("auto", "float32", "bfloat16"))
        one_of(self, "backend", ("auto", "eager", "fused", "folded"))
        positive(self, "text_cache")
        for name in ("face_cache_mib", "face_cache_disk_mib"):
            size = getattr(self, name)
            holds(self, name, type(size) is int and size >= 0, "an integer, 0 or more")
        folder = self.face_cache_dir
        holds(self, "face_cache_dir", folder is None or (isinstance(folder, str) and bool(folder)), "a folder, or None")
        holds(self, "device", isinstance(self.device, str), "a name: auto, cpu, cuda or cuda:N")
        holds(self, "require_consent", type(self.require_consent) is bool, "True or False")
        if self.vae_tile is not None and (self.vae_tile != 0 or isinstance(self.vae_tile, bool)):
            positive(self, "vae_tile", most=65536)
