"""Which form of the DiT an engine takes."""

import pytest
import torch

from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.kernels.id_injection import folded_bytes
from fantasyid_engine.runtime import backend
from fantasyid_engine.runtime.backend import BACKENDS, _activations, resolve_backend, resolve_kernels

CPU, GPU = torch.device("cpu"), torch.device("cuda")
RELEASED, PAPER = NETWORKS["fantasyid-5b"], NETWORKS["fantasyid-5b-paper"]


@pytest.fixture(autouse=True)
def _roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "memory_at_hand", lambda device: 2**40)
    monkeypatch.setattr(backend, "COMPILES", True)


def test_too_many_keys_to_fold():
    with pytest.raises(ConfigError, match="backend folded: a face is 314 tokens here, too many to fold; take fused"):
        resolve_backend("folded", PAPER, CPU, torch.float32)


@pytest.mark.parametrize(
    ("mode", "device", "kernels"), [("auto", CPU, "torch"), ("torch", GPU, "torch"), ("triton", CPU, "triton")]
)
def test_who_runs_the_ops(mode, device, kernels, monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", mode)
    assert resolve_kernels(device) == kernels


@pytest.mark.parametrize("name", BACKENDS)
def test_what_is_named_is_taken(name):
    assert resolve_backend(name, RELEASED, CPU, torch.float32) == name


@pytest.mark.parametrize(
    ("device", "dtype"), [(CPU, torch.float32), (CPU, torch.bfloat16), (GPU, torch.float32)], ids=str
)
def test_eager_without_a_gpu_in_half_precision(device, dtype):
    assert resolve_backend("auto", RELEASED, device, dtype) == "eager"


def test_two_faces_take_twice_the_memory_folded(monkeypatch):
    dit, injection = RELEASED.dit, RELEASED.dit.injection
    face = dit.num_injections * folded_bytes(injection.num_heads, dit.dim, RELEASED.num_id_tokens, 2)
    room = _activations(dit, torch.bfloat16) + 3 * face // 2
    monkeypatch.setattr(backend, "memory_at_hand", lambda device: room)
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16) == "folded"
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16, faces=2) == "fused"


def test_a_gpu_folds_where_there_are_few_keys_and_much_memory(monkeypatch):
    assert RELEASED.num_id_tokens == 115 and PAPER.num_id_tokens == 314
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16) == "folded"
    assert resolve_backend("auto", PAPER, GPU, torch.bfloat16) == "fused"
    monkeypatch.setattr(backend, "memory_at_hand", lambda device: 4 * 10**9)
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16) == "fused"
    monkeypatch.setattr(backend, "COMPILES", False)
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16) == "eager", "no C compiler"
    monkeypatch.setattr(backend, "COMPILES", True)
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    assert resolve_backend("auto", RELEASED, GPU, torch.bfloat16) == "eager"
