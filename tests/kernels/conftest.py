"""Kernels run in Triton's interpreter where there is no GPU; what they leave unwritten is NaN."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(autouse=True)
def _poisoned() -> Iterator[None]:
    """`torch.empty` gives NaN, as PyTorch's own deterministic mode does it."""
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True)
def _everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_KERNELS", "triton")
