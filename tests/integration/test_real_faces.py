"""A photo alone: RetinaFace, DECA and FLAME (seeded weights) read it, and it need not travel."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import InputError, WeightsError
from fantasyid_engine.face.conditioning import FaceInput, condition
from fantasyid_engine.face.tower_input import tower_input
from fantasyid_engine.face.vertex_reader import deca_picture, read_vertices_off
from fantasyid_engine.models.network import Network
from fantasyid_engine.models.shape_measures import MEASURES, ShapeMeasures
from fantasyid_engine.progress import Progress
from fantasyid_engine.request import DecaInput, VideoRequest
from fantasyid_engine.sampling.state import RenderState
from fantasyid_engine.video.sidecar import read_sidecar
from fantasyid_engine.weights.faces import DECA, FLAME, RETINAFACE
from fantasyid_engine.weights.manifest import write_manifest
from fantasyid_engine.weights.model import load_model, save_model
from tests.face.pictures import encoded
from tests.face.plys import ply
from tests.face_networks import head_mesh, photo, write_model_with_faces
from tests.small import PAPER, randomise

COMMAND = Path(sys.executable).with_name("fantasyid-engine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with face networks, one without, and a photo."""
    place = tmp_path_factory.mktemp("real")
    write_model_with_faces(place / "model")
    (place / "bare").mkdir()
    for path in (place / "model").rglob("*"):
        made = place / "bare" / path.relative_to(place / "model")
        if path.is_dir():
            made.mkdir(exist_ok=True)
        elif path.relative_to(place / "model").as_posix() not in (RETINAFACE, DECA, FLAME):
            made.hardlink_to(path)
    (place / "bare" / "manifest.json").unlink()
    write_manifest(place / "bare")
    Image.fromarray(photo().numpy()).save(place / "me.png")
    return place


@pytest.fixture(scope="module")
def engine(place: Path) -> Iterator[Engine]:
    with Engine.from_pretrained(place / "model", device="cpu") as engine:
        yield engine


def request(place: Path) -> VideoRequest:
    return VideoRequest(image=place / "me.png", prompt="nods", seed=3, num_inference_steps=1, num_frames=1)


def test_a_photo_is_enough(engine: Engine, place: Path) -> None:
    result = engine.generate(request(place))
    face = result.record["face"]
    assert (face["vertices"], face["detector"], face["rung"]) == ("photo", "retinaface", "203")
    assert face["box"]["confidence"] > 0.97 and len(face["box"]["landmarks"]) == 5
    assert result.frames_sha256 == engine.generate(request(place)).frames_sha256


def test_what_is_read_enters(engine: Engine, place: Path) -> None:
    """The face chosen, how DECA sees it, a change of a measure, and vertices that are given each make other frames."""
    given = ply(head_mesh().template.numpy())
    ways = [
        request(place),
        replace(request(place), face_index=2),
        replace(request(place), deca_input="released"),
        replace(request(place), shape={"face_width": 2.0}),
        replace(request(place), shape={"face_width": 2.0, "nose_length": -1.0}),
        replace(request(place), vertices=given),
    ]
    made = [engine.generate(way) for way in ways]
    assert len({result.frames_sha256 for result in made}) == len(ways)
    assert [result.record["face"]["vertices"] for result in made] == ["photo"] * 5 + ["request"]


@pytest.mark.parametrize("form", ["released", "paper"])
@pytest.mark.parametrize("how", ["face", "released"])
def test_deca_reads_the_photo(engine: Engine, form: str, how: DecaInput) -> None:
    """The photo, not the crop; the paper's form takes the person alone. A measure moves the coefficients."""
    network = engine.model.network
    if form == "paper":
        network = Network(replace(PAPER, mesh=replace(PAPER.mesh, levels=(642, 162, 42))), head_mesh()).eval()
        randomise(network)
    model = replace(engine.model, network=network)
    faces = model.faces
    assert faces.deca is not None and faces.flame is not None
    change = (0.0, 0.0, 0.0, 1.5, 0.0)
    face = FaceInput(encoded(photo().numpy(), "PNG"), "me.png", None, "", deca_input=how, shape_change=change)
    made = condition(model, face)
    assert made.record.box is not None and made.crop is not None
    with torch.inference_mode():
        picture = deca_picture(photo().numpy(), made.record.box, how)
        change_n = ShapeMeasures(faces.flame.template, faces.flame.shape_basis).smallest_change({"nose_length": 1.5})
        read = read_vertices_off(picture, faces.deca, faces.flame, change_n, neutral=form == "paper")
        size = network.config.tower.image_size
        wanted = network.id_tokens(tower_input(made.crop, size).to(made.id_tokens), read[None])
    assert torch.equal(made.id_tokens, wanted)


