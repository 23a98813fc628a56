"""Devices, precision, memory, and what running out of it becomes; a GPU's answers are fakes here."""

import json
import os
import platform
import socket
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fantasyid_engine import __version__
from fantasyid_engine.errors import DeviceError, EngineError, ResourceError
from fantasyid_engine.runtime.device import (
    memory_at_hand,
    out_of_memory_as_error,
    resolve_device,
    resolve_precision,
)
from fantasyid_engine.runtime.machine import machine, versions

CPU, GPU = torch.device("cpu"), torch.device("cuda")
GIB = 2**30
ABSURD = 2**58


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Fakes torch's answers about a machine with `count` GPUs of `capability`."""

    def fake(count: int, capability: tuple[int, int] = (9, 0)) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fake GPU")
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 24 * GIB))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3 * GIB)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1 * GIB)

    return fake


def one_line(error: EngineError) -> str:
    message = str(error)
    assert "\n" not in message and message == message.strip()
    return message


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("auto", 0, "cpu"),
        ("auto", 1, "cuda"),
        ("cpu", 0, "cpu"),
        ("cpu", 2, "cpu"),
        ("cuda", 1, "cuda"),
        ("cuda:0", 1, "cuda:0"),
        ("cuda:1", 2, "cuda:1"),
    ],
)
def test_device(gpus: Callable[..., None], name: str, count: int, expected: str) -> None:
    gpus(count)
    assert resolve_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cuda", 0, "sees no CUDA device; use --device cpu"),
        ("cuda:0", 0, "device cuda:0 is not there"),
        ("cuda:2", 2, "sees 2 CUDA device(s)"),
        ("", 1, "there is no device ''"),
        ("gpu", 1, "there is no device 'gpu'; name cpu, cuda or cuda:N"),
        ("cuda:-1", 1, "there is no device 'cuda:-1'"),
        ("cuda:x\n", 1, r"there is no device 'cuda:x\n'"),
        ("mps", 1, "does not run on mps; name cpu, cuda or cuda:N"),
        ("meta", 1, "does not run on meta"),
        ("cpu:1", 1, "does not run on cpu:1"),
    ],
)
def test_devices_that_are_not_there(gpus: Callable[..., None], name: str, count: int, message: str) -> None:
    gpus(count)
    with pytest.raises(DeviceError) as error:
        resolve_device(name)
    assert message in one_line(error.value)
    assert error.value.exit_code == 69


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_auto_and_cuda_without_a_gpu() -> None:
    """Torch's own answers."""
    assert resolve_device("auto") == CPU
    with pytest.raises(DeviceError, match="no CUDA device"):
        resolve_device("cuda")


@pytest.mark.parametrize(
    ("name", "device", "capability", "expected"),
    [
        ("auto", CPU, (0, 0), "float32"),
        ("bfloat16", CPU, (0, 0), "bfloat16"),
        ("float32", CPU, (0, 0), "float32"),
        ("auto", GPU, (8, 0), "bfloat16"),
        ("auto", GPU, (9, 0), "bfloat16"),
        ("auto", GPU, (7, 5), "float32"),
        ("float32", GPU, (9, 0), "float32"),
        ("float32", GPU, (7, 5), "float32"),
        ("bfloat16", GPU, (8, 6), "bfloat16"),
    ],
    ids=str,
)
def test_precision(
    gpus: Callable[..., None], name: str, device: torch.device, capability: tuple[int, int], expected: str
) -> None:
    gpus(1, capability)
    assert resolve_precision(name, device) == expected


def test_bfloat16_on_a_gpu_without_it(gpus: Callable[..., None]) -> None:
    gpus(1, (7, 5))
    with pytest.raises(DeviceError, match="Fake GPU has no bfloat16; use --precision float32") as error:
        resolve_precision("bfloat16", GPU)
    one_line(error.value)


def test_memory_of_the_cpu_is_plausible() -> None:
    """Between what nothing uses and all there is; half of the one, as other programs come and go."""
    page = os.sysconf("SC_PAGE_SIZE")
    assert os.sysconf("SC_AVPHYS_PAGES") * page // 2 < memory_at_hand(CPU) <= os.sysconf("SC_PHYS_PAGES") * page


def test_memory_of_a_gpu_counts_what_torch_keeps_unused(gpus: Callable[..., None]) -> None:
    gpus(1)
    assert memory_at_hand(GPU) == 12 * GIB


@pytest.mark.parametrize(
    "allocate",
    [
        pytest.param(lambda: torch.empty(ABSURD), id="torch on a CPU"),
        pytest.param(lambda: np.empty(ABSURD), id="numpy"),
        pytest.param(lambda: bytearray(ABSURD), id="python"),
    ],
)
def test_real_allocators_out_of_memory(allocate: Callable[[], object]) -> None:
    with (
        pytest.raises(ResourceError, match=r"^out of memory while testing: \w") as error,
        out_of_memory_as_error("testing"),
    ):
        allocate()
    one_line(error.value)
    assert error.value.exit_code == 75
    assert error.value.__suppress_context__, "the allocator's own error is not shown"


def test_a_gpus_allocator_out_of_memory(gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has torch's class and text; it is raised here. What torch keeps is given back."""
    gpus(1)
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    text = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of\n 24 GiB"
    with pytest.raises(ResourceError, match="while denoising: CUDA out of memory") as error:  # noqa: SIM117
        with out_of_memory_as_error("denoising"):
            raise torch.OutOfMemoryError(text)
    one_line(error.value)
    assert emptied == [True]


@pytest.mark.parametrize(
    "problem",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
        ValueError("a"),
        KeyboardInterrupt(),
        ResourceError("b"),
    ],
    ids=repr,
)
def test_other_errors_pass(problem: BaseException) -> None:
    with pytest.raises(type(problem)) as error, out_of_memory_as_error("testing"):
        raise problem
    assert error.value is problem


def test_nothing_goes_wrong() -> None:
    with out_of_memory_as_error("testing"):
        torch.empty(8)


def test_machine_and_versions_do_not_name_the_machine(
    gpus: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host name is a fake that nothing else holds."""
    gpus(1)
    name = "host-name-of-this-machine"
    uname = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((uname.sysname, name, *tuple(uname)[2:])))
    monkeypatch.setattr(platform, "_uname_cache", None)
    for module, function in ((platform, "node"), (socket, "gethostname"), (socket, "getfqdn")):
        monkeypatch.setattr(module, function, lambda *arguments: name)
    assert platform.uname().node == name
    found = json.dumps([machine(CPU), machine(GPU), versions()])
    assert name not in found
    assert set(machine(CPU)) == {"system", "cpu", "cpu_count", "threads"}
    assert set(machine(GPU)) == {*machine(CPU), "gpu", "cuda"} and machine(GPU)["gpu"] == "Fake GPU"


def test_machine_and_versions_say_what_frames_depend_on() -> None:
    assert machine(CPU)["system"] == f"{platform.system()} {platform.machine()}"
    assert machine(CPU)["cpu"] and machine(CPU)["cpu_count"] == os.cpu_count()
    assert machine(CPU)["threads"] == torch.get_num_threads()
    found = versions()
    assert found["fantasyid-engine"] == __version__ and found["python"] == platform.python_version()
    assert torch.__version__.startswith(found["torch"].partition("+")[0])
    assert {"diffusers", "transformers", "numpy", "pillow", "opencv-python-headless", "av"} <= found.keys()
