"""Prompts to tokens: what transformers makes of them without a mask; padded, cut, cached, and without a word."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import sentencepiece
import torch
from torch import Tensor
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from fantasyid_engine.text.encoder import TextEncoder, TextTokens
from fantasyid_engine.weights.parts import read_tokenizer
from tests.whole_model import write_tokenizer

LENGTH = 12
DIM = 24
PAD, END = 0, 1
LONG = "a person turns the head to the left and smiles, " * 40


class Parts(NamedTuple):
    """A text encoder, its tokenizer, and the tokenizer's ids found without transformers."""

    encoder: T5EncoderModel
    tokenizer: PreTrainedTokenizerBase
    ids: Callable[[str], list[int]]


def t5(vocab_size: int) -> T5EncoderModel:
    sizes = {"d_model": DIM, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return T5EncoderModel(T5Config(vocab_size=vocab_size, feed_forward_proj="gated-gelu", **sizes)).eval()


def sentencepiece_parts(folder: Path) -> Parts:
    size = write_tokenizer(folder / "tokenizer")
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer" / "spiece.model"))
    return Parts(t5(size), read_tokenizer(folder), lambda prompt: [*pieces.encode(prompt), END])


def byte_parts(folder: Path) -> Parts:
    return Parts(t5(384), ByT5Tokenizer(), lambda prompt: [*(byte + 3 for byte in prompt.encode()), END])


@pytest.fixture(scope="module", params=[sentencepiece_parts, byte_parts], ids=["sentencepiece", "bytes"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return request.param(tmp_path_factory.mktemp("text"))


@pytest.fixture
def encode(parts: Parts) -> TextEncoder:
    return TextEncoder(parts.encoder, parts.tokenizer, LENGTH, 2)


@pytest.fixture
def calls(parts: Parts) -> Iterator[list[Tensor]]:
    """The ids of every call of the network."""
    seen: list[Tensor] = []
    hook = parts.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    yield seen
    hook.remove()


def fitted(ids: list[int]) -> Tensor:
    """Padded, or cut with the end mark kept."""
    ids = ids if len(ids) <= LENGTH else [*ids[: LENGTH - 1], END]
    return torch.tensor([ids + [PAD] * (LENGTH - len(ids))])


@pytest.mark.parametrize("prompt", ["smiles", "", "  two  spaces ", "é 漢", LONG], ids=repr)
@torch.inference_mode()
def test_tokens_are_those_of_transformers(parts: Parts, encode: TextEncoder, prompt: str) -> None:
    made = encode(prompt).tokens
    assert made.shape == (1, LENGTH, DIM)
    assert torch.equal(made, parts.encoder(input_ids=fitted(parts.ids(prompt))).last_hidden_state)


@torch.inference_mode()
def test_padding_is_attended_to(parts: Parts, encode: TextEncoder) -> None:
    """As the model was trained; with a mask the prompt's own tokens would be others."""
    ids = fitted(parts.ids("a"))
    masked = parts.encoder(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
    assert not torch.allclose(encode("a").tokens[:, 0], masked[:, 0], atol=1e-3)


@pytest.mark.parametrize("prompt", ["", "a", LONG], ids=["empty", "short", "long"])
def test_count_and_cut(parts: Parts, encode: TextEncoder, prompt: str) -> None:
    made, count = encode(prompt), len(parts.ids(prompt))
    assert made.count == count
    assert made.cut == max(0, count - LENGTH)
    assert (made.cut > 0) == (prompt == LONG)


@pytest.mark.parametrize(("count", "cut"), [(LENGTH - 1, 0), (LENGTH, 0), (LENGTH + 1, 1), (LENGTH + 30, 30)])
def test_cut_begins_above_the_length(count: int, cut: int) -> None:
    assert TextTokens(torch.zeros(1, LENGTH, DIM), count).cut == cut


def test_dtype_is_the_encoders(parts: Parts) -> None:
    encoder = t5(parts.encoder.config.vocab_size).to(torch.bfloat16)
    made = TextEncoder(encoder, parts.tokenizer, LENGTH, 2)("smiles").tokens
    assert made.dtype == torch.bfloat16 and not made.requires_grad


def test_the_same_object_comes_back(encode: TextEncoder, calls: list[Tensor]) -> None:
    assert encode("smiles") is encode("smiles")
    assert encode("smiles") is not encode("frowns")
    assert len(calls) == 2


def test_the_prompt_used_longest_ago_is_dropped(encode: TextEncoder, calls: list[Tensor]) -> None:
    """`cache_size` is 2: the third prompt drops the one that was not asked for again."""
    for prompt in ("a", "b", "a", "c", "a"):
        encode(prompt)
    assert len(calls) == 3
    encode("b")
    assert len(calls) == 4


def test_the_empty_prompt_stays_and_takes_no_place(encode: TextEncoder, calls: list[Tensor]) -> None:
    empty = encode("")
    for prompt in ("a", "b", "", "a", "b", "c", "d", "", "c", "d"):
        encode(prompt)
    assert encode("") is empty
    assert len(calls) == 5, "the empty prompt and a, b, c, d once each"


def test_the_network_never_sees_more_than_its_length(encode: TextEncoder, calls: list[Tensor]) -> None:
    encode(LONG)
    assert [tuple(ids.shape) for ids in calls] == [(1, LENGTH)]


def test_a_long_prompt_logs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The library's own way warns of the same prompt: it is beyond the 226 tokens that the tokenizer names."""
    parts = sentencepiece_parts(tmp_path)
    encode = TextEncoder(parts.encoder, parts.tokenizer, LENGTH, 2)
    logger = logging.getLogger("transformers")
    caplog.set_level(logging.WARNING, logger="transformers")
    logger.addHandler(caplog.handler)
    try:
        assert encode(LONG).count > 226
        assert caplog.records == []
        parts.tokenizer(LONG)
        assert any("longer than" in record.getMessage() for record in caplog.records)
    finally:
        logger.removeHandler(caplog.handler)
