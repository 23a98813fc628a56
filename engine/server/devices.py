"""Which devices workers run on, and the environment in which one sees no other.

No torch here: GPUs are counted by the driver's library. `CUDA_VISIBLE_DEVICES` of the server is kept to.
"""

import re
from collections.abc import Mapping, Sequence

NEEDED = re.compile(
    r"HOME|LANG|LD_LIBRARY_PATH|LOGNAME|PATH|TEMP|TMP|TMPDIR|TZ|USER|VIRTUAL_ENV"
    r"|(LC|CUDA|CUBLAS|CUDNN|NVIDIA|FANTASYID|OMP|KMP|MKL|OPENBLAS|MALLOC|PYTORCH|TORCH|TRITON|XDG)_.*"
    r"|(PYTHON|TORCHINDUCTOR).*"
)
"""What a worker needs of the server's environment; whatever else is in it stays there, above all secrets."""
SECRET = re.compile(r"SECRET|TOKEN|PASSW|API_?KEY|CREDENTIAL")
VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


def find_devices(wanted: Sequence[str], environment: Mapping[str, str]) -> tuple[str, ...]:
    """The devices that are wanted, or else every GPU, or else the CPU."""
    if wanted:
        return tuple(wanted)
    visible = _visible(environment)
    count = _count_gpus() if visible is None else min(len(visible), _count_gpus())
    return tuple(f"cuda:{index}" for index in range(count)) or ("cpu",)


def place(device: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """What a worker for `device` calls it, and its environment.

    A worker for `cuda:N` sees that GPU alone, as its `cuda:0`: libraries that take the first one take the right one. A
    name that is none is left to the worker to refuse.
    """
    kept = {name: value for name, value in environment.items() if _is_needed(name)}
    if device == "cpu":
        return device, kept | {VISIBLE: ""}
    number = re.fullmatch(r"cuda:(\d{1,4})", device)
    if number is None:
        return device, kept
    index, visible = int(number[1]), _visible(environment)
    if visible is None:
        return "cuda:0", kept | {VISIBLE: str(index), ORDER: "PCI_BUS_ID"}  # which is how the driver counts
    return ("cuda:0", kept | {VISIBLE: visible[index]}) if index < len(visible) else (device, kept)


def _is_needed(name: str) -> bool:
    return NEEDED.fullmatch(name) is not None and SECRET.search(name) is None


def _visible(environment: Mapping[str, str]) -> list[str] | None:
    """What the server may see, in its order; None where nothing is said of it."""
    value = environment.get(VISIBLE)
    if value is None:
        return None
    names = [name.strip() for name in value.split(",")]
    return names[: names.index("-1")] if "-1" in names else [name for name in names if name]


def _count_gpus() -> int:
    """0 where there is no driver."""
    import pynvml

    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError:
        return 0
