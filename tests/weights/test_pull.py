"""Pulls by the real client from a hub on this machine: whole or not at all, and resumed where they stopped."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from fantasyid_engine import Engine, VideoRequest
from fantasyid_engine.errors import EngineError, OutputError, WeightsError, WriteError
from fantasyid_engine.weights import workspace
from fantasyid_engine.weights.folder import load_network
from fantasyid_engine.weights.present import check_folder, look_at
from fantasyid_engine.weights.pull import pull
from tests.weights.hub import Fault, Hub
from tests.weights.pulls import DETECTOR, DIT, EVA, MESH, PRESET, UNREAD, digests, flip, left, pinned, pull_from


def test_what_is_pulled_loads(hub: Hub, home: Path, files: dict[str, bytes]) -> None:
    lines = pull_from(hub, home)
    folder = home / PRESET
    network = load_network(folder, dtype=torch.float32)
    tower = load_file((folder / EVA).with_suffix(".safetensors"))
    assert torch.equal(network.tower.cls_token, tower["visual.cls_token"])
    assert (folder / DIT).read_bytes() == files[DIT]
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".json", ".model", ".safetensors"}
    assert look_at(PRESET, home).state == "present"
    assert left(home) == ["lock"]
    assert f"of acvlab/FantasyID at {hub.branches['main']}" in lines[0]
    assert lines[-1] == f"wrote {folder}" and not any("partial" in line for line in lines)


def test_only_what_is_read_is_asked_for(hub: Hub, home: Path) -> None:
    pull_from(hub, home)
    asked = {request.file for request in hub.requests} - {""}
    assert asked and not asked & set(UNREAD)
    assert all(len(hub.asked_for(file)) == 1 for file in asked), "each once"


def test_once_more_fetches_nothing(hub: Hub, home: Path, expected: dict[str, str]) -> None:
    pull_from(hub, home)
    hub.requests.clear()
    assert pull_from(hub, home) == [f"{PRESET} is all there, at commit {pinned(home)}: nothing to fetch"]
    assert hub.requests == []
    assert digests(home) == expected


def test_cut_connections_are_taken_up(hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str]) -> None:
    third = len(files[DIT]) // 3
    hub.faults[DIT] = [Fault(cut=third), Fault(cut=2 * third)]
    pull_from(hub, home)
    asked = [request.range for request in hub.asked_for(DIT)]
    assert len(asked) == 3 and asked[0] is None
    assert third - 2048 < offset(asked[1]) <= third < 2 * third - 2048 < offset(asked[2]) <= 2 * third
    assert digests(home) == expected


def offset(header: str | None) -> int:
    assert header is not None
    return int(header.removeprefix("bytes=").removesuffix("-"))


KILLED = """
import sys, time
from pathlib import Path
from huggingface_hub import constants
from fantasyid_engine.weights import pull
constants.DOWNLOAD_CHUNK_SIZE = 1024
home, endpoint, fifo = sys.argv[1:]
def convert(source, target):
    Path(fifo).write_text("here")
    time.sleep(600)
if fifo:
    pull.convert = convert
