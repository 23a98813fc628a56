"""Which workers there are, and what they see of the server's environment."""

from typing import Any

import pytest

from fantasyid_engine.server import devices
from fantasyid_engine.server.devices import find_devices, place


@pytest.mark.parametrize(
    ("gpus", "visible", "found"),
    [
        (0, None, ("cpu",)),
        (2, None, ("cuda:0", "cuda:1")),
        (8, "3,5", ("cuda:0", "cuda:1")),
        (8, "GPU-1b2c, 4", ("cuda:0", "cuda:1")),
        (8, "", ("cpu",)),
        (8, "-1", ("cpu",)),
        (8, "2,-1,3", ("cuda:0",)),
        (1, "0,1", ("cuda:0",)),
    ],
)
def test_found(monkeypatch: pytest.MonkeyPatch, gpus: int, visible: str | None, found: tuple[str, ...]) -> None:
    monkeypatch.setattr(devices, "_count_gpus", lambda: gpus)
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert find_devices((), environment) == found
    assert find_devices(("cuda:3", "cpu"), environment) == ("cuda:3", "cpu"), "what is wanted is taken"


def test_a_machine_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    import pynvml

    def missing() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", missing)
    assert find_devices((), {}) == ("cpu",)


@pytest.mark.parametrize(
    ("device", "environment", "name", "seen"),
    [
        ("cpu", {}, "cpu", {"CUDA_VISIBLE_DEVICES": ""}),
        ("cuda:1", {}, "cuda:0", {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}),
        ("cuda:1", {"CUDA_VISIBLE_DEVICES": "4,GPU-1b2c"}, "cuda:0", {"CUDA_VISIBLE_DEVICES": "GPU-1b2c"}),
        ("cuda:2", {"CUDA_VISIBLE_DEVICES": "4,5"}, "cuda:2", {"CUDA_VISIBLE_DEVICES": "4,5"}),
        ("cuda", {}, "cuda", {}),
        ("toaster", {}, "toaster", {}),
    ],
)
def test_a_worker_sees_its_own_alone(device: str, environment: dict[str, str], name: str, seen: dict[str, Any]) -> None:
    assert place(device, environment) == (name, seen)


def test_secrets_stay_with_the_server() -> None:
    needed = {"PATH": "/bin", "HOME": "/h", "OMP_NUM_THREADS": "1", "FANTASYID_MODELS": "/m", "PYTHONPATH": "/p"}
    needed |= {"FANTASYID_SIGNING_KEY": "/etc/key.pem", "LC_ALL": "C", "TORCHINDUCTOR_CACHE_DIR": "/c"}
    secret = {"AWS_SECRET_ACCESS_KEY": "x", "HF_TOKEN": "x", "FANTASYID_WEBHOOK_SECRET": "x", "DATABASE_URL": "x"}
    secret |= {"OPENAI_API_KEY": "x", "XDG_TOKEN": "x", "HTTPS_PROXY": "http://user:word@proxy"}
    _, environment = place("cpu", needed | secret)
    assert environment == needed | {"CUDA_VISIBLE_DEVICES": ""}