def test_deca_input_where_deca_reads_nothing(engine: Engine, place: Path) -> None:
    given = replace(request(place), vertices=ply(head_mesh().template.numpy()), deca_input="released")
    assert engine.generate(given).notes == ("DECA does not read this face: what deca_input says is not used",)
    assert engine.generate(replace(request(place), deca_input="released")).notes == ()


def refused(engine: Engine, wanted: VideoRequest, code: str, *says: str) -> None:
    with pytest.raises(InputError) as error:
        engine.generate(wanted)
    assert error.value.code == code
    assert all(words in str(error.value) for words in says) and "\n" not in str(error.value)


def test_changes_that_it_cannot_make(engine: Engine, place: Path) -> None:
    unknown = replace(request(place), shape={"face_widht": 1.0})
    refused(engine, unknown, "shape_unknown", "did you mean face_width?", *MEASURES)
    both = replace(request(place), shape={"face_width": 1.0}, vertices=ply(head_mesh().template.numpy()))
    refused(engine, both, "shape_unsupported", "leave shape or vertices out")


def test_without_the_networks_it_asks_for_vertices(place: Path) -> None:
    with Engine.from_pretrained(place / "bare", device="cpu") as bare:
        refused(bare, request(place), "vertices_missing", "--vertices FILE", "weights list")


def test_a_face_travels_without_its_photo(engine: Engine, place: Path, tmp_path: Path) -> None:
    """To machines that have no networks to read photos with."""
    data = engine.encode_face(request(place))
    kept = replace(request(place), image=None, face=data)
    (tmp_path / "me.safetensors").write_bytes(data)
    here = engine.generate(replace(kept, face=tmp_path / "me.safetensors"))
    here.save(tmp_path / "here.mp4")
    states: list[RenderState] = []

    def keep(progress: Progress) -> None:
        if progress.state is not None:
            states.append(progress.state())

    engine.generate(replace(kept, num_inference_steps=2), on_progress=keep)
    with Engine.from_pretrained(place / "bare", device="cpu") as bare:
        there = bare.generate(kept)
        read_sidecar(tmp_path / "here.json").check_weights(bare.model.digests)
        on = bare.generate(replace(kept, num_inference_steps=2), resume=states[0])
    assert there.frames_sha256 == here.frames_sha256 == engine.generate(request(place)).frames_sha256
    assert there.record["face"]["detector"] == "retinaface"
    whole = engine.generate(replace(request(place), num_inference_steps=2))
    assert on.frames_sha256 == whole.frames_sha256


def test_a_saved_model_keeps_its_face_networks(place: Path, tmp_path: Path, engine: Engine) -> None:
    save_model(load_model(place / "model", dtype=engine.model.vae.dtype), tmp_path / "saved")
    names = {f"face_encoder/{path.name}" for path in (tmp_path / "saved" / "face_encoder").iterdir()}
    assert names == {RETINAFACE, DECA, FLAME}
    with Engine.from_pretrained(tmp_path / "saved", device="cpu") as saved:
        assert saved.generate(request(place)).frames_sha256 == engine.generate(request(place)).frames_sha256


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, check=False, cwd=cwd)


