"""A face that is kept as a file, and renders the same frames as its photo."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.face.conditioning import Conditioning, FaceInput, condition
from fantasyid_engine.face.stored import MAX_BYTES, check_kept, read_kept, to_bytes
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.weights.model import Model, load_model
from tests.face.pictures import avatar, encoded, portrait
from tests.face.plys import ply
from tests.face_networks import face_networks
from tests.small import hierarchy
from tests.whole_model import paper_model, write_released_model

NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where no user may write")
VERTICES = ply(hierarchy().template.numpy())


@cache
def drawn() -> Model:
    """Text-to-video: no picture enters but through the tokens."""
    return paper_model()


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Image-to-video: the crop is the first frame."""
    return load_model(write_released_model(tmp_path_factory.mktemp("released") / "model"), dtype=torch.float32)


@cache
def kept() -> tuple[Conditioning, bytes]:
    made = condition(drawn(), FaceInput(encoded(avatar(80), "PNG"), "me.png", None, ""))
    return made, to_bytes(made, drawn())


def test_what_was_kept_comes_back() -> None:
    made, data = kept()
    face = read_kept(data, drawn())
    assert torch.equal(face.conditioning.id_tokens, made.id_tokens)
    assert face.conditioning.record == made.record


def test_the_photo_stays_behind(filmed: Model) -> None:
    """But for a model whose first frame it is."""
    assert read_kept(kept()[1], drawn()).conditioning.crop is None
    assert len(kept()[1]) < 8192
    made = condition(filmed, FaceInput(encoded(portrait(), "PNG"), "me.png", VERTICES, "me.ply"))
    again = read_kept(to_bytes(made, filmed), filmed).conditioning
    assert made.crop is not None and again.crop is not None and np.array_equal(made.crop, again.crop)
    assert again.record.box is not None and again.record == made.record


@cache
def guiding() -> Model:
    """Guidance is by the photo too."""
    return replace(drawn(), render=replace(drawn().render, guides_by_photo=True))


@pytest.mark.parametrize("form", ["paper", "guiding", "released"])
def test_it_renders_the_frames_of_its_photo(form: str, filmed: Model, tmp_path: Path) -> None:
    model = {"paper": drawn(), "guiding": guiding(), "released": filmed}[form]
    photo, vertices = (portrait(), VERTICES) if form == "released" else (avatar(80), None)
    request = VideoRequest(
        image=encoded(photo, "PNG"), vertices=vertices, prompt="nods", seed=3, num_inference_steps=2, num_frames=1
    )
    with Engine(model) as engine:
        data = engine.encode_face(request)
        (tmp_path / "me.safetensors").write_bytes(data)
        from_photo = engine.generate(request)
        from_bytes = engine.generate(replace(request, image=None, vertices=None, face=data))
        from_file = engine.generate(replace(request, image=None, vertices=None, face=tmp_path / "me.safetensors"))
    assert from_photo.frames_sha256 == from_bytes.frames_sha256 == from_file.frames_sha256
    assert from_file.record["inputs"]["image_sha256"] == from_photo.record["inputs"]["image_sha256"]
    assert from_file.record["inputs"]["face_sha256"] and not from_photo.record["inputs"]["face_sha256"]


def refused(data: bytes, model: Model, code: str) -> str:
    with pytest.raises(InputError) as error:
        read_kept(data, model)
    assert error.value.code == code
    message = str(error.value)
    assert "\n" not in message and len(message) < 400
    return message


def test_a_model_that_guides_by_the_photo_refuses_a_face_of_one_that_does_not() -> None:
    """What its negative pass sees is not in it."""
    assert "for another model" in refused(kept()[1], guiding(), "face_other_model")


def test_another_model_refuses_it() -> None:
    other = replace(drawn(), digests={"network": "1" * 64})
    assert "for another model" in refused(kept()[1], other, "face_other_model")


