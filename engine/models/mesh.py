"""Mesh hierarchy: what a spiral network knows of a mesh, as tables.

    spirals[l]   [V_l, S]          each vertex, its ring, the next ring ..., cut at S
    down[l]      [V_{l+1}, k]      level l -> l + 1 as weighted sums (k = 1: vertices picked by index)
    up[l]        [V_l, k]          level l + 1 -> l as weighted sums (k = 3: barycentric)

with the triangles and the template of the finest level. Stored as one safetensors file; made from any triangle mesh by
`mesh_build.build_hierarchy`, or from the authors' `transform.pkl` by `weights convert`.

V_l vertices of level l, S spiral length, k terms a sum, F triangles.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.config.schema import MeshConfig

FORMAT = "fantasyid-mesh-1"


@dataclass(frozen=True, slots=True)
class SampleTable:
    """Rows of a sparse matrix with at most k entries each: `index` [R, k] int32, `value` [R, k] float32."""

    index: Tensor
    value: Tensor


@dataclass(frozen=True, slots=True)
class MeshHierarchy:
    """Tables of all levels, finest first. `faces` [F, 3] int32 and `template` [V_0, 3] float32 are of the finest."""

    spirals: tuple[Tensor, ...]
    down: tuple[SampleTable, ...]
    up: tuple[SampleTable, ...]
    faces: Tensor
    template: Tensor

    @property
    def levels(self) -> tuple[int, ...]:
        """Vertices a level, finest first; the coarsest level has no spirals."""
        return (len(self.template), *(len(table.index) for table in self.down))

    @property
    def coarse_index(self) -> Tensor:
        """Index [V_last] of each coarsest vertex in the finest level.

        Raises:
            ValueError: the down tables are not index picks.
        """
        index = torch.arange(len(self.template), dtype=torch.int32, device=self.template.device)
        for table in self.down:
            if table.index.shape[1] != 1 or not bool((table.value == 1).all()):
                raise ValueError("coarse vertices are not picked by index, as this network needs them")
            index = index[table.index[:, 0].long()]
        return index

    def check(self, config: MeshConfig) -> None:
        """Raises ValueError unless vertex counts and spiral length are those of `config`."""
        lengths = {spiral.shape[1] for spiral in self.spirals}
        if self.levels != config.levels or lengths != {config.spiral_length}:
            raise ValueError(
                f"mesh hierarchy with levels {self.levels} and spirals of {sorted(lengths)}; "
                f"this network takes {config.levels} and {config.spiral_length}"
            )

    def save(self, path: Path) -> None:
        """Writes one safetensors file."""
        tensors = {"faces": self.faces, "template": self.template}
        for level, (spiral, down, up) in enumerate(zip(self.spirals, self.down, self.up, strict=True)):
            tensors[f"spiral.{level}"] = spiral
            for name, table in (("down", down), ("up", up)):
                tensors[f"{name}.{level}.index"] = table.index
                tensors[f"{name}.{level}.value"] = table.value
        save_file({name: t.contiguous() for name, t in tensors.items()}, path, metadata={"format": FORMAT})

    @classmethod
    def load(cls, path: Path) -> "MeshHierarchy":
        """Reads a file that `save` wrote.

        Raises:
            ValueError: tables are missing, or an index points outside its level.
        """
        return cls.from_tensors(load_file(path))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> "MeshHierarchy":
        """The tensors of a saved file -> hierarchy; raises as `load` does."""
        count = sum(name.startswith("spiral.") for name in tensors)
        try:
            tables = {
                name: tuple(
                    SampleTable(tensors[f"{name}.{level}.index"], tensors[f"{name}.{level}.value"])
                    for level in range(count)
                )
                for name in ("down", "up")
            }
            spirals = tuple(tensors[f"spiral.{level}"] for level in range(count))
            hierarchy = cls(spirals, tables["down"], tables["up"], tensors["faces"], tensors["template"])
        except KeyError as error:
            raise ValueError(f"mesh hierarchy without the table {error.args[0]!r}") from None
        hierarchy._check_indices()
        return hierarchy

    def _check_indices(self) -> None:
        levels = self.levels
        bounds = [("faces", self.faces, levels[0])]
        for level, (spiral, down, up) in enumerate(zip(self.spirals, self.down, self.up, strict=True)):
            bounds += [(f"spiral.{level}", spiral, levels[level]), (f"down.{level}", down.index, levels[level])]
            bounds += [(f"up.{level}", up.index, levels[level + 1])]
            for name, rows, expected in (("spiral", spiral, levels[level]), ("up", up.index, levels[level])):
                if len(rows) != expected:
                    raise ValueError(f"mesh hierarchy: {name}.{level} has {len(rows)} rows, not {expected}")
        for name, index, size in bounds:
            if index.numel() and not (int(index.min()) >= 0 and int(index.max()) < size):
                raise ValueError(f"mesh hierarchy: {name} points outside the {size} vertices of its level")
