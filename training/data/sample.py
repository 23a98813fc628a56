"""One training example: a clip, and who is in it.

M views, S their side, V vertices, F frames, H W height / width in pixels; F' H' W' the same of latents; L text tokens,
C channels.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class TrainingSample:
    """What shards keep of a clip.

    key         names it; no other sample has it
    person      who it shows
    prompt      what it shows
    views       [M, 3, S, S] uint8 RGB: the multi-view collection, face crops as the tower takes them, most different
                first
    view_poses  [M, 3] float32 yaw, pitch, roll in radians, signs as in `avatar.motion`
    vertices    [V, 3] float32 metres, pose and expression zero
    frames      [F, 3, H, W] uint8 RGB: the clip
    boxes       [F, 4] float32 left, top, right, bottom of the head, in pixels of the clip
    shape       [n] float32 shape coefficients of who the views show, where they are known (avatars)
    look        [k] float32 what else the views tell of who somebody is, where it is known (avatars)
    motion      [F, 9] float32 pose and expression of each frame, as in `avatar.motion`, where they are known (avatars)
    moments     [F', 2 C, H', W'] float16 mean and log-variance of the VAE's posterior of the clip
    text        [L, C] float16 text tokens of `prompt`
    """

    key: str
    person: str
    prompt: str
    views: Tensor
    view_poses: Tensor
    vertices: Tensor
    frames: Tensor | None = None
    boxes: Tensor | None = None
    shape: Tensor | None = None
    look: Tensor | None = None
    motion: Tensor | None = None
    moments: Tensor | None = None
    text: Tensor | None = None
