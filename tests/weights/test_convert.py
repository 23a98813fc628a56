"""Conversion of files and folders: links, manifests, wrong use, full disks and signals; nothing half-written."""

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.errors import OutputError, WeightsError
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.folder import load_network
from fantasyid_engine.weights.manifest import read_manifest, sha256
from tests.goldens import require_reference
from tests.small import RELEASED, hierarchy, randomise, write_released_folder
from tests.weights.flame_files import dumps as flame_dumps
from tests.weights.flame_files import model as flame_tables
from tests.weights.flame_files import with_variables

TOWER = "EVA02_CLIP_L_336_psz14_s6B"
STATE = {"a": torch.ones(2)}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("nothing.pt", "made.safetensors", "nothing to convert at"),
        ("x.pt", "made.bin", "must end in .safetensors"),
        ("x.txt", "made.safetensors", "is not of a kind that is converted"),
    ],
)
def test_usage_errors(tmp_path: Path, source: str, target: str, message: str) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / source, tmp_path / target)


def test_unwritable_target(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pt")
    with pytest.raises(OutputError, match=r"cannot write .*: .* is not a folder"):
        convert(tmp_path / "x.pt", tmp_path / "x.pt" / "made.safetensors")


def authors_folder(folder: Path) -> Network:
    """As published: a .bin transformer, an EVA-CLIP pickle, assets beside them."""
    network = Network(RELEASED, hierarchy())
    randomise(network)
    write_released_folder(network, folder)
    transformer = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    tower = folder / "face_encoder" / f"{TOWER}.safetensors"
    torch.save(load_file(transformer), transformer.with_suffix(".bin"))
    wrapped = {f"module.{key}": value for key, value in load_file(tower).items()}
    torch.save({"state_dict": wrapped, "epoch": 1}, tower.with_suffix(".pt"))
    transformer.unlink()
    tower.unlink()
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "spiece.model").write_bytes(b"pieces")
    return network


def test_folder(tmp_path: Path) -> None:
    network = authors_folder(tmp_path / "theirs")
    lines = convert(tmp_path / "theirs", tmp_path / "ours")
    assert not any(".partial" in line for line in lines)
    loaded = load_network(tmp_path / "ours", dtype=torch.float32)
    expected = network.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())
    assert (tmp_path / "ours" / "tokenizer" / "spiece.model").read_bytes() == b"pieces"
    assert not [p for p in (tmp_path / "ours").rglob("*") if p.suffix in (".bin", ".pt")]
    rows = read_manifest(tmp_path / "ours")
    assert rows is not None
    files = {p for p in (tmp_path / "ours").rglob("*") if p.is_file() and p.name != "manifest.json"}
    assert {tmp_path / "ours" / name for name in rows} == files
    assert all(rows[p.relative_to(tmp_path / "ours").as_posix()]["sha256"] == sha256(p) for p in files)


