"""Faces are read once: in memory, on disk, by processes at once and after some died."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from fantasyid_engine.config.render import RenderConfig
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.face.cache import STALE_S, FaceCache, face_key
from fantasyid_engine.face.conditioning import FaceInput
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.weights.model import Model
from tests.face.pictures import avatar, encoded
from tests.face.plys import ply
from tests.small import hierarchy
from tests.whole_model import paper_model

MIB = 2**20


@cache
def model() -> Model:
    return paper_model()


def person(number: int) -> FaceInput:
    return FaceInput(encoded(avatar(80 + number), "PNG"), f"{number}.png", None, "")


@pytest.fixture
def looks() -> Iterator[list[object]]:
    """One entry for each time that the tower looks at a picture."""
    seen: list[object] = []
    hook = model().network.tower.register_forward_hook(lambda module, args, output: seen.append(output))
    yield seen
    hook.remove()


def test_the_second_time_nothing_is_read(looks: list[object]) -> None:
    faces = FaceCache(model(), MIB, None, 0)
    first, second = faces(person(0)), faces(person(0))
    assert len(looks) == 1 and second is first
    faces(person(1))
    assert len(looks) == 2


def test_an_engine_reads_a_face_once(looks: list[object]) -> None:
    request = VideoRequest(image=encoded(avatar(80), "PNG"), prompt="nods", seed=1, num_inference_steps=1, num_frames=1)
    with Engine(model()) as engine:
        first, second = engine.generate(request), engine.generate(replace(request, prompt="smiles"))
        assert len(looks) == 1 and first.frames_sha256 != second.frames_sha256
        assert engine.generate(request).frames_sha256 == first.frames_sha256


def test_memory_is_bounded(looks: list[object]) -> None:
    """What was not used for longest goes first; a store of nothing keeps nothing."""
    size = FaceCache(model(), MIB, None, 0)(person(0))
    two = 2 * (size.id_tokens.nbytes + (size.crop.nbytes if size.crop is not None else 0))
    looks.clear()
    faces = FaceCache(model(), two, None, 0)
    for number in (0, 1, 0, 2, 0, 1):
        faces(person(number))
    assert len(looks) == 4  # 0, 1, 2, and 1 again
    none = FaceCache(model(), 0, None, 0)
    none(person(0)), none(person(0))
    assert len(looks) == 6


KEYS = [
    {"photo": encoded(avatar(90), "PNG")},
    {"vertices": ply(hierarchy().template.numpy())},
    {"choice": 2},
    {"choice": "center"},
    {"shape_change": (1.0,)},
    {"shape_change": (2.0,)},
    {"deca_input": "released"},
]


def test_everything_that_matters_is_in_the_key() -> None:
    keys = {face_key(model(), person(0))} | {face_key(model(), replace(person(0), **change)) for change in KEYS}
    others = [
        replace(model(), digests={"network": "1" * 64}),
        replace(model(), render=RenderConfig(face="picture", crop_size=48)),
        paper_model().to(torch.device("cpu"), torch.bfloat16),
    ]
    keys |= {face_key(other, person(0)) for other in others}
    assert len(keys) == 1 + len(KEYS) + len(others)
    assert face_key(model(), replace(person(0), name="another name", vertices_name="x")) in keys


def test_another_engine_finds_it_on_disk(tmp_path: Path, looks: list[object]) -> None:
    kept = FaceCache(model(), MIB, tmp_path / "faces", MIB)(person(0))
    again = FaceCache(model(), MIB, tmp_path / "faces", MIB)(person(0))
    assert len(looks) == 1
    assert torch.equal(kept.id_tokens, again.id_tokens) and kept.record == again.record
    (file,) = (tmp_path / "faces").iterdir()
    assert file.stat().st_mode & 0o77 == 0 and (tmp_path / "faces").stat().st_mode & 0o77 == 0, "as personal as photos"


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_made_again(tmp_path: Path, looks: list[object], damage: str) -> None:
    kept = FaceCache(model(), 0, tmp_path, MIB)(person(0))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    flipped = whole[:-5] + bytes([whole[-5] ^ 4]) + whole[-4:]
    file.write_bytes({"cut": whole[:-9], "flip": flipped, "empty": b""}[damage])
    again = FaceCache(model(), 0, tmp_path, MIB)(person(0))
    assert len(looks) == 2 and torch.equal(kept.id_tokens, again.id_tokens)
    assert file.read_bytes() == whole


def test_disk_is_bounded(tmp_path: Path) -> None:
    one = FaceCache(model(), 0, tmp_path, MIB)
    one(person(0))
    (first,) = tmp_path.iterdir()
    faces = FaceCache(model(), 0, tmp_path, 3 * first.stat().st_size + 100)
    for number in (1, 2):
        faces(person(number))
    old = time.time() - 1000
    for age, path in enumerate(sorted(tmp_path.iterdir(), key=lambda path: path != first)):
        os.utime(path, (old + age, old + age))
    faces(person(0))  # used now: no longer the oldest
    faces(person(3))
    assert len(list(tmp_path.iterdir())) == 3 and first.exists()


def test_no_room_on_disk_costs_the_entry_only(tmp_path: Path) -> None:
    faces = FaceCache(model(), 0, tmp_path / "gone", MIB)
    (tmp_path / "gone").rmdir()
    (tmp_path / "gone").write_text("a file is in the way")
    assert faces(person(0)).id_tokens.isfinite().all()


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot keep faces in .*file/faces"):
        FaceCache(model(), 0, tmp_path / "file" / "faces", MIB)


def test_other_files_of_the_folder_are_left_alone(tmp_path: Path) -> None:
    """Such as faces that a user keeps there, and what another program is writing."""
    names = ("anna.safetensors", "film.mp4.partial", f"{'a' * 63}.safetensors", ".x.partial")
    others = [tmp_path / name for name in names]
    for path in others:
        path.write_bytes(b"x" * 9000)
        os.utime(path, (0, 0))
    (tmp_path / f"{'b' * 64}.safetensors").mkdir()
    faces = FaceCache(model(), 0, tmp_path, 1)
    assert faces(person(0)).id_tokens.isfinite().all()
    assert all(path.exists() for path in others)
    assert len(list(tmp_path.iterdir())) == len(others) + 1, "the entry went, the folder by its name stays"


def test_what_cannot_be_read_is_not_kept(tmp_path: Path) -> None:
    faces = FaceCache(model(), MIB, tmp_path, MIB)
    for _ in range(2):
        with pytest.raises(InputError):
            faces(FaceInput(b"no picture", "x.png", None, ""))
    assert not list(tmp_path.iterdir())


KILLED = """
import os, sys
from pathlib import Path
from tests.face.test_cache import FaceCache, MIB, model, person

