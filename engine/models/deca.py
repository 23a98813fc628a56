"""DECA's coarse encoder: one picture of a face -> the numbers of FLAME, of a camera and of the light.

    code = linear(ReLU(linear(mean over the last map of ResNet-50(picture))))          2048 -> 1024 -> 236
    236  = shape 100, texture 50, expression 50, pose 6, camera 3, light 9 x 3          in this order

Names of parameters are those of the sub-dict `E_flame` in DECA's checkpoint. The picture is taken as it is, without a
mean or a deviation. What of the code reaches the vertices is shape, expression and pose: see `flame`.

B batch, S 224 pixels.
Source: Feng et al. 2021, "Learning an animatable detailed 3D face model from in-the-wild images".
"""

from typing import NamedTuple

from einops import rearrange
from torch import Tensor, nn

from fantasyid_engine.models.resnet import CHANNELS, ResNet50

SIZE = 224
"""Pixels a side."""
HIDDEN = 1024
SHAPE, EXPRESSION = 100, 50
LENGTHS = (SHAPE, 50, EXPRESSION, 6, 3, 27)
"""Of the parts of the code, as `DecaCode` has them."""


class DecaCode(NamedTuple):
    """What a face is made of.

    shape       [B, 100] standard deviations along FLAME's directions
    texture     [B, 50]
    expression  [B, 50] as shape
    pose        [B, 6] axis and angle of the head, then of the jaw
    camera      [B, 3] scale, x, y
    light       [B, 9, 3] spherical harmonics, a column for each colour
    """

    shape: Tensor
    texture: Tensor
    expression: Tensor
    pose: Tensor
    camera: Tensor
    light: Tensor


class DecaEncoder(nn.Module):
    """RGB pictures in [0, 1] -> `DecaCode`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = ResNet50()
        self.layers = nn.Sequential(nn.Linear(CHANNELS[-1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, sum(LENGTHS)))

    def forward(self, picture_B3SS: Tensor) -> DecaCode:
        """[B, 3, 224, 224], RGB in [0, 1] -> `DecaCode`.

        Raises:
            ValueError: a picture of another size, whose numbers would mean nothing.
        """
        if picture_B3SS.shape[1:] != (3, SIZE, SIZE):
            raise ValueError(f"a picture of {list(picture_B3SS.shape)}; DECA takes [B, 3, {SIZE}, {SIZE}]")
        features_BC = self.encoder(picture_B3SS)[-1].mean((2, 3))
        code = DecaCode(*self.layers(features_BC).split(LENGTHS, dim=1))
        return code._replace(light=rearrange(code.light, "b (n c) -> b n c", c=3))