def test_networks_that_read_photos_are_no_other_model() -> None:
    """What they read is in the file already."""
    later = replace(
        drawn(),
        digests=dict(drawn().digests) | {"face_encoder/flame.safetensors": "2" * 64},
        faces=face_networks(),
    )
    assert read_kept(kept()[1], later).conditioning.id_tokens.shape == kept()[0].id_tokens.shape


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda data: b"", id="empty"),
        pytest.param(lambda data: data[:7], id="seven-bytes"),
        pytest.param(lambda data: data[:-1], id="a-byte-short"),
        pytest.param(lambda data: data + b"\0", id="a-byte-long"),
        pytest.param(lambda data: b"\xff" * 8 + data[8:], id="endless-header"),
        pytest.param(lambda data: data.replace(b"fantasyid-face-1", b"fantasyid-face-9"), id="another-format"),
        pytest.param(lambda data: data.replace(b"id_tokens", b"ID_tokens"), id="another-tensor"),
        pytest.param(lambda data: data.replace(b"photo_sha256", b"phot0_sha256"), id="another-record"),
        pytest.param(lambda data: b"\x02" + 7 * b"\0" + b"[]", id="a-list"),
        pytest.param(lambda data: encoded(avatar(80), "PNG"), id="a-picture"),
        pytest.param(lambda data: b"\0" * (MAX_BYTES + 1), id="huge"),
    ],
)
def test_no_such_file(spoil: Callable[[bytes], bytes]) -> None:
    refused(spoil(kept()[1]), drawn(), "face_unreadable")


def test_numbers_that_overflow_the_models_precision() -> None:
    made, _ = kept()
    huge = replace(made, id_tokens=torch.full_like(made.id_tokens, 1e300, dtype=torch.float64))
    assert "float64" in refused(to_bytes(huge, drawn()), drawn(), "face_unreadable")
    endless = replace(made, id_tokens=torch.full_like(made.id_tokens, torch.inf))
    assert "no numbers" in refused(to_bytes(endless, drawn()), drawn(), "face_unreadable")


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(min_value=0), st.integers(0, 7))
def test_a_flipped_bit_is_seen(place: int, bit: int) -> None:
    """Anywhere in the file."""
    data = bytearray(kept()[1])
    data[place % len(data)] ^= 1 << bit
    with pytest.raises(InputError) as error:
        read_kept(bytes(data), drawn())
    assert error.value.code in ("face_unreadable", "face_other_model")


def test_other_precision() -> None:
    """The tokens take the model's; frames may differ then, and the plan says so."""
    half = replace(paper_model(), digests=drawn().digests).to(torch.device("cpu"), torch.bfloat16)
    assert read_kept(kept()[1], half).conditioning.id_tokens.dtype == torch.bfloat16


def test_a_shape_or_a_face_of_a_kept_face() -> None:
    with pytest.raises(InputError, match="face and shape: a face that is kept has that in it"):
        VideoRequest(face=kept()[1], prompt="nods", shape={"jaw": 1.0})


def test_what_is_kept_already_is_not_encoded() -> None:
    with Engine(drawn()) as engine, pytest.raises(InputError, match="encoded already; name a photo"):
        engine.encode_face(VideoRequest(face=kept()[1], prompt="nods"))


def test_the_header_says_what_it_is() -> None:
    data = kept()[1]
    header = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["face"])
    assert header["format"] == "fantasyid-face-1" and header["model"] == drawn().fingerprint
    assert header["record"]["detector"] is None and to_bytes(kept()[0], drawn()) == data


@pytest.mark.parametrize("name", ["new.safetensors", "new/folder/new.safetensors", "old.safetensors"])
def test_a_place_that_can_be_written_stays_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "old.safetensors").write_bytes(b"old")
    check_kept(tmp_path / name, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"]
    assert (tmp_path / "old.safetensors").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("name", "overwrite", "says"),
    [
        pytest.param("me.txt", True, "a face is kept as .safetensors", id="suffix"),
        pytest.param("folder.safetensors", True, "it is a folder; name another", id="folder"),
        pytest.param("old.safetensors", False, "it exists already; name another or --overwrite", id="exists"),
        pytest.param("old.safetensors/new/me.safetensors", True, "Not a directory", id="below-a-file"),
        pytest.param(f"{'x' * 250}.safetensors", True, "too long", id="long-name"),
        pytest.param("/proc/new/me.safetensors", True, "name another place", id="not-writable", marks=NEEDS_PROC),
    ],
)
def test_where_no_face_can_be_kept(name: str, overwrite: bool, says: str, tmp_path: Path) -> None:
    """Whatever the folder that the command runs in allows."""
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "old.safetensors").write_bytes(b"old")
    with pytest.raises(OutputError, match=says) as caught:
        check_kept(tmp_path / name, overwrite=overwrite)
    assert str(caught.value).startswith(f"cannot write {tmp_path / name}: ") and "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder.safetensors", "old.safetensors"]
