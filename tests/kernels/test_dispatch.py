"""Who runs an op."""

import pytest
import torch

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.kernels import ops
from fantasyid_engine.kernels.dispatch import wants_mesh_triton, wants_triton

X = torch.zeros(2)


def test_a_cpu_runs_the_references(monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", "auto")
    assert not wants_triton(X)
    assert not wants_mesh_triton(X)


def test_torch_means_the_references(monkeypatch, device):
    monkeypatch.setenv("FANTASYID_KERNELS", "torch")
    assert not wants_triton(X.to(device).half())


def test_triton_means_the_kernels(device):
    x = X.to(device)
    assert wants_triton(x)
    assert wants_mesh_triton(x)
    assert not wants_triton(x.double()), "kernels do not count in float64"


def test_no_kernel_where_a_gradient_is_wanted(device):
    x = X.to(device)
    weight = x.clone().requires_grad_()
    assert not wants_triton(x, weight)
    assert wants_mesh_triton(x, weight), "those of meshes have one"
    with torch.no_grad():
        assert wants_triton(x, weight)


def test_triton_on_a_cpu_takes_the_interpreter(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(ConfigError, match="FANTASYID_KERNELS is triton on a cpu; set TRITON_INTERPRET=1 too"):
        wants_triton(X)


def test_an_unknown_mode_is_named(monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", "fast")
    with pytest.raises(ConfigError, match="FANTASYID_KERNELS is 'fast'; it must be one of auto, triton, torch"):
        wants_triton(X)


@pytest.mark.gpu
def test_a_gpu_runs_the_kernels(monkeypatch, device):
    monkeypatch.setenv("FANTASYID_KERNELS", "auto")
    assert wants_triton(X.to(device).half())
    assert not wants_triton(X.to(device))
    assert wants_mesh_triton(X.to(device))


class _Layer(torch.nn.Module):
    def forward(self, h: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        return ops.norm_modulate(h, table[0, 2], table[0, 0], table[0, 1], table, 1, 1e-5)


def test_an_export_holds_plain_operators():
    h, table = torch.randn(1, 3, 8), torch.randn(1, 6, 8)
    program = torch.export.export(_Layer(), (h, table))
    names = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert names
    assert not [name for name in names if "fantasyid" in name], names


def test_a_compiled_graph_holds_the_op(device):
    h, table = torch.randn(1, 3, 8, device=device), torch.randn(1, 6, 8, device=device)
    seen: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: list[torch.Tensor]) -> object:
        seen.extend(str(node.target) for node in graph.graph.nodes)
        return graph.forward

    torch._dynamo.reset()
    compiled = torch.compile(_Layer(), backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(h, table), _Layer()(h, table))
    assert any("fantasyid" in name for name in seen), seen
