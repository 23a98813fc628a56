"""FLAME: numbers of a face -> its vertices, by linear directions, pose correctives and linear blend skinning.

    v   = template + S shape + E expression
    J   = regressor v                                       joints: root, neck, jaw, left eye, right eye
    v'  = v + P vec(R_1 .. R_4 - I)                         correctives, each R row by row
    G_0 = (R_0, J_0),  G_j = G_parent (R_j, J_j - J_parent)
    out = sum_j weight_j (G_j rotation (v' - J_j) + G_j translation)

R_0 (the head) and R_2 (the jaw) come from the pose, the other rotations are none. Everything is float32, also under
autocast, as millimetres of a face count. Stored as one safetensors file; made from the user's own FLAME model by
`weights convert`.

B batch, V vertices, n shape and m expression directions, J 5 joints, T triangles; metres.
Source: Li et al. 2017, "Learning a model of facial shape and expression from 4D scans".
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from einops import rearrange
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fantasyid_engine.models.float32 import float32_island

FORMAT = "fantasyid-flame-1"
PARENTS = (-1, 0, 1, 1, 1)
CORRECTIVES = 9 * (len(PARENTS) - 1)
TABLES: dict[str, tuple[str | int, ...]] = {
    "template": ("V", 3),
    "shape_basis": ("V", 3, "n"),
    "expression_basis": ("V", 3, "m"),
    "pose_basis": ("V", 3, CORRECTIVES),
    "joint_regressor": (len(PARENTS), "V"),
    "skinning_weights": ("V", len(PARENTS)),
    "faces": ("T", 3),
}
"""Their sizes: a letter is the same number everywhere."""
TINY = 1e-8
"""Keeps the angle of no rotation off zero."""
SUM_TOLERANCE = 0.01
"""How far weights that make an average may be from adding up to one."""


class Flame(nn.Module):
    """The face model, as `TABLES` that are float32 (`faces`: int32); rows of its two averages add up to 1."""

    template: Tensor
    shape_basis: Tensor
    expression_basis: Tensor
    pose_basis: Tensor
    joint_regressor: Tensor
    skinning_weights: Tensor
    faces: Tensor

    def __init__(self, tables: Mapping[str, Tensor]) -> None:
        """Takes the tables by name; raises ValueError where one is missing, or they do not go together."""
        super().__init__()
        for name, table in _checked(tables).items():
            self.register_buffer(name, table)

    def forward(self, shape_Bn: Tensor, expression_Bm: Tensor, pose_B6: Tensor) -> Tensor:
        """Coefficients [B, n] and [B, m], axis and angle of head and jaw [B, 6] -> vertices [B, V, 3]."""
        return self.posed(shape_Bn, expression_Bm, pose_B6)[0]

    def neutral(self, shape_Bn: Tensor) -> Tensor:
        """Coefficients [B, n] -> vertices [B, V, 3] without pose and expression: who somebody is, and no more."""
        with float32_island(shape_Bn.device):
            return self.template + _along(self.shape_basis, shape_Bn)

    def posed(self, shape_Bn: Tensor, expression_Bm: Tensor, pose_B6: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices, as `forward` has them, and joints [B, 5, 3] where the pose has taken them."""
        with float32_island(shape_Bn.device):
            vertices_BV3 = self.neutral(shape_Bn) + _along(self.expression_basis, expression_Bm)
            joints_BJ3 = self.joint_regressor @ vertices_BV3
            rotations = _rotations(pose_B6.float())
            bent = torch.stack(rotations[1:], dim=1) - torch.eye(3, device=pose_B6.device)
            vertices_BV3 = vertices_BV3 + _along(self.pose_basis, rearrange(bent, "b j r c -> b (j r c)"))

            turns_BJ33, places_BJ3 = _chain(rotations, joints_BJ3)
            moves_BJ3 = places_BJ3 - (turns_BJ33 @ joints_BJ3[..., None])[..., 0]
            turn_BV33 = torch.einsum("vj,bjrc->bvrc", self.skinning_weights, turns_BJ33)
            move_BV3 = self.skinning_weights @ moves_BJ3
            return (turn_BV33 @ vertices_BV3[..., None])[..., 0] + move_BV3, places_BJ3

    def save(self, path: Path) -> None:
        """Writes one safetensors file."""
        save_file({name: table.contiguous() for name, table in self.named_buffers()}, path, {"format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> "Flame":
        """Reads a file that `save` wrote.

        Raises:
            ValueError: another format, tables that are missing, do not go together or hold what is no number.
            SafetensorError, OSError: the file cannot be read.
        """
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            return cls({name: file.get_tensor(name) for name in list(file.keys())})


def _along(basis_V3n: Tensor, coefficients_Bn: Tensor) -> Tensor:
    return torch.einsum("vcn,bn->bvc", basis_V3n, coefficients_Bn.float())


def _rotations(pose_B6: Tensor) -> list[Tensor]:
    """Axis and angle of head and jaw -> a rotation [B, 3, 3] for each joint."""
    head, jaw = pose_B6.split(3, dim=1)
    none = torch.zeros_like(head)
    return [_rotation(axis) for axis in (head, none, jaw, none, none)]


def _rotation(axis_B3: Tensor) -> Tensor:
    """Axis, as long as its angle in radians, [B, 3] -> [B, 3, 3], by Rodrigues' formula."""
    angle_B11 = (axis_B3 + TINY).norm(dim=1)[:, None, None]
    x, y, z = (axis_B3 / angle_B11[:, 0]).unbind(1)
    zero = torch.zeros_like(x)
    cross_B33 = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).unflatten(1, (3, 3))
    turned_B33 = angle_B11.sin() * cross_B33 + (1 - angle_B11.cos()) * (cross_B33 @ cross_B33)
    return torch.eye(3, device=axis_B3.device) + turned_B33


def _chain(rotations: list[Tensor], joints_BJ3: Tensor) -> tuple[Tensor, Tensor]:
    """Rotations [B, 3, 3] relative to each parent -> [B, 5, 3, 3] of the whole, and where the joints go [B, 5, 3]."""
    turns, places = [rotations[0]], [joints_BJ3[:, 0]]
    for joint in range(1, len(PARENTS)):
        parent = PARENTS[joint]
        bone_B31 = (joints_BJ3[:, joint] - joints_BJ3[:, parent])[..., None]
        places.append(places[parent] + (turns[parent] @ bone_B31)[..., 0])
        turns.append(turns[parent] @ rotations[joint])
    return torch.stack(turns, dim=1), torch.stack(places, dim=1)


def _checked(tables: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tables of `Flame` in their types; raises ValueError where they make no face model."""
    sizes: dict[str | int, int] = {number: number for number in (3, len(PARENTS), CORRECTIVES)}
    for name, axes in TABLES.items():
        if name not in tables:
            raise ValueError(f"it has no table {name!r}")
        shape = tables[name].shape
        fits = len(shape) == len(axes) and 0 not in shape
        if not fits or any(sizes.setdefault(axis, n) != n for axis, n in zip(axes, shape, strict=True)):
            wanted = " x ".join(str(sizes.get(axis, axis)) for axis in axes)
            raise ValueError(f"{name} is {' x '.join(map(str, shape)) or 'a number'}, not {wanted}")
    faces = tables["faces"]
    if faces.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"faces is of type {faces.dtype}, not int32")
    if not (int(faces.min()) >= 0 and int(faces.max()) < sizes["V"]):
        raise ValueError(f"faces points outside the {sizes['V']} vertices")
    made = {name: tables[name].float() for name in TABLES if name != "faces"}
    for name, table in made.items():
        if not bool(table.isfinite().all()):
            raise ValueError(f"{name} holds values that are no finite numbers")
    for name in ("joint_regressor", "skinning_weights"):
        if bool(((made[name].sum(1) - 1).abs() > SUM_TOLERANCE).any()):
            raise ValueError(f"{name} has rows that do not add up to 1")
    return made | {"faces": faces.int()}