def test_on_the_command_line(place: Path) -> None:
    """List, encode, render from the file, render that again; the frames are the photo's."""
    shown = run("faces", "me.png", "--model", "model", "-o", "boxes.png", cwd=place)
    assert shown.returncode == 0 and "found by retinaface, looking at the photo at 203" in shown.stdout
    first = shown.stdout.splitlines()[0]
    assert first.startswith("face 1: ") and "confidence 0.9" in first
    with Image.open(place / "boxes.png") as boxes:
        assert boxes.size == (157, 203)

    encoded = run("faces", "encode", "me.png", "-o", "me.safetensors", "--model", "model", cwd=place)
    assert encoded.returncode == 0, encoded.stderr
    assert (place / "me.safetensors").stat().st_mode & 0o77 == 0
    how = ("--model", "model", "--prompt", "nods", "--seed", "3", "--steps", "1", "--frames", "1")
    from_photo = run("generate", "--image", "me.png", "--out", "photo.mp4", *how, cwd=place)
    from_face = run("generate", "--face", "me.safetensors", "--out", "face.mp4", *how, cwd=place)
    again = run("generate", "--from", "face.json", "--out", "again.mp4", cwd=place)
    digests = [done.stdout.splitlines()[-1] for done in (from_photo, from_face, again)]
    assert digests[0].startswith("frames sha256 ") and len(set(digests)) == 1
    record = json.loads((place / "face.json").read_text())
    assert record["request"]["image"] is None and record["request"]["face"].endswith("me.safetensors")
    again = run("generate", "--from", "face.json", "--image", "me.png", "--out", "other.mp4", cwd=place)
    assert again.stdout.splitlines()[-1] == digests[0]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["faces", "encode", "me.png", "-o", "me.txt"], 73, "a face is kept as .safetensors"),
        (["faces", "encode", "me.png", "-o", "boxes.safetensors", "--face", "x.safetensors"], 2, "here it says which"),
        (["faces", "encode", "nowhere.png", "-o", "n.safetensors", "--model", "model"], 65, "nowhere.png does not"),
        (
            ["generate", "--face", "middle", "--prompt", "nods", "--out", "o.mp4"],
            2,
            "none of largest, center, a number",
        ),
        (["generate", "--face", "gone.safetensors", "--prompt", "nods", "--out", "o.mp4"], 65, "gone.safetensors does"),
        (["generate", "--face", "me.png", "--prompt", "nods", "--out", "o.mp4"], 2, "none of largest"),
        (["generate", "--face", "1", "--prompt", "nods", "--out", "o.mp4"], 2, "needs --image"),
        (["generate", "--face=--5", "--prompt", "nods", "--out", "o.mp4"], 2, "none of largest"),
        (["faces", "me.png", "--model", "nowhere"], 78, "no model folder at nowhere"),
        (["faces", "me.png", "--nonsense"], 2, "No such option"),
    ],
)
def test_mistakes(place: Path, arguments: list[str], code: int, says: str) -> None:
    done = run(*arguments, cwd=place)
    assert done.returncode == code and says in " ".join(done.stderr.split()), done.stderr
    assert not (place / "o.mp4").exists()


def test_a_face_of_another_model(place: Path, engine: Engine) -> None:
    (place / "theirs.safetensors").write_bytes(engine.encode_face(request(place)))
    done = run("generate", "--face", "theirs.safetensors", "--prompt", "nods", "--out", "o.mp4", cwd=place)
    assert done.returncode == 65 and "encoded for another model" in done.stderr
    assert "faces encode PHOTO --model avatar-mini" in done.stderr


def test_a_sidecar_whose_face_is_gone(place: Path, engine: Engine, tmp_path: Path) -> None:
    face = tmp_path / "me.safetensors"
    face.write_bytes(engine.encode_face(request(place)))
    engine.generate(replace(request(place), image=None, face=face)).save(tmp_path / "out.mp4")
    assert read_sidecar(tmp_path / "out.json").request.face == str(face)
    face.rename(tmp_path / "moved.safetensors")
    with pytest.raises(InputError, match="cannot be read again"):
        read_sidecar(tmp_path / "out.json")
    moved = read_sidecar(tmp_path / "out.json", face=tmp_path / "moved.safetensors")
    assert moved.request.face == str(tmp_path / "moved.safetensors")


@pytest.mark.parametrize("name", [RETINAFACE, DECA, FLAME])
def test_a_flipped_bit_is_named(place: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "model"
    for path in (place / "model").rglob("*"):
        made = folder / path.relative_to(place / "model")
        if path.is_file():
            made.parent.mkdir(parents=True, exist_ok=True)
            made.symlink_to(path)
    data = bytearray((place / "model" / name).read_bytes())
    data[-5] ^= 1
    (folder / name).unlink()
    (folder / name).write_bytes(data)
    with pytest.raises(WeightsError, match=rf"{name} is corrupt"):
        load_model(folder)
    if name == RETINAFACE:
        looked = run("faces", place / "me.png", "--model", folder, cwd=tmp_path)
        assert looked.returncode == 78 and "is corrupt" in looked.stderr
