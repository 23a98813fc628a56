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
from safetensors import safe_open
from safetensors.torch import save_file
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
            ValueError: another format, tables that are missing or of another shape or type, an index outside its level.
            SafetensorError, OSError: the file cannot be read.
        """
        with safe_open(path, "pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
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
            raise ValueError(f"it has no table {error.args[0]!r}") from None
        hierarchy._check_tables()
        return hierarchy

    def _check_tables(self) -> None:
        """Raises ValueError for a table of wrong shape or type, or an index outside its level."""
        _check_values("template", self.template, (None, 3))
        for level, table in enumerate(self.down):
            _check_values(f"down.{level}.value", table.value, (None, None))
            if table.index.ndim != 2:
                raise ValueError(f"down.{level}.index has {table.index.ndim} axes, not 2")
        levels = self.levels
        _check_index("faces", self.faces, (None, 3), levels[0])
        for level, (spiral, down, up) in enumerate(zip(self.spirals, self.down, self.up, strict=True)):
            fine, coarse = levels[level], levels[level + 1]
            _check_index(f"spiral.{level}", spiral, (fine, None), fine)
            _check_index(f"down.{level}.index", down.index, (coarse, None), fine)
            _check_index(f"up.{level}.index", up.index, (fine, None), coarse)
            _check_values(f"down.{level}.value", down.value, tuple(down.index.shape))
            _check_values(f"up.{level}.value", up.value, tuple(up.index.shape))


def _check_values(name: str, table: Tensor, shape: tuple[int | None, ...]) -> None:
    _check_shape(name, table, shape)
    if not table.is_floating_point() or not bool(table.isfinite().all()):
        raise ValueError(f"{name} holds values that are no finite numbers")


def _check_index(name: str, table: Tensor, shape: tuple[int | None, ...], size: int) -> None:
    _check_shape(name, table, shape)
    if table.dtype not in (torch.int32, torch.int64):
        raise ValueError(f"{name} is of type {table.dtype}, not int32")
    if table.numel() and not (int(table.min()) >= 0 and int(table.max()) < size):
        raise ValueError(f"{name} points outside the {size} vertices of its level")


def _check_shape(name: str, table: Tensor, shape: tuple[int | None, ...]) -> None:
    fits = table.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, table.shape, strict=True))
    if not fits or 0 in table.shape:
        wanted = " x ".join("n" if n is None else str(n) for n in shape)
        raise ValueError(f"{name} is {' x '.join(map(str, table.shape)) or 'a number'}, not {wanted}")