pull.pull("fantasyid-5b", Path(home), endpoint=endpoint)
"""


@contextmanager
def pulling(hub: Hub, home: Path, fifo: str = "") -> Iterator[None]:
    """A pull in another process, killed at the end; with `fifo` it says there that it would convert, and waits."""
    environment = os.environ | {"HF_HOME": str(home / "hf")}
    with subprocess.Popen([sys.executable, "-c", KILLED, home, hub.endpoint, fifo], env=environment) as process:
        try:
            yield
        finally:
            process.kill()
    assert process.returncode == -signal.SIGKILL


def test_killed_while_fetching(hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str]) -> None:
    """It goes on after the bytes that are there; a file that went bad meanwhile is fetched again."""
    half = len(files[EVA]) // 2
    hub.faults[EVA] = [Fault(cut=half, held=True)]
    with pulling(hub, home):
        assert hub.held.wait(300)
        (part,) = (home / ".downloads" / PRESET / ".parts").iterdir()
        until = time.monotonic() + 60
        while part.stat().st_size < half - 2**14 and time.monotonic() < until:
            time.sleep(0.01)
    there = part.stat().st_size
    assert half - 2**14 <= there <= half
    assert look_at(PRESET, home).state == "incomplete" and not (home / PRESET / DIT).exists()
    flip(home / ".downloads" / PRESET / DIT)

    hub.requests.clear()
    pull_from(hub, home)
    assert [request.range for request in hub.asked_for(EVA)] == [f"bytes={there}-"]
    assert [request.range for request in hub.asked_for(DIT)] == [None]
    assert {request.file for request in hub.requests} == {EVA, DIT, DETECTOR}, "the rest was there"
    assert digests(home) == expected
    assert left(home) == ["lock"]


def test_killed_while_converting(hub: Hub, home: Path, expected: dict[str, str]) -> None:
    os.mkfifo(home / "fifo")
    with pulling(hub, home, str(home / "fifo")):
        (home / "fifo").read_text()
    assert any(name.endswith(".partial") for name in left(home)) and not (home / PRESET / DIT).exists()
    hub.requests.clear()
    pull_from(hub, home)
    assert hub.requests == []
    assert digests(home) == expected
    assert left(home) == ["lock"]


KILLED_OFTEN = """
import os, sys
from itertools import count
from pathlib import Path
from fantasyid_engine.weights.pull import pull
from fantasyid_engine.weights.workspace import damaged

home, endpoint, revision = sys.argv[1:]
CHANGES = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"}

def die_at(number):
    def hook(event, arguments):
        nonlocal number
        opens = event == "open" and str(arguments[0]).startswith(home) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if opens or event in CHANGES:
            number -= 1
            if number == 0:
                os._exit(9)
    sys.addaudithook(hook)

