"""The parts of a network that stay float32 whatever its dtype (see docs/decisions/0006): no autocast in there."""

from contextlib import AbstractContextManager, nullcontext

import torch


def float32_island(device: torch.device) -> AbstractContextManager[object]:
    """Within it autocast does not apply on `device`; operands must be made float32 by who enters."""
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)
