"""Prompts -> text tokens, through the model's T5 encoder and tokenizer, cached.

    c = T5(tokens padded or cut to L)        no attention mask: padding is attended to, as the model was trained

B batch, L text tokens, C text width. Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, models/pipeline_id.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase, T5EncoderModel


@dataclass(frozen=True, slots=True)
class TextTokens:
    """A prompt as the DiT takes it: `tokens` [1, L, C] in the encoder's dtype, of `count` tokens that it has."""

    tokens: Tensor
    count: int

    @property
    def cut(self) -> int:
        """Tokens that did not fit."""
        return max(0, self.count - self.tokens.shape[1])


def token_ids(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[str], length: int) -> Tensor:
    """B prompts -> [B, length] int64, padded or cut."""
    fitted = tokenizer(list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    return torch.as_tensor(fitted.input_ids)


class TextEncoder:
    """Encodes prompts for one model; the last `cache_size` and the empty one are kept.

    Not for several threads at once; whoever owns it takes turns.
    """

    def __init__(
        self, encoder: T5EncoderModel, tokenizer: PreTrainedTokenizerBase, max_length: int, cache_size: int
    ) -> None:
        self._encoder, self._tokenizer, self._max_length = encoder, tokenizer, max_length
        self._cached = lru_cache(maxsize=cache_size)(self._encode)
        self._empty: TextTokens | None = None

    def __call__(self, prompt: str) -> TextTokens:
        """Text tokens of a prompt, on the encoder's device."""
        if prompt:
            return self._cached(prompt)
        if self._empty is None:
            self._empty = self._encode(prompt)
        return self._empty

    @torch.inference_mode()
    def _encode(self, prompt: str) -> TextTokens:
        count = len(self._tokenizer(prompt, verbose=False).input_ids)
        ids = token_ids(self._tokenizer, [prompt], self._max_length)
        tokens = self._encoder(ids.to(self._encoder.device), return_dict=True).last_hidden_state
        return TextTokens(tokens, count)