def test_folder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    authors_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "zz.pt").write_bytes(b"garbage")
    with pytest.raises(WeightsError, match=r"zz\.pt"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert [p.name for p in tmp_path.iterdir()] == ["theirs"]


def test_same_weights_twice_are_refused(tmp_path: Path) -> None:
    """A .bin beside a .safetensors: the release takes the one, others the other."""
    authors_folder(tmp_path / "theirs")
    torch.save(STATE, tmp_path / "theirs" / "face_encoder" / "mesh.pt")
    with pytest.raises(WeightsError, match="are both there: remove the one not wanted"):
        convert(tmp_path / "theirs", tmp_path / "ours")


@pytest.mark.parametrize("target", ["theirs/inside", "theirs"])
def test_folder_into_itself(tmp_path: Path, target: str) -> None:
    authors_folder(tmp_path / "theirs")
    with pytest.raises(WeightsError, match="name a folder outside it"):
        convert(tmp_path / "theirs", tmp_path / target)


def test_folder_that_exists(tmp_path: Path) -> None:
    authors_folder(tmp_path / "theirs")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "mine").write_text("mine")
    with pytest.raises(OutputError, match="it exists already"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert (tmp_path / "ours" / "mine").read_text() == "mine"


@pytest.mark.parametrize(
    "tables",
    [
        {"vertices": [], "face": [], "down_transform": [], "up_transform": []},
        {"vertices": [np.zeros((5, 3))] * 3, "face": [np.zeros((2, 3))] * 3, "down_transform": [], "up_transform": []},
        {"vertices": 3, "face": None, "down_transform": {}, "up_transform": "x"},
    ],
)
def test_pickle_that_is_no_hierarchy(tmp_path: Path, tables: Any) -> None:
    (tmp_path / "transform.pkl").write_bytes(pickle.dumps(tables))
    with pytest.raises(WeightsError, match="is no mesh hierarchy"):
        convert(tmp_path / "transform.pkl", tmp_path / "mesh.safetensors")


@pytest.mark.parametrize("tables", [[], {}, {"vertices": []}, {"v_template": np.zeros((3, 3))}, "words"])
def test_pickle_that_is_nothing_known(tmp_path: Path, tables: Any) -> None:
    (tmp_path / "transform.pkl").write_bytes(pickle.dumps(tables))
    with pytest.raises(WeightsError, match=r"transform\.pkl holds tables neither of a mesh hierarchy nor of FLAME"):
        convert(tmp_path / "transform.pkl", tmp_path / "mesh.safetensors")


def test_face_model(tmp_path: Path) -> None:
    """What a pickle holds counts, not what it is called."""
    tables = flame_tables()
    (tmp_path / "transform.PKL").write_bytes(flame_dumps(with_variables(tables), 2))
    made = tmp_path / "model" / "face_encoder" / "flame.safetensors"
    assert convert(tmp_path / "transform.PKL", made) == [f"wrote {made}: a face model of 6 vertices"]
    np.testing.assert_array_equal(Flame.load(made).template, tables["v_template"].astype(np.float32))


@pytest.mark.reference_data
def test_the_authors_mesh(tmp_path: Path) -> None:
    lines = convert(require_reference() / "faces" / "transform.pkl", tmp_path / "mesh.safetensors")
    assert lines == [f"wrote {tmp_path / 'mesh.safetensors'}: a mesh hierarchy of {MeshConfig().levels} vertices"]


def test_links_are_followed(tmp_path: Path) -> None:
    """The hub's cache is made of links to files and folders."""
    network = authors_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "transformer").rename(tmp_path / "elsewhere")
    (tmp_path / "theirs" / "transformer").symlink_to(tmp_path / "elsewhere")
    mesh = tmp_path / "theirs" / "face_encoder" / "mesh.safetensors"
    mesh.rename(tmp_path / "blob")
    mesh.symlink_to(tmp_path / "blob")
    convert(tmp_path / "theirs", tmp_path / "ours")
    loaded = load_network(tmp_path / "ours", dtype=torch.float32)
    assert torch.equal(loaded.dit.proj_out.weight, network.dit.proj_out.weight)


@pytest.mark.parametrize(("target", "message"), [("nowhere", "leads nowhere"), (".", "a folder that it lies in")])
def test_bad_links_are_refused(tmp_path: Path, target: str, message: str) -> None:
    authors_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "link").symlink_to(target)
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_what_is_left_behind(tmp_path: Path) -> None:
    """Hidden files, foreign pickles and networks that nothing reads do not travel; all but hidden ones are named."""
    theirs = tmp_path / "theirs"
    authors_folder(theirs)
    (theirs / ".cache").mkdir()
    (theirs / ".cache" / "x.metadata").write_text("x")
    (theirs / "male_model.pkl").write_bytes(b"cos\nsystem\n.")
    (theirs / "face_encoder" / "parsing_bisenet.pth").write_bytes(b"not looked at")
    torch.save(STATE, theirs / "parsing_parsenet.pth")
    (theirs / "face_encoder" / "parsing.PTH").write_bytes((theirs / "face_encoder" / f"{TOWER}.pt").read_bytes())
    lines = convert(theirs, tmp_path / "ours")
    for name in ("male_model.pkl", "face_encoder/parsing_bisenet.pth", "parsing_parsenet.pth"):
        assert f"left out {theirs / name}: no network of this engine reads it" in lines
    names = {p.name for p in (tmp_path / "ours").rglob("*")}
    assert not names & {".cache", "x.metadata", "male_model.pkl", "parsing.PTH"}
    assert {name for name in names if name.startswith("parsing")} == {"parsing.safetensors"}
    load_network(tmp_path / "ours")


def test_face_networks_find_their_places(tmp_path: Path) -> None:
    """Wherever a download keeps them."""
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    authors_folder(theirs)
    (theirs / "decalib" / "data").mkdir(parents=True)
    deca = {"E_flame": STATE, "E_detail": {"b": torch.ones(1)}}
    torch.save(deca, theirs / "decalib" / "data" / "deca_model.tar", _use_new_zipfile_serialization=False)
    (theirs / "decalib" / "data" / "generic_model.pkl").write_bytes(flame_dumps(with_variables(flame_tables()), 2))
    detector = {f"module.{key}": value for key, value in STATE.items()}
    torch.save(detector, theirs / "detection_Resnet50_Final.pth", _use_new_zipfile_serialization=False)
    lines = convert(theirs, ours)
    faces = ours / "face_encoder"
    assert f"left out of {faces / 'deca_model.safetensors'}: E_detail (only E_flame is read)" in lines
    assert f"wrote {faces / 'flame.safetensors'}: a face model of 6 vertices" in lines
    for name in ("deca_model", "detection_Resnet50_Final"):
        assert torch.equal(load_file(faces / f"{name}.safetensors")["a"], STATE["a"])
    assert len(Flame.load(faces / "flame.safetensors").template) == 6
    assert not (ours / "decalib").exists()
    rows = read_manifest(ours)
    assert rows is not None and {"face_encoder/flame.safetensors", "face_encoder/deca_model.safetensors"} <= rows.keys()