real = Path.write_bytes

def half(path, data):
    real(path, data[: len(data) // 2])
    print("half", flush=True)
    sys.stdin.read()

Path.write_bytes = half
FaceCache(model(), 0, Path(sys.argv[1]), MIB)(person(0))
"""


def test_killed_in_the_middle_of_a_write(tmp_path: Path, looks: list[object]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (partial,) = tmp_path.iterdir()
    assert partial.suffix == ".partial"
    FaceCache(model(), 0, tmp_path, MIB)(person(0))
    assert partial.exists(), "its writer might be alive"
    os.utime(partial, (0, time.time() - STALE_S - 1))
    FaceCache(model(), 0, tmp_path, MIB)(person(1))
    assert len(looks) == 2 and sorted(path.suffix for path in tmp_path.iterdir()) == [".safetensors"] * 2


def _read_all(folder: Path, numbers: list[int]) -> list[float]:
    torch.set_num_threads(1)
    faces = FaceCache(model(), 0, folder, 12_000)
    return [float(faces(person(number)).id_tokens.double().sum()) for number in numbers]


def test_processes_share_a_folder(tmp_path: Path) -> None:
    """Three of them write, read and throw out the same entries; each face is what it is for everybody."""
    orders = [[0, 1, 2, 3] * 3, [3, 2, 1, 0] * 3, [1, 3, 0, 2] * 3]
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        found = pool.starmap(_read_all, [(tmp_path, order) for order in orders])
    alone = _read_all(tmp_path / "alone", [0, 1, 2, 3])
    assert found == [[alone[number] for number in order] for order in orders]
    assert not list(tmp_path.glob("*.partial"))
