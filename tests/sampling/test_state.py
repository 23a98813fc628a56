"""The state of a stopped render as a file: what goes in comes out, and whatever is wrong with one is one line."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.errors import InputError, OutputError, WriteError
from fantasyid_engine.runtime.plan import ExecutionPlan
from fantasyid_engine.sampling.noise import SeededNoise
from fantasyid_engine.sampling.state import FORMAT, RenderState

PLAN = ExecutionPlan(device="cpu", precision="float32", vae_tile=(8, 12))
SHAPE = (1, 3, 4, 6, 5)
DEEP = "[" * 200_000


@pytest.fixture
def state() -> RenderState:
    noise = SeededNoise(2**31 + 1)
    latents, history = noise(torch.empty(SHAPE)), noise(torch.empty(SHAPE))
    return RenderState("ab" * 32, 2**31 + 1, PLAN, 3, latents, history, noise.state())


@pytest.fixture
def saved(state: RenderState, tmp_path: Path) -> Path:
    state.save(tmp_path / "state.safetensors")
    return tmp_path / "state.safetensors"


def assert_same(one: RenderState, other: RenderState) -> None:
    names = ("request_digest", "seed", "plan", "steps_done")
    assert [getattr(one, name) for name in names] == [getattr(other, name) for name in names]
    assert torch.equal(one.latents, other.latents) and torch.equal(one.noise, other.noise)
    assert one.latents.dtype == torch.float32
    if one.history is None or other.history is None:
        assert one.history is other.history
    else:
        assert torch.equal(one.history, other.history)


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        RenderState.load(path)
    assert error.value.code == "state_unreadable"
    message = str(error.value)
    assert message.startswith(f"{path} is no state to go on from") and "\n" not in message and len(message) < 600
    return message


def edit(path: Path, *, values: Any = None, **tensors: Tensor | None) -> None:
    """Writes the file again with other metadata (text, or values over its own) and tensors (None takes one out)."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    kept = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    if isinstance(values, dict):
        values = json.dumps(json.loads(metadata["state"]) | values)
    save_file(kept, path, metadata=metadata | ({} if values is None else {"state": values}))


def test_round_trip(state: RenderState, saved: Path) -> None:
    loaded = RenderState.load(saved)
    assert_same(loaded, state)
    noise, expected = SeededNoise(0), SeededNoise(state.seed)
    expected.restore(state.noise)
    noise.restore(loaded.noise)
    assert torch.equal(noise(state.latents), expected(state.latents))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"history": None}, id="no history"),
        pytest.param({"seed": 0, "steps_done": 0}, id="zeros"),
        pytest.param({"plan": replace(PLAN, vae_tile=None, precision="bfloat16")}, id="another plan"),
        pytest.param({"latents": torch.arange(360.0).reshape(1, 3, 5, 6, 4).mT, "history": None}, id="not contiguous"),
    ],
)
def test_other_states(state: RenderState, tmp_path: Path, change: dict[str, Any]) -> None:
    state = replace(state, **change)
    state.save(tmp_path / "a" / "b" / "x")
    assert_same(RenderState.load(tmp_path / "a" / "b" / "x"), state)


@pytest.mark.parametrize("keep", [0, 4, 100, -1], ids=["empty", "length cut", "header cut", "last byte cut"])
def test_truncated(saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    refused(saved)


def test_flipped_bits_in_the_header(saved: Path) -> None:
    """What still reads has another value; what does not is never another error."""
    data = saved.read_bytes()
    for place in range(0, 8 + int.from_bytes(data[:8], "little"), 2):
        changed = bytearray(data)
        changed[place] ^= 1
        saved.write_bytes(changed)
        with suppress(InputError):
            RenderState.load(saved)


@pytest.mark.parametrize("name", ["nothing", "folder"])
def test_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    refused(tmp_path / name)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "other"}, {"format": FORMAT}], ids=["none", "another format", "no values"]
)
def test_another_safetensors_file(saved: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(saved), saved, metadata=metadata)
    refused(saved)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '"a"', "{}", DEEP], ids=lambda text: "deep" if text == DEEP else repr(text)
)
def test_values_that_are_no_object(saved: Path, text: str) -> None:
    edit(saved, values=text)
    refused(saved)


@pytest.mark.parametrize(
    "values",
    [
        {"seed": "x"},
        {"seed": None},
        {"seed": float("inf")},
        {"seed": -1},
        {"seed": 3.7},
        {"steps_done": float("nan")},
        {"steps_done": float("inf")},
        {"steps_done": -1},
        {"steps_done": "3"},
        {"steps_done": True},
        {"request_digest": 5},
        {"plan": None},
        {"plan": "eager"},
        {"plan": {"device": "cpu"}},
        {"plan": {"device": "tpu", "precision": "float32"}},
        {"plan": {"device": "cpu", "precision": "float32", "more": 1}},
    ],
    ids=str,
)
def test_values_that_no_render_has(saved: Path, values: dict[str, Any]) -> None:
    edit(saved, values=values)
    refused(saved)


@pytest.mark.parametrize(
    "tensors",
    [
        pytest.param({"latents": None}, id="no latents"),
        pytest.param({"noise": None}, id="no noise"),
        pytest.param({"latents": torch.zeros(SHAPE, dtype=torch.bfloat16)}, id="latents in bfloat16"),
        pytest.param({"latents": torch.zeros(3)}, id="latents of one axis"),
        pytest.param({"history": torch.zeros(SHAPE, dtype=torch.bfloat16)}, id="history in bfloat16"),
        pytest.param({"history": torch.zeros(SHAPE, dtype=torch.int64)}, id="history of integers"),
        pytest.param({"history": torch.zeros(1, 1, 4, 6, 5)}, id="history of another size"),
        pytest.param({"noise": torch.zeros(5056)}, id="noise of floats"),
        pytest.param({"noise": torch.zeros(7, dtype=torch.uint8)}, id="noise cut"),
        pytest.param({"noise": torch.zeros(5056, dtype=torch.uint8)}, id="noise of zeros"),
    ],
)
def test_tensors_that_no_render_has(saved: Path, tensors: dict[str, Tensor | None]) -> None:
    edit(saved, **tensors)
    refused(saved)


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        (lambda folder: folder / "state.safetensors" / "x", OutputError),
        (lambda folder: folder / "folder", WriteError),
    ],
    ids=["below a file", "over a folder"],
)
def test_where_nothing_can_be_written(
    state: RenderState, saved: Path, place: Callable[[Path], Path], kind: type[OutputError]
) -> None:
    (saved.parent / "folder" / "full").mkdir(parents=True)
    before = sorted(saved.parent.rglob("*"))
    with pytest.raises(kind, match="cannot write"):
        state.save(place(saved.parent))
    assert sorted(saved.parent.rglob("*")) == before


def test_writing_that_stops_leaves_the_old_state(
    state: RenderState, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The full disk is a fake: half of the file is written, then the error raised."""
    from fantasyid_engine.sampling import state as module

    def stopping(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "save_file", stopping)
    with pytest.raises(WriteError, match="No space left on device"):
        replace(state, steps_done=9).save(saved)
    assert_same(RenderState.load(saved), state)
    assert list(saved.parent.iterdir()) == [saved]
