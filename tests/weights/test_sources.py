"""The table of what a preset is made of: which files of a repository it takes, and where they end."""

import pytest

from fantasyid_engine.weights import faces
from fantasyid_engine.weights.sources import SOURCES, matches, wanted
from tests.weights.pulls import MESH, PRESET, UNREAD


def test_what_nobody_reads_is_not_taken(files: dict[str, bytes]) -> None:
    taken, absent = wanted(SOURCES[PRESET], files)
    assert set(taken) == files.keys() - set(UNREAD) and absent == []


@pytest.mark.parametrize(
    "name",
    [
        *("text_encoder/../../evil.json", "/text_encoder/x.json", "text_encoder//x.json", "x/text_encoder/x.json"),
        *("text_encoder/deep/x.json", "text_encoder/a\nb.json", "text_encoder/.x.json", "text_encoder/..json"),
        *("text_encoder/x.py", "text_encoder/x.json.py", "TEXT_ENCODER/x.json"),
    ],
)
def test_names_that_no_pattern_takes(name: str) -> None:
    assert matches("text_encoder/x.json", "text_encoder/*.json")
    assert not matches(name, "text_encoder/*.json")


def test_which_of_several_transformers() -> None:
    """As the authors' loader chooses: the averaged one, and of its files the pickle."""
    names = ["a.safetensors", "a.safetensors.index.json", "config.json", "diffusion_pytorch_model.bin"]
    both = [f"{folder}/{name}" for folder in ("transformer", "transformer_ema") for name in names]
    chosen, absent = wanted(SOURCES[PRESET], both)
    assert chosen == ["transformer_ema/config.json", "transformer_ema/diffusion_pytorch_model.bin"]
    assert "transformer" not in {part.name for part in absent} and "VAE" in {part.name for part in absent}
    shards = set(both[:3])
    assert set(wanted(SOURCES[PRESET], shards)[0]) == shards
    assert wanted(SOURCES[PRESET], ["transformer/config.json"])[0] == [], "a part is taken whole"


def test_places_are_those_that_are_read() -> None:
    source = SOURCES[PRESET]
    places = {part.place for part in source.parts if part.without} | {item.place for item in source.by_hand}
    assert places == {faces.RETINAFACE, faces.DECA, faces.FLAME, MESH}