for number in count(1, 9):
    child = os.fork()
    if child == 0:
        try:
            die_at(number)
            pull("fantasyid-5b", Path(home), endpoint=endpoint, revision=revision or None)
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert next(damaged(Path(home) / "fantasyid-5b"), None) is None
    if code == 0:
        print(number // 9)
        break
    assert code == 9
"""


def test_killed_at_any_point(hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str]) -> None:
    """Before its first change to the disk, before its tenth, and so on until it ends: first a model, then another.

    What stands in the model's place is whole all the time.
    """

    def pull_at_last(revision: str) -> int:
        command = [sys.executable, "-c", KILLED_OFTEN, home, hub.endpoint, revision]
        environment = os.environ | {"HF_HOME": str(home / "hf")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert left(home) == ["lock"]
        return int(done.stdout)

    assert pull_at_last("") > 5
    assert digests(home) == expected
    second = hub.commit(files | {"vae/config.json": files["vae/config.json"] + b"\n"})
    assert pull_at_last("main") > 5
    assert pinned(home) == second
    assert {name for name, digest in digests(home).items() if digest != expected[name]} == {"vae/config.json"}


@pytest.mark.parametrize("new", ["whole", "half", "away"])
def test_killed_while_models_change_places(hub: Hub, home: Path, expected: dict[str, str], new: str) -> None:
    """The old model has left its place, the new one is not yet there: the old one comes back."""
    pull_from(hub, home)
    work = workspace.Workspace(home, PRESET)
    work.target.rename(work.old)
    if new != "away":
        work.new.mkdir()
        (work.new / "manifest.json").write_text('{"files": {}}' if new == "whole" else "{")
    hub.requests.clear()
    pull_from(hub, home)
    assert hub.requests == [] and digests(home) == expected and left(home) == ["lock"]


def test_a_flipped_bit_in_any_file_is_found_by_name(hub: Hub, home: Path) -> None:
    pull_from(hub, home)
    names = [name for name, _ in check_folder(home / PRESET)]
    assert "source.json" in names and len(names) > 12
    for name in names:
        flip(home / PRESET / name)
        wrong = {name: problem for name, problem in check_folder(home / PRESET) if problem}
        assert wrong.keys() == {name} and f"{name} is corrupt" in wrong[name]
        flip(home / PRESET / name)


def test_what_is_missing_or_cut_is_fetched_again(hub: Hub, home: Path, expected: dict[str, str]) -> None:
    """The model that is there lends the other files, but for those that were converted."""
    pull_from(hub, home)
    (home / PRESET / DIT).write_bytes(b"cut")
    (home / PRESET / "vae/config.json").unlink()
    assert look_at(PRESET, home).state == "incomplete"
    hub.requests.clear()
    pull_from(hub, home)
    assert {request.file for request in hub.requests} == {DIT, "vae/config.json", EVA, DETECTOR}
    assert digests(home) == expected


def test_the_commit_is_pinned(hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str]) -> None:
    """From its first listing on; a revision that is asked for moves it, and only what differs is fetched."""
    first = hub.branches["main"]
    hub.faults[DIT] = [Fault(status=404)]
    with pytest.raises(WeightsError):
        pull_from(hub, home)
    second = hub.commit(files | {"vae/config.json": files["vae/config.json"] + b"\n"})
    pull_from(hub, home)
    assert pinned(home) == first and digests(home) == expected
    (home / PRESET / DIT).unlink()
    pull_from(hub, home)
    assert pinned(home) == first and digests(home) == expected

    hub.requests.clear()
    pull_from(hub, home, revision="main")
    assert pinned(home) == second
    changed = {name for name, digest in digests(home).items() if digest != expected[name]}
    assert changed == {"vae/config.json"} and digests(home).keys() == expected.keys()
    assert {request.file for request in hub.requests} == {"", "vae/config.json", EVA, DETECTOR}
    pull_from(hub, home, revision=first)
    assert pinned(home) == first and digests(home) == expected


def test_files_by_hand_survive(hub: Hub, home: Path, files: dict[str, bytes]) -> None:
    """Those in the model, and pickles in the download folder, which stay there."""
    mine = home / ".downloads" / PRESET / "deca_model.tar"
    mine.parent.mkdir(parents=True)
    torch.save({"E_flame": {"layers.0.weight": torch.ones(3, 3)}}, mine)
    (mine.parent / "notes.txt").write_text("mine")
    mesh = (home / PRESET / MESH).read_bytes()
    pull_from(hub, home)
    assert (home / PRESET / MESH).read_bytes() == mesh
    made = home / PRESET / "face_encoder" / "deca_model.safetensors"
    assert [tensor.sum().item() for tensor in load_file(made).values()] == [9.0]
    assert left(home) == [PRESET, f"{PRESET}/deca_model.tar", f"{PRESET}/notes.txt", "lock"]
    mine.unlink()
    hub.commit(files)
    pull_from(hub, home, revision="main")
    assert made.name in {path.name for path in (home / PRESET / "face_encoder").iterdir()}
    assert digests(home).keys() >= {MESH, f"face_encoder/{made.name}"} and not (home / PRESET / "notes.txt").exists()


def test_what_is_to_be_fetched_by_hand_is_named(hub: Hub, home: Path) -> None:
    (home / PRESET / MESH).rename(home / PRESET / "face_encoder" / ".mesh.safetensors.x.partial")
    pull_from(hub, home)
    report = look_at(PRESET, home)
    assert report.state == "incomplete" and f"{MESH} is missing" in report.problem
    (needed,) = (errand for errand in report.errands if errand.needed)
    assert needed.command == f"fantasyid-engine weights convert transform.pkl {home / PRESET / MESH}"
    assert [part.there for part in report.optional] == [True, False, False]


def test_without_the_optional_detector(hub: Hub, home: Path, files: dict[str, bytes]) -> None:
    hub.commit({name: data for name, data in files.items() if name != DETECTOR})
    pull_from(hub, home)
    report = look_at(PRESET, home)
    assert report.state == "present" and not any(part.there for part in report.optional)


def test_a_disk_without_room(hub: Hub, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is fetched; the figure is a fake."""
    monkeypatch.setattr(workspace.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1_000_000}))
    with pytest.raises(OutputError, match=r"needs 0\.0\d GB, its disk has 1000\.0 kB: make room"):
        pull_from(hub, home)
    assert {request.file for request in hub.requests} == {""}


