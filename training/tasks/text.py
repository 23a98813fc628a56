"""The text encoder: from a prompt to what it names, learnt apart from pictures, which takes minutes.

Each attribute of `evaluation.vocabulary` has a linear head on the mean of all tokens; one that a prompt does not name
counts as a value of its own. Released models bring a text encoder that has read the internet; this is the avatars'.

B batch, L text tokens, C text width, n values.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from fantasyid_engine.evaluation.vocabulary import VALUES, attributes_in
from fantasyid_engine.text.encoder import token_ids
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.tasks.task import Batch, Task
from fantasyid_engine.weights.model import Model


class TextTask(Task):
    """`text_encoder`, and `named`: heads that no model keeps, drawn from `seed`."""

    def __init__(self, model: Model, *, seed: int) -> None:
        super().__init__()
        self.tokenizer: PreTrainedTokenizerBase = model.tokenizer
        self.text_length = model.network.config.dit.max_text_seq_length
        self.text_encoder = model.text_encoder
        width = model.text_encoder.config.d_model
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            heads = {name: nn.Linear(width, 1 + len(values)) for name, values in VALUES.items()}
        self.named = nn.ModuleDict(heads)

    def batch(self, samples: Sequence[TrainingSample], generators: Sequence[torch.Generator], step: int) -> Batch:
        """Draws nothing."""
        prompts = [sample.prompt for sample in samples]
        said = [attributes_in(prompt) for prompt in prompts]
        named = {
            name: torch.tensor([values.index(names[name]) + 1 if name in names else 0 for names in said])
            for name, values in VALUES.items()
        }
        return {"text_ids": token_ids(self.tokenizer, prompts, self.text_length)} | named

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy, a mean over batch and attributes, and the share of attributes that are read right."""
        mean_BC = self.text_encoder(batch["text_ids"]).last_hidden_state.mean(1)
        scores = {name: head(mean_BC).float() for name, head in self.named.items()}
        loss = torch.stack([F.cross_entropy(score, batch[name]) for name, score in scores.items()]).mean()
        right = torch.stack([(score.argmax(1) == batch[name]).float().mean() for name, score in scores.items()]).mean()
        return {"loss": loss, "right": right}
