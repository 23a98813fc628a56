"""What the tower sees of a crop, against Pillow's bicubic and the numbers that CLIP names."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.face.tower_input import CLIP_DEVIATION, CLIP_MEAN, clip_normalised, resized_crop, tower_input

MEAN, DEVIATION = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (CLIP_MEAN, CLIP_DEVIATION))


def noise(side: int) -> NDArray[np.uint8]:
    """Of greys that do not overshoot: between its two passes Pillow would cut them."""
    return np.random.default_rng(side).integers(64, 192, (side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("side", "size"),
    [
        pytest.param(64, 64, id="as-it-is"),
        pytest.param(512, 336, id="smaller"),
        pytest.param(33, 80, id="larger"),
        pytest.param(200, 7, id="much-smaller"),
    ],
)
def test_is_pillows_bicubic(side: int, size: int) -> None:
    """To the rounding of Pillow's two passes."""
    made = resized_crop(noise(side), size)
    assert made.shape == (1, 3, size, size) and made.dtype == torch.float32
    theirs = np.asarray(Image.fromarray(noise(side)).resize((size, size), Image.Resampling.BICUBIC))
    ours = (made[0].permute(1, 2, 0) * 255).clamp(0, 255).numpy()
    assert np.abs(ours - theirs).max() < 1.2


def test_edges_overshoot() -> None:
    """As the release leaves them; nothing is cut."""
    edge = np.zeros((32, 32, 3), np.uint8)
    edge[:, 16:] = 255
    made = resized_crop(edge, 64)
    assert made.min() < -0.01 and made.max() > 1.01


def test_a_crop_that_is_turned_or_mirrored() -> None:
    """Views of arrays, whose rows are not one after the other."""
    crop = noise(40)
    for view in (crop[:, ::-1], crop.transpose(1, 0, 2), crop[::-1, ::-1]):
        assert torch.equal(tower_input(view, 24), tower_input(view.copy(), 24))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_normalised(dtype: torch.dtype) -> None:
    """The mean becomes 0, one deviation above it 1."""
    pictures = torch.stack([MEAN + k * DEVIATION for k in (0, 1, -1)]).expand(-1, -1, 2, 2).to(dtype)
    made = clip_normalised(pictures)
    assert made.dtype == dtype and made.shape == (3, 3, 2, 2)
    expected = torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)[:, None, None, None].expand(-1, 3, 2, 2)
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=10 * torch.finfo(dtype).eps)


def test_the_tower_takes_both() -> None:
    """Of a picture of one colour, by hand."""
    made = tower_input(np.full((50, 50, 3), (255, 51, 0), np.uint8), 14)
    assert made.shape == (1, 3, 14, 14) and made.dtype == torch.float32
    expected = [(1 - 0.48145466) / 0.26862954, (0.2 - 0.4578275) / 0.26130258, -0.40821073 / 0.27577711]
    np.testing.assert_allclose(made[0].permute(1, 2, 0).numpy(), np.broadcast_to(expected, (14, 14, 3)), atol=2e-6)
