"""The tokenizer of avatars' prompts."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.training.avatar.prompts import draw_attributes, write_prompt
from fantasyid_engine.training.avatar.words import TOKENS, make_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


def test_prompts_fit_the_miniature(tokenizer: PreTrainedTokenizerFast) -> None:
    rng = np.random.default_rng(123)
    lengths = [len(tokenizer(write_prompt(draw_attributes(rng), rng)).input_ids) for _ in range(1000)]
    most = MINIATURES["avatar-mini"].network.dit.max_text_seq_length
    assert np.mean(lengths) < 22 and np.mean(np.array(lengths) <= most) > 0.995


@pytest.mark.parametrize("text", ["nods", "Ein Mann läuft", "漢字 🙂", "", "a  b"])
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    """In lower case; nothing is unknown, and the end is marked."""
    ids = tokenizer(text).input_ids
    assert ids[-1] == tokenizer.eos_token_id and max(ids) < TOKENS
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == text.lower()


def test_the_worlds_words_are_one_token(tokenizer: PreTrainedTokenizerFast) -> None:
    for word in ("someone", "smiles", "stripes", "purple", "light", "left"):
        assert len(tokenizer(word).input_ids) == 2, word


def test_it_is_the_same_every_time_and_from_a_folder(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    assert make_tokenizer().get_vocab() == tokenizer.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again("Nods, 漢").input_ids == tokenizer("Nods, 漢").input_ids
    assert again("x", padding="max_length", max_length=5).input_ids[-1] == tokenizer.pad_token_id == 0
