"""The goldens of RetinaFace, alignment, DECA and FLAME: weights, pictures and a face model rebuilt by name.

The recipe is theirs (numbers, not code); see README.md in the goldens' folder `faces`.
"""

import math

import torch
from torch import Tensor

from tests.goldens import golden_json, normal

FACTORS = {
    "retinaface": {"body.conv1.weight": 1 / 64, "BboxHead.": 2.0, "LandmarkHead.": 2.0, "ClassHead.": 3.4},
    "deca": {},
}


def face_weights(model: str, keys: str) -> dict[str, Tensor]:
    """All weights of `model` ("retinaface", "deca"), by the golden file of its keys."""
    return {key: face_weight(model, key, shape) for key, (shape, _) in golden_json(f"faces/{keys}").items()}


def face_weight(model: str, key: str, shape: list[int]) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    noise = normal(f"{model}.{key}", *shape)
    if key.endswith("running_mean") or key.endswith(".bias"):
        noise = 0.1 * noise
    elif key.endswith("running_var"):
        noise = 1 + 0.2 * noise.abs()
    elif len(shape) == 1:
        noise = 1 + 0.2 * noise
    else:
        noise = noise / math.sqrt(math.prod(shape[1:]))
    return noise * math.prod(factor for start, factor in FACTORS[model].items() if key.startswith(start))


def picture(name: str, height: int, width: int) -> Tensor:
    """[H, W, 3] uint8: coloured cells of 32 pixels, and noise."""
    cells = normal(f"{name}.cells", math.ceil(height / 32), math.ceil(width / 32), 3)
    cells = cells.repeat_interleave(32, 0).repeat_interleave(32, 1)[:height, :width]
    values = 128 + 60 * cells + 20 * normal(f"{name}.noise", height, width, 3)
    return values.round().clamp(0, 255).to(torch.uint8)


def flame_model() -> dict[str, Tensor]:
    """A synthetic model of FLAME's shapes: 5023 vertices, 300 + 100 directions, 5 joints."""
    regressor = normal("flame.J_regressor", 5, 5023)
    regressor = torch.where(regressor > 2.5, regressor, torch.zeros(()))
    return {
        "v_template": 0.08 * normal("flame.v_template", 5023, 3),
        "shapedirs": 0.003 * normal("flame.shapedirs", 5023, 3, 400),
        "posedirs": 0.002 * normal("flame.posedirs", 5023, 3, 36),
        "J_regressor": regressor / regressor.sum(1, keepdim=True),
        "weights": torch.softmax(2 * normal("flame.weights", 5023, 5), 1),
    }


def flame_parameters() -> tuple[Tensor, Tensor, Tensor]:
    """Shape [3, 100], expression [3, 50], pose [3, 6] of three faces: neutral, turned a little, turned far."""
    expression = normal("input.flame.exp", 3, 50) * torch.tensor([[0.0], [1.0], [1.5]])
    pose = normal("input.flame.pose", 3, 6) * torch.tensor([[0.0], [0.3], [1.5]])
    return normal("input.flame.shape", 3, 100), expression, pose
