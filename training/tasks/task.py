"""What the loop knows of a task."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fantasyid_engine.training.data.sample import TrainingSample

Batch = dict[str, Tensor]


class Task(nn.Module):
    """Parts of a model, under the names that recipes give them (`dit.*`), and a loss.

    What is drawn comes from one generator a sample, so that a batch is the same whoever makes it.
    """

    def batch(self, samples: Sequence[TrainingSample], generators: Sequence[torch.Generator], step: int) -> Batch:
        """Tensors of a micro-batch, on the CPU. `step` is the update that they are for."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """`loss`, the mean over the batch, and what else is worth a curve; scalars, float32."""
        raise NotImplementedError

    def finish(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """What the model must know once the stage is over, measured on `batches`, as JSON; by default nothing."""
        return {}
