"""The sidecar: what is read back from it, and everything by which a file is none, in one line."""

import hashlib
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.config.serialise import to_json_object
from fantasyid_engine.errors import EngineError, InputError, OutputError, WeightsError
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.runtime.plan import ExecutionPlan
from fantasyid_engine.video.sidecar import FORMAT, check_place, read_sidecar, record_text, sidecar_path

PLAN = ExecutionPlan(device="cpu", precision="float32", vae_tile=(8, 12))
WEIGHTS = {"network": "ab" * 32, "vae/config.json": "cd" * 32}
PHOTO, VERTICES = b"a photo", b"some vertices"
DEEP = "[" * 200_000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def request_(tmp_path: Path) -> VideoRequest:
    """Every setting another than its default."""
    (tmp_path / "face.png").write_bytes(PHOTO)
    (tmp_path / "face.ply").write_bytes(VERTICES)
    return VideoRequest(
        image=str(tmp_path / "face.png"),
        prompt='smiles, a "quoted"\n漢é',
        vertices=str(tmp_path / "face.ply"),
        negative_prompt="blur",
        seed=2**31 + 5,
        num_inference_steps=7,
        guidance_scale=2.5,
        num_frames=9,
        face_index=2,
        bit_depth=16,
        shape={"jaw": -1.0, "chin": 0.5},
        consent_ref="contract 5, é",
    )


@pytest.fixture
def record(request_: VideoRequest) -> dict[str, Any]:
    """As a render writes it, with things that nothing is made from."""
    return {
        "format": FORMAT,
        "request": asdict(request_),
        "inputs": {"image_sha256": digest(PHOTO), "vertices_sha256": digest(VERTICES)},
        "plan": to_json_object(PLAN),
        "model": {"name": "small", "form": "paper", "trained": True, "weights": WEIGHTS},
        "output": {"fps": 8},
        "notes": ["a note"],
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Any], Path]:
    def write(record: Any) -> Path:
        path = tmp_path / "out.json"
        path.write_text(record if isinstance(record, str) else record_text(record), encoding="utf-8")
        return path

    return write


def refused(path: Path, code: str, **named: Path) -> str:
    with pytest.raises(InputError) as error:
        read_sidecar(path, **named)
    assert error.value.code == code
    message = str(error.value)
    assert "\n" not in message and message == message.strip() and len(message) < 600
    return message


def test_what_was_written_is_read(record: dict[str, Any], request_: VideoRequest, write: Callable[[Any], Path]) -> None:
    sidecar = read_sidecar(write(record))
    assert sidecar.request == request_ and sidecar.plan == PLAN
    assert (sidecar.inputs.image_sha256, sidecar.inputs.vertices_sha256) == (digest(PHOTO), digest(VERTICES))
    assert (sidecar.model.name, sidecar.model.weights) == ("small", WEIGHTS)


def test_the_text_is_readable(record: dict[str, Any]) -> None:
    text = record_text(record)
    assert json.loads(text) == record
    assert "漢é" in text and len(text.splitlines()) > 20


