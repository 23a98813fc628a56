"""State dicts out of torch files: every way they are wrapped, hostile ones refused, values and types kept."""

import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights.convert import convert

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b.bias": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)}


def assert_converts_to(path: Path, expected: dict[str, torch.Tensor], *, left_out: str = "") -> None:
    target = path.with_name("made.safetensors")
    lines = convert(path, target)
    made = load_file(target)
    assert made.keys() == expected.keys()
    assert all(torch.equal(made[key], value) and made[key].dtype == value.dtype for key, value in expected.items())
    assert lines[0] == f"wrote {target}: {len(expected)} tensors"
    assert lines[1:] == ([f"left out of {target}: {left_out} (no tensors)"] if left_out else [])


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".tar"])
@pytest.mark.parametrize("wrap", ["", "state_dict", "model", "module"])
def test_state_dicts(tmp_path: Path, suffix: str, wrap: str) -> None:
    path = tmp_path / f"x{suffix}"
    torch.save({wrap: STATE, "epoch": 3} if wrap else STATE, path)
    assert_converts_to(path, STATE)


def test_old_torch_files(tmp_path: Path) -> None:
    """Files of torch before 1.6 are plain pickles, not archives: facexlib's weights are of that kind."""
    torch.save(STATE, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert_converts_to(tmp_path / "x.pth", STATE)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar_archives_are_refused(tmp_path: Path, mode: str) -> None:
    """Torch's own files before 2017, or what a download was packed in."""
    torch.save(STATE, tmp_path / "x.pth")
    with tarfile.open(tmp_path / "deca_model.tar", mode) as archive:
        archive.add(tmp_path / "x.pth", "x.pth")
    message = {"w": r"tar is refused: a tar archive, .+; unpack it", "w:gz": r"tar is (refused|truncated)"}[mode]
    with pytest.raises(WeightsError, match=message) as error:
        convert(tmp_path / "deca_model.tar", tmp_path / "made.safetensors")
    assert "\n" not in str(error.value)


def deca_checkpoint(encoder: dict[str, Any]) -> dict[str, Any]:
    """As DECA's trainer saves it."""
    optimiser = {"state": {0: {"step": 3, "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 1e-4, "params": [0]}]}
    others = {"E_detail": {"layers.0.weight": torch.ones(2)}, "D_detail": {"l1.0.bias": torch.ones(1)}}
    return {"E_flame": encoder, **others, "opt": optimiser, "global_step": 3}


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "plain"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_of_deca_the_encoder_is_kept(tmp_path: Path, zipped: bool, prefix: str) -> None:
    checkpoint = deca_checkpoint({prefix + key: value for key, value in STATE.items()})
    torch.save(checkpoint, tmp_path / "deca_model.tar", _use_new_zipfile_serialization=zipped)
    target = tmp_path / "made.safetensors"
    assert convert(tmp_path / "deca_model.tar", target) == [
        f"wrote {target}: 3 tensors",
        f"left out of {target}: E_detail, D_detail, opt, global_step (only E_flame is read)",
    ]
    made = load_file(target)
    assert made.keys() == STATE.keys() and all(torch.equal(made[key], value) for key, value in STATE.items())


def test_both_kinds_of_what_is_left_out_are_named(tmp_path: Path) -> None:
    torch.save({"E_flame": STATE | {"note": "x"}, "odd\nname": 1}, tmp_path / "deca_model.tar")
    lines = convert(tmp_path / "deca_model.tar", tmp_path / "made.safetensors")
    assert [line.partition(": ")[2] for line in lines[1:]] == [
        "odd\\nname (only E_flame is read)",
        "note (no tensors)",
    ]


@pytest.mark.parametrize("encoder", [{}, {"a": 1}, [torch.ones(1)], None])
def test_a_checkpoint_of_deca_without_its_encoder(tmp_path: Path, encoder: Any) -> None:
    torch.save(deca_checkpoint(encoder), tmp_path / "deca_model.tar")
    with pytest.raises(WeightsError, match=r"deca_model\.tar holds no state dict"):
        convert(tmp_path / "deca_model.tar", tmp_path / "made.safetensors")


def test_leading_module_is_dropped(tmp_path: Path) -> None:
    torch.save({f"module.{key}": value for key, value in STATE.items()}, tmp_path / "x.pt")
    assert_converts_to(tmp_path / "x.pt", STATE)


def test_what_is_no_tensor_is_left_out_and_named(tmp_path: Path) -> None:
    torch.save(STATE | {"epoch": 3}, tmp_path / "x.pt")
    assert_converts_to(tmp_path / "x.pt", STATE, left_out="epoch")


def test_views_and_shared_tensors(tmp_path: Path) -> None:
    """safetensors stores neither views nor shared memory; the values come through."""
    whole = torch.arange(12.0).view(3, 4)
    state = {"whole": whole, "row": whole[1], "turned": whole.T, "again": whole}
    torch.save(state, tmp_path / "x.pt")
    assert_converts_to(tmp_path / "x.pt", state)


class Call:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts[0], self.parts[1:]


@pytest.mark.parametrize("zipped", [True, False], ids=["archive", "plain"])
def test_hostile_torch_file_is_refused(tmp_path: Path, zipped: bool) -> None:
    canary, path = tmp_path / "canary", tmp_path / "x.pt"
    state = {"a": torch.ones(1), "b": Call(os.system, f"touch {canary}")}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError, match=r"x\.pt is refused") as error:
        convert(path, tmp_path / "made.safetensors")
    assert "\n" not in str(error.value)
    assert not canary.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_sparse_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="refused: a is a tensor of a special kind"):
        convert(tmp_path / "x.pt", tmp_path / "made.safetensors")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x02}q\x00.", b"garbage" * 100])
def test_no_torch_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.pt").write_bytes(data)
    message = r"x\.pt (is truncated or no torch file|is refused|holds no state dict)"
    with pytest.raises(WeightsError, match=message) as error:
        convert(tmp_path / "x.pt", tmp_path / "made.safetensors")
    assert "\n" not in str(error.value)


def test_truncated_archive(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    data = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(data[: len(data) // 2])
    with pytest.raises(WeightsError, match="truncated or no torch file"):
        convert(tmp_path / "x.pt", tmp_path / "made.safetensors")


def special_tensors() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["model"] = loop
    return {
        "a state dict in itself": loop,
        "a wrapper that is no dict": {"model": "eva02"},
        "repeated memory": {"a": torch.zeros(1).expand(10**5, 10**6)},
        "meta": {"a": torch.zeros(3, device="meta")},
        "complex": {"a": torch.zeros(3, dtype=torch.complex128)},
        "number as key": {1: torch.zeros(3), "1": torch.zeros(3)},
        "metadata as key": {"__metadata__": torch.zeros(3)},
        "control characters as key": {"a\x1b[31m\n": torch.zeros(3)},
        "half a character as key": {"\ud800": torch.zeros(3)},
    }


@pytest.mark.parametrize("name", special_tensors())
def test_what_safetensors_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    torch.save(special_tensors()[name], tmp_path / "x.pt")
    with pytest.raises(WeightsError, match=r"x\.pt (is refused: .+|holds no state dict)") as error:
        convert(tmp_path / "x.pt", tmp_path / "made.safetensors")
    assert str(error.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["x.pt"]


def test_second_wrapper_is_found(tmp_path: Path) -> None:
    torch.save({"model": "eva02", "module": STATE}, tmp_path / "x.pt")
    assert_converts_to(tmp_path / "x.pt", STATE)


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    """torch stores without compression; a small file that unfolds to gigabytes is not torch's."""
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "x.pt")
    with (
        zipfile.ZipFile(tmp_path / "x.pt") as stored,
        zipfile.ZipFile(tmp_path / "y.pt", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for entry in stored.infolist():
            deflated.writestr(entry.filename, stored.read(entry))
    with pytest.raises(WeightsError, match="torch does not compress its archives"):
        convert(tmp_path / "y.pt", tmp_path / "made.safetensors")