def test_a_disk_that_fills_up(hub: Hub, home: Path, files: dict[str, bytes], expected: dict[str, str]) -> None:
    """The limit of a file's size stands for it. What was written is used."""
    limit, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(files[DIT]) // 2, hard))
    try:
        with pytest.raises(WriteError, match=rf"cannot write {DIT} of .*: File too large; mend that and run the same"):
            pull_from(hub, home)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        signal.signal(signal.SIGXFSZ, before)
    pull_from(hub, home)
    assert offset(hub.asked_for(DIT)[-1].range) > len(files[DIT]) // 2 - 2048
    assert digests(home) == expected


def test_terms_come_first(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="have not been accepted"):
        pull_from(hub, tmp_path / "new")
    assert hub.requests == [] and not (tmp_path / "new").exists()


def test_folders_that_are_not_ours_are_left_alone(hub: Hub, home: Path) -> None:
    (home / PRESET / "config.json").write_text("mine")
    with pytest.raises(OutputError, match=r"holds what no pull has put there \(config\.json\): move it away"):
        pull_from(hub, home)
    (home / PRESET).rename(home / "mine")
    (home / PRESET).symlink_to(home / "mine")
    with pytest.raises(OutputError, match="is no folder"):
        pull_from(hub, home)
    assert (home / "mine" / "config.json").read_text() == "mine"


def test_one_pull_at_a_time(hub: Hub, home: Path) -> None:
    with workspace.Workspace(home, PRESET).alone(), pytest.raises(OutputError, match="another pull is at work"):
        pull_from(hub, home)


def test_a_home_that_cannot_be_written(hub: Hub, home: Path) -> None:
    (home / ".downloads").write_text("a file")
    with pytest.raises(OutputError, match=r"cannot write .*\.downloads: "):
        pull_from(hub, home)


def test_a_pin_that_cannot_be_read(hub: Hub, home: Path) -> None:
    pull_from(hub, home)
    (home / PRESET / "source.json").write_text('{"repository": "x", "revision": "main", "commit": "main", "files": []}')
    with pytest.raises(WeightsError, match=r"source\.json.*commit: no hash .*; remove that file to pull anew"):
        pull_from(hub, home)


@pytest.mark.parametrize(("preset", "says"), [("avatar-mini", "nothing to pull"), ("x", "no preset is called 'x'")])
def test_presets_that_cannot_be_pulled(home: Path, preset: str, says: str) -> None:
    with pytest.raises(WeightsError, match=says):
        pull(preset, home)


def no_network(*arguments: object, **options: object) -> NoReturn:
    raise AssertionError("the network was asked for")


def test_rendering_never_fetches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No HF_HUB_OFFLINE is needed; and a preset that is not there is an error, not a download."""
    for name in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, name, no_network, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert not constants.HF_HUB_OFFLINE
    picture = (Path(__file__).parents[2] / "docs" / "examples" / "face.png").read_bytes()
    request = VideoRequest(image=picture, prompt="smiles", seed=0, num_inference_steps=1, num_frames=1)
    with Engine.open("avatar-mini", device="cpu") as engine:
        engine.generate(request)
    monkeypatch.setenv("FANTASYID_MODELS", str(tmp_path))
    with pytest.raises(EngineError):
        Engine.open(PRESET, device="cpu")
    assert list(tmp_path.iterdir()) == []