def test_a_request_without_vertices(record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    record["request"]["vertices"] = record["inputs"]["vertices_sha256"] = None
    assert read_sidecar(write(record)).request.vertices is None


@pytest.mark.parametrize("name", ["shape", "consent_ref"])
def test_a_record_from_before_there_was(name: str, record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    del record["request"][name]
    assert getattr(read_sidecar(write(record)).request, name) is None


def test_a_consent_is_for_one_person(record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path) -> None:
    """The same photo and vertices elsewhere take it along; others, or a face of who knows whom, do not."""
    path, same = write(record), tmp_path / "copy.png"
    same.write_bytes(PHOTO)
    (tmp_path / "copy.ply").write_bytes(VERTICES)
    (tmp_path / "other.png").write_bytes(b"another photo")
    (tmp_path / "other.ply").write_bytes(b"other vertices")
    assert read_sidecar(path, image=same, vertices=tmp_path / "copy.ply").request.consent_ref == "contract 5, é"
    for instead in ("other.png", "nothing.png", "."):
        assert read_sidecar(path, image=tmp_path / instead).request.consent_ref is None
    assert read_sidecar(path, vertices=tmp_path / "other.ply").request.consent_ref is None
    assert read_sidecar(path, face=same).request.consent_ref is None


def test_a_consent_is_for_one_face_of_a_photo(record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    sidecar = read_sidecar(write(record))
    assert sidecar.changed({"face_index": 2, "seed": 5}) == replace(sidecar.request, seed=5)
    assert sidecar.changed({"face_index": 1}) == replace(sidecar.request, face_index=1, consent_ref=None)
    assert sidecar.changed({"face_index": "center", "consent_ref": "hers"}).consent_ref == "hers"


def test_a_photo_does_not_say_whose_face_was_kept(
    record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    """Its record names the digest of the photo, which may show several."""
    kept = tmp_path / "kept.safetensors"
    kept.write_bytes(b"a kept face")
    record["request"] |= {"image": None, "vertices": None, "face_index": None, "shape": None, "face": str(kept)}
    record["inputs"] |= {"face_sha256": digest(b"a kept face"), "vertices_sha256": None}
    path = write(record)
    assert [read_sidecar(path, face=face).request.consent_ref for face in (None, kept)] == ["contract 5, é"] * 2
    assert read_sidecar(path, image=tmp_path / "face.png").request.consent_ref is None


def test_a_shape_is_a_json_object(record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    assert json.loads(record_text(record))["request"]["shape"] == {"jaw": -1.0, "chin": 0.5}
    for values, expected in (({"jaw": 2}, {"jaw": 2.0}), ({}, None), (None, None)):
        record["request"]["shape"] = values
        assert read_sidecar(write(record)).request.shape == expected


@pytest.mark.parametrize(
    ("video", "expected"), [("out.mp4", "out.json"), ("a.b.mov", "a.b.json"), ("pictures", "pictures.json")]
)
def test_its_name(video: str, expected: str) -> None:
    assert sidecar_path(Path("folder") / video) == Path("folder") / expected


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", DEEP, "{}", '{"format": "fantasyid-network-1"}'], ids=lambda text: repr(text)[:12]
)
def test_files_that_are_no_sidecar(write: Callable[[Any], Path], text: str) -> None:
    path = write(text)
    assert str(path) in refused(path, "sidecar_unreadable")
    with pytest.raises(OutputError, match="a file that is no sidecar has this name; name another video"):
        check_place(path)
    assert path.read_text() == text


@pytest.mark.parametrize("data", [b"\xff\xfe", b"\0" * 9], ids=["no text", "zeros"])
def test_files_that_are_no_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.json").write_bytes(data)
    refused(tmp_path / "x.json", "sidecar_unreadable")
    with pytest.raises(OutputError):
        check_place(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["nothing.json", "folder"])
def test_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    assert name in refused(tmp_path / name, "sidecar_unreadable")


def test_places_that_can_be_written(record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path) -> None:
    check_place(write(record))
    check_place(tmp_path / "new.json")
    with pytest.raises(OutputError):
        check_place(tmp_path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("request", None),
        ("request", []),
        ("request.prompt", 5),
        ("request.prompt", "\ud800"),
        ("request.seed", "7"),
        ("request.seed", 1.5),
        ("request.bit_depth", 12),
        ("request.image", 5),
        ("request.guidance_scale", "high"),
        ("request.consent_ref", 5),
        ("request.shape", 5),
        ("request.shape", "jaw=1"),
        ("request.shape", [["jaw", 1.0]]),
        ("request.shape", {"jaw": "1"}),
        ("request.shape", {"jaw": None}),
        ("request.more", 1),
        ("plan", None),
        ("plan", "eager"),
        ("plan.device", "tpu"),
        ("plan.vae_tile", [8]),
        ("plan.vae_tile", [0, 8]),
        ("plan.more", 1),
        ("inputs", None),
        ("inputs.image_sha256", 5),
        ("model", {}),
        ("model.weights", []),
        ("model.weights", {"a": 5}),
    ],
    ids=repr,
)
def test_values_that_no_render_has(record: dict[str, Any], write: Callable[[Any], Path], path: str, value: Any) -> None:
    *before, last = path.split(".")
    place = record
    for name in before:
        place = place[name]
    place[last] = value
    assert "out.json is no sidecar of a render" in refused(write(json.dumps(record)), "sidecar_unreadable")


@pytest.mark.parametrize("name", ["request", "plan", "inputs", "model"])
def test_parts_that_are_missing(record: dict[str, Any], write: Callable[[Any], Path], name: str) -> None:
    del record[name]
    assert name in refused(write(record), "sidecar_unreadable")


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("prompt", " ", "prompt_empty"),
        ("seed", -1, "seed_invalid"),
        ("num_frames", 0, "frames_unsupported"),
        ("consent_ref", "", "consent_invalid"),
        ("shape", {"jaw": 9.0}, "shape_invalid"),
        ("shape", {"jaw": math.nan}, "shape_invalid"),
    ],
)
def test_values_that_no_request_has(
    record: dict[str, Any], write: Callable[[Any], Path], name: str, value: Any, code: str
) -> None:
    record["request"][name] = value
    refused(write(record), code)


@pytest.mark.parametrize("name", ["face.png", "face.ply"])
@pytest.mark.parametrize("change", ["gone", "changed", "a folder"])
def test_inputs_that_changed(
    record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path, name: str, change: str
) -> None:
    path = tmp_path / name
    path.unlink() if change != "changed" else path.write_bytes(path.read_bytes() + b"\0")
    if change == "a folder":
        path.mkdir()
    message = refused(write(record), "input_changed")
    assert str(path) in message and "name" in message


def test_an_input_that_is_a_device(record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    """Not read, whatever it would give: another might never end."""
    record["request"]["image"], record["inputs"]["image_sha256"] = os.devnull, digest(b"")
    assert os.devnull in refused(write(record), "input_changed")


def test_inputs_that_are_named_are_taken_as_they_are(
    record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    """Another photo or other vertices, on purpose."""
    for name in ("face.png", "face.ply"):
        (tmp_path / name).unlink()
    path = write(record)
    assert str(tmp_path / "face.ply") in refused(path, "input_changed", image=tmp_path / "new.png")
    sidecar = read_sidecar(path, image=tmp_path / "new.png", vertices=tmp_path / "new.ply")
    assert (sidecar.request.image, sidecar.request.vertices) == (str(tmp_path / "new.png"), str(tmp_path / "new.ply"))


def test_inputs_that_were_bytes_must_be_named(
    record: dict[str, Any], write: Callable[[Any], Path], tmp_path: Path
) -> None:
    """The record has their digests and no path: without them another video would come out."""
    record["request"]["image"] = None
    assert "--image" in refused(write(record), "image_missing")
    assert read_sidecar(write(record), image=tmp_path / "face.png").request.image == str(tmp_path / "face.png")
    record["request"] |= {"image": str(tmp_path / "face.png"), "vertices": None}
    assert "--vertices" in refused(write(record), "vertices_missing")
    assert read_sidecar(write(record), vertices=tmp_path / "face.ply").request.vertices == str(tmp_path / "face.ply")


def test_a_path_that_is_none(record: dict[str, Any], write: Callable[[Any], Path]) -> None:
    """With a NUL no system call takes it."""
    record["request"]["image"] = "a\0b.png"
    with pytest.raises(EngineError) as error:
        read_sidecar(write(record))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "digests",
    [{}, {"network": "ab" * 32}, WEIGHTS | {"network": "00" * 32}, WEIGHTS | {"more": "ab" * 32}],
    ids=["none", "fewer", "another", "more"],
)
def test_other_weights(record: dict[str, Any], write: Callable[[Any], Path], digests: dict[str, str]) -> None:
    sidecar = read_sidecar(write(record))
    sidecar.check_weights(dict(reversed(WEIGHTS.items())))
    with pytest.raises(WeightsError, match=r"the weights of small are not those .* --model") as error:
        sidecar.check_weights(digests)
    assert "\n" not in str(error.value)
