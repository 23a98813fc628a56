"""The tokenizer of avatars' prompts: byte pairs learnt from how the world words things, so that most words are a token.

Any text has tokens (unknown words fall apart into pieces, in the end into bytes), but a prompt of 80 bytes takes about
twenty, and the DiT attends to all of them.
"""

from collections.abc import Iterator

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from fantasyid_engine.training.avatar.prompts import draw_attributes, write_prompt

TOKENS = 640
"""The 256 bytes, two special tokens, and as many merged pairs as the world's words need."""
PROMPTS = 4000
_PAD, _END = "<pad>", "</s>"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The same tokenizer every time; lower case, `</s>` at the end, `<pad>` (0) behind it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENS,
        special_tokens=[_PAD, _END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_prompts(), trainer)
    end = tokenizer.token_to_id(_END)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", pair=f"$A {_END} $B {_END}", special_tokens=[(_END, end)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=_PAD, eos_token=_END)


def _prompts() -> Iterator[str]:
    rng = np.random.default_rng(0)
    for _ in range(PROMPTS):
        yield write_prompt(draw_attributes(rng), rng)
