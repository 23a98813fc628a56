"""Which device and precision a render runs on, and how much memory is at hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from fantasyid_engine.errors import DeviceError, ResourceError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def resolve_device(name: str) -> torch.device:
    """`auto` -> the first GPU where there is one, else the CPU; any other name as torch reads it.

    Raises:
        DeviceError: the name is none, or the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"there is no device {name!r}; name cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            found = f"{count} CUDA device(s)" if count else "no CUDA device"
            raise DeviceError(f"device {name} is not there: torch {torch.__version__} sees {found}; use --device cpu")
    elif device.type != "cpu" or device.index:
        raise DeviceError(f"this engine does not run on {name}; name cpu, cuda or cuda:N")
    return device


def resolve_precision(name: str, device: torch.device) -> str:
    """`auto` -> bfloat16 on a GPU that has it, else float32.

    Raises:
        DeviceError: the device has no bfloat16.
    """
    has_bfloat16 = device.type == "cpu" or torch.cuda.get_device_capability(device) >= (8, 0)
    if name == "auto":
        return "bfloat16" if device.type == "cuda" and has_bfloat16 else "float32"
    if name == "bfloat16" and not has_bfloat16:
        raise DeviceError(f"{torch.cuda.get_device_name(device)} has no bfloat16; use --precision float32")
    return name


def memory_at_hand(device: torch.device) -> int:
    """Bytes that can be allocated now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise DeviceError("/proc/meminfo does not say how much memory is available")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised it; torch's of the CPU has no error class of its own."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@contextmanager
def out_of_memory_as_error(doing: str) -> Iterator[None]:
    """Turns torch's out-of-memory errors into ResourceError, with the cache given back."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        reason = str(error).rpartition("Allocator: ")[2].partition(". ")[0] or "the machine has no more"
        raise ResourceError(f"out of memory while {doing}: {reason}") from None