@pytest.mark.parametrize("name", ["transform.pkl", "generic_model.pkl"])
@pytest.mark.parametrize("data", [b"cos\nsystem\n.", pickle.dumps({"a": 1}), b""], ids=["hostile", "foreign", "empty"])
def test_refused_tables_of_a_folder_are_named(tmp_path: Path, name: str, data: bytes) -> None:
    authors_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "assets").mkdir()
    (tmp_path / "theirs" / "assets" / name).write_bytes(data)
    with pytest.raises(WeightsError, match=rf"theirs/assets/{name} (is|holds) "):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_the_same_face_model_twice_is_refused(tmp_path: Path) -> None:
    authors_folder(tmp_path / "theirs")
    for name in ("a", "b"):
        (tmp_path / "theirs" / name).mkdir()
        torch.save({"E_flame": STATE}, tmp_path / "theirs" / name / "deca_model.tar")
    message = r"b/deca_model\.tar and face_encoder/deca_model\.safetensors are both there"
    with pytest.raises(WeightsError, match=message):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_unreadable_safetensors_are_found_while_copying(tmp_path: Path) -> None:
    authors_folder(tmp_path / "theirs")
    (tmp_path / "theirs" / "face_encoder" / "mesh.safetensors").write_bytes(b"12345678")
    with pytest.raises(WeightsError, match=r"mesh\.safetensors is truncated or no safetensors file"):
        convert(tmp_path / "theirs", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


def test_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    with pytest.raises(WeightsError, match="holds no weights"):
        convert(tmp_path / "theirs", tmp_path / "ours")


def test_file_made_in_a_model_folder_enters_its_manifest(tmp_path: Path) -> None:
    authors_folder(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    made = tmp_path / "ours" / "face_encoder" / f"{TOWER}.safetensors"
    made.unlink()
    convert(tmp_path / "theirs" / "face_encoder" / f"{TOWER}.pt", made)
    load_network(tmp_path / "ours")


def test_manifest_of_another_program_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "my web app"}')
    torch.save(STATE, tmp_path / "x.pt")
    convert(tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert (tmp_path / "manifest.json").read_text() == '{"name": "my web app"}'


def test_corrupt_folder_gets_no_new_manifest(tmp_path: Path) -> None:
    """Converting once more must not bless what the folder's own manifest calls corrupt."""
    authors_folder(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    path = tmp_path / "ours" / "face_encoder" / f"{TOWER}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="is corrupt"):
        convert(tmp_path / "ours", tmp_path / "again")
    assert not (tmp_path / "again").exists()


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from fantasyid_engine.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, 2**18))
main()
"""


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_full_disk(tmp_path: Path, kind: str) -> None:
    """Writing stops at a size limit: exit code 74, one line, nothing left behind."""
    (tmp_path / "in").mkdir()
    torch.save({"a": torch.zeros(10**6)}, tmp_path / "in" / "x.pt")
    paths = {"file": ("in/x.pt", "out.safetensors"), "folder": ("in", "out")}[kind]
    command = [sys.executable, "-c", FULL_DISK, "weights", "convert", *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 74, done.stderr
    assert done.stderr.startswith("fantasyid-engine: cannot write out") and done.stderr.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_interrupted(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A signal in the middle of a folder: its exit code, nothing left behind."""
    (tmp_path / "in").mkdir()
    torch.save(STATE, tmp_path / "in" / "a.pt")
    os.mkfifo(tmp_path / "fifo")
    script = INTERRUPTED.format(fifo=str(tmp_path / "fifo"))
    command = [sys.executable, "-c", script, "weights", "convert", "in", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    (tmp_path / "fifo").read_text()  # until the process has made its temporary folder
    assert list(tmp_path.glob(".out.*.partial"))
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["fifo", "in"]


INTERRUPTED = """
import time
from pathlib import Path
from fantasyid_engine import cli
from fantasyid_engine.weights import convert
def slow(path):
    Path({fifo!r}).write_text("here")
    time.sleep(60)
convert.load_state_dict = slow
cli.main()
"""
