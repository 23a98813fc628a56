"""How the head moves, read off the middle of the DiT while it learns to draw.

Of noise a DiT sees nothing of a motion, and the velocity's error tells little of it: colours and light fill more of the
picture, so it comes to them first and leaves clips still. A head that reads the pose and expression of each latent
frame has the layers before it take them from the prompt, and gives the layers behind something to draw by.

B batch, F frames, F' latent frames, N video tokens, D width, n numbers of a motion.
Sources: representation alignment (Yu et al. 2024), for a loss on the middle of a DiT; VideoJAM (Chefer et al. 2025),
for motion beside appearance.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.shape import TokenReader

DEVIATIONS = (0.21, 0.09, 0.085, 0.56, 0.21, 0.09, 0.59, 0.19, 0.07)
"""Of yaw, pitch and roll, and of the coefficients of `avatar.motion.EXPRESSION`, among avatars' latent frames."""
TOKEN_DIM, HIDDEN_DIM = 16, 128


class MotionReader(nn.Module):
    """Video tokens of the middle layer -> pose and expression of each latent frame, in deviations."""

    def __init__(self, dit: DiT, *, seed: int) -> None:
        super().__init__()
        config = dit.config
        self.tokens = config.sample_height * config.sample_width // config.patch_size**2
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.read = TokenReader(self.tokens, config.dim, TOKEN_DIM, HIDDEN_DIM, len(DEVIATIONS))

    def error(self, middle_BND: Tensor, motion_Bfn: Tensor) -> Tensor:
        """Mean squared error: 1 for whoever guesses the mean. motion_Bfn is [B, F', n]."""
        said = self.read(middle_BND.unflatten(1, (-1, self.tokens)).flatten(0, 1)).unflatten(0, motion_Bfn.shape[:2])
        return F.mse_loss(said.float(), motion_Bfn / motion_Bfn.new_tensor(DEVIATIONS))


def latent_motion(motion_Fn: Tensor, temporal: int) -> Tensor:
    """Motion of a clip's frames -> of its latents [F', n]: means over the `temporal` frames of all but the first."""
    return torch.cat([motion_Fn[:1], motion_Fn[1:].unflatten(0, (-1, temporal)).mean(1)])


@contextmanager
def middle_of(dit: DiT) -> Iterator[list[Tensor]]:
    """Gathers the video tokens [B, N, D] that enter the second half of the blocks, of each forward pass inside."""
    seen: list[Tensor] = []

    def keep(block: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.append(inputs[0])

    handle = dit.blocks[len(dit.blocks) // 2].register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
