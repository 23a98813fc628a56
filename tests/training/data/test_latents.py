"""Latents and text tokens in shards: what the VAE says, once."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.text.encoder import TextEncoder
from fantasyid_engine.training.data.latents import Interleaved, cached
from fantasyid_engine.training.data.shards import write_shards
from fantasyid_engine.training.parallel import open_accelerator
from tests.training.cases import clips, tiny_model


def process(rank: int, count: int) -> Any:
    """One of several processes that take turns in a test; a stand-in for an accelerator."""
    return SimpleNamespace(
        num_processes=count,
        process_index=rank,
        is_main_process=rank == 0,
        device=torch.device("cpu"),
        wait_for_everyone=lambda: None,
    )


def test_latents_are_the_vaes(tmp_path: Path) -> None:
    model = tiny_model()
    found = cached(clips(), tmp_path / "latents", model, open_accelerator(cpu=True), {}, text=True)
    assert [sample.key for sample in found] == [sample.key for sample in clips()]
    encode = TextEncoder(model.text_encoder, model.tokenizer, 32, 8)
    for sample, clip in zip(found, clips(), strict=True):
        assert clip.frames is not None and sample.moments is not None and sample.text is not None
        assert sample.frames is None and torch.equal(sample.views, clip.views)
        assert clip.boxes is not None and sample.boxes is not None and torch.equal(sample.boxes, clip.boxes)
        x = 2 * clip.frames.transpose(0, 1)[None].float() / 255 - 1
        with torch.inference_mode():
            (posterior,) = model.vae.encode(x, return_dict=False)
        assert sample.moments.shape == (5, 16, 8, 8) and sample.moments.dtype == torch.float16
        torch.testing.assert_close(
            sample.moments[:, :8].float(), posterior.mean[0].transpose(0, 1), rtol=2e-3, atol=2e-3
        )
        log_variance = posterior.logvar[0].transpose(0, 1)
        torch.testing.assert_close(sample.moments[:, 8:].float(), log_variance, rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(sample.text.float(), encode(clip.prompt).tokens[0], rtol=2e-3, atol=2e-3)


def test_parts_of_several_processes_keep_the_order(tmp_path: Path) -> None:
    model, folder = tiny_model(), tmp_path / "latents"
    several = [replace(clips()[i % 4], key=f"clip-{i}") for i in range(5)]
    for rank in (2, 1, 0):
        if rank:
            with pytest.raises(FileNotFoundError):  # the others are not done yet
                cached(several, folder, model, process(rank, 3), {}, text=False)
        else:
            found = cached(several, folder, model, process(rank, 3), {}, text=False)
    assert [sample.key for sample in found] == [sample.key for sample in several]
    assert all(sample.text is None for sample in found)
    again = cached(several, folder, model, process(0, 1), {}, text=False)
    assert [sample.key for sample in again] == [sample.key for sample in several]


def test_neighbours_of_one_size_are_encoded_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never more values at once than are allowed but for a clip that has more alone; the order stays."""
    sides = [96, 96, 96, 32, 96, 32, 32, 160, 32]
    several = [
        replace(clips()[0], key=f"clip-{i}", frames=torch.randint(256, (9, 3, side, side), dtype=torch.uint8))
        for i, side in enumerate(sides)
    ]
    model, seen = tiny_model(), []
    encode, moments = model.vae.encode, []

    def watched(x: torch.Tensor, **options: Any) -> Any:
        seen.append((len(x), x.shape[-1]))
        (posterior,) = encode(x, **options)
        moments.extend(posterior.parameters.transpose(1, 2).half())
        return (posterior,)

    monkeypatch.setattr(model.vae, "encode", watched)
    found = cached(several, tmp_path / "latents", model, process(0, 1), {}, text=False)
    assert seen == [(2, 96), (1, 96), (1, 32), (1, 96), (2, 32), (1, 160), (1, 32)]
    assert [sample.key for sample in found] == [sample.key for sample in several]
    for sample, made, side in zip(found, moments, sides, strict=True):
        assert sample.moments is not None and torch.equal(sample.moments, made)
        assert sample.moments.shape == (5, 16, side // 4, side // 4)


def test_a_clip_with_neither_latents_nor_frames(tmp_path: Path) -> None:
    bare = [clips()[0], replace(clips()[1], frames=None)]
    with pytest.raises(ConfigError, match=f"{bare[1].key} has neither latents nor frames"):
        cached(bare, tmp_path / "latents", tiny_model(), process(0, 1), {}, text=False)


def test_no_index_beyond_the_last(tmp_path: Path) -> None:
    for part in range(2):
        write_shards(tmp_path / f"{part}", clips()[part : part + 1])
    both = Interleaved([tmp_path / "0", tmp_path / "1"])
    assert len(both) == 2 and [sample.key for sample in both] == [clip.key for clip in clips()[:2]]
    for index in (2, -1):
        with pytest.raises(IndexError):
            both[index]
