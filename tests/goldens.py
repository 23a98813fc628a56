"""The authors' goldens: where they are, how weights and inputs are rebuilt by name, and how outputs are compared.

The recipe is theirs (numbers, not code): every tensor is normal noise from a CPU generator seeded with the CRC-32 of
its name, scaled by what kind of weight the name says it is. See README.md in the goldens' folder.
"""

import json
import math
import os
import re
import zlib
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

# Weights that feed a norm directly are made small, so that a wrong epsilon shows.
SMALL = re.compile(
    r"transformer_blocks\.\d+\.attn1\.to_[qk]\..+"
    r"|face_abstractor\.layers\.\d+\.0\.net\.\d+\.b\d+\.(conv\d|downsample)\.conv\.weight"
    r"|face_abstractor\.layers\.\d+\.0\.readout\.2\..+"
    r"|face_abstractor\.(mapping_\d+|id_embedding_mapping)\.[03]\..+"
    r"|vertex_reducer\.conv_block\d\.conv_(in|out)\.conv1d\..+"
    r"|patch_embed\..+"
)


def reference_dir() -> Path | None:
    places = [os.environ.get("FANTASYID_REFERENCE_DIR"), Path(__file__).parents[2] / "shared" / "reference"]
    return next((Path(place) for place in places if place and Path(place).is_dir()), None)


def require_reference() -> Path:
    folder = reference_dir()
    if folder is None:
        pytest.skip("no reference data: set FANTASYID_REFERENCE_DIR or put it at ../shared/reference")
    return folder


@cache
def golden(name: str) -> dict[str, Tensor]:
    return load_file(require_reference() / "goldens" / f"{name}.safetensors")


@cache
def golden_json(name: str) -> dict:
    return json.loads((require_reference() / "goldens" / f"{name}.json").read_text())


def normal(name: str, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(shape, generator=generator)


def weight(key: str, shape: list[int], seed: str = "") -> Tensor:
    """`seed` goes in front of the name that seeds the noise; the tower's weights have "eva."."""
    noise = normal(seed + key, *shape)
    if key.endswith("bias"):
        value = 0.1 * noise
    elif key.endswith(".weight"):
        value = 1 + 0.2 * noise if len(shape) == 1 else noise / math.sqrt(math.prod(shape[1:]))
    elif key == "face_abstractor.proj_out":
        value = noise / math.sqrt(shape[0])
    else:
        value = 0.5 * noise
    return 0.03 * value if not seed and SMALL.fullmatch(key) else value


def relative_l2(actual: Tensor, expected: Tensor) -> float:
    expected = expected.double()
    return ((actual.double() - expected).norm() / expected.norm()).item()


def assert_close(name: str, actual: Tensor, expected: Tensor, tolerance: float) -> None:
    assert actual.shape == expected.shape, f"{name}: {tuple(actual.shape)} instead of {tuple(expected.shape)}"
    error = relative_l2(actual, expected)
    assert error <= tolerance, f"{name}: relative L2 {error:.2e} above {tolerance:.0e}"
