"""The main job on real input: portrait, DECA's vertices, the authors' mesh, a model in their layout -> MP4."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine import Engine, VideoRequest
from fantasyid_engine.face.detect import find_faces
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.face.photo import read_photo
from fantasyid_engine.video.read import Video, read_video
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.mesh_pickle import hierarchy_of
from fantasyid_engine.weights.unpickle import load_arrays
from tests.goldens import require_reference
from tests.whole_model import SIZE, write_released_model

pytestmark = pytest.mark.reference_data
PROMPT = "the man turns the head to the left and smiles"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small released-form model on the authors' mesh, whose table `weights convert` made."""
    faces = require_reference() / "faces"
    pickle = faces / "transform.pkl"
    hierarchy = hierarchy_of(load_arrays(pickle), pickle)
    folder = write_released_model(tmp_path_factory.mktemp("main-job") / "model", hierarchy)
    mesh = folder / "face_encoder" / "mesh.safetensors"
    mesh.unlink()
    convert(pickle, mesh)
    return folder


@pytest.fixture(scope="module")
def engine(model: Path) -> Engine:
    return Engine.from_pretrained(model)


def render(engine: Engine, image: Path, out: Path) -> Video:
    request = VideoRequest(
        image=image, prompt=PROMPT, vertices=require_reference() / "faces" / "newton.ply", seed=7, num_inference_steps=4
    )
    engine.generate(request).save(out)
    return read_video(out)


def check(video: Video) -> None:
    """Frame count, size, rate, codec and colours, as a player sees them."""
    assert video.frames.shape == (9, *SIZE, 3)
    assert (video.fps, video.codec, video.pixel_format) == (Fraction(8), "h264", "yuv420p")
    colours = video.colours
    assert (colours.primaries, colours.transfer, colours.matrix, colours.range) == ("bt709", "bt709", "bt709", "tv")
    assert video.frames.std() > 1, "a flat picture"


def test_photo_and_vertices_to_mp4(engine: Engine, tmp_path: Path) -> None:
    out = tmp_path / "newton.mp4"
    check(render(engine, require_reference() / "faces" / "newton.jpg", out))
    assert {path.name for path in tmp_path.iterdir()} == {"newton.mp4", "newton.json"}
    head = out.read_bytes()
    assert 0 < head.index(b"moov") < head.index(b"mdat"), "the index comes first, so that it plays while it loads"


def portrait() -> tuple[NDArray[np.uint8], tuple[int, int, int]]:
    """The portrait and its face: left, top and size."""
    photo = read_photo(require_reference() / "faces" / "newton.jpg")
    box = find_faces(HaarDetector(), photo, "newton.jpg").faces[0]
    return photo, (round(box.left), round(box.top), round(box.width))


@pytest.mark.parametrize(("width", "height"), [(3, 2), (2, 3), (1, 1)], ids=["3:2", "2:3", "1:1"])
def test_proportions(engine: Engine, tmp_path: Path, width: int, height: int) -> None:
    """Pictures of other proportions, cut from the portrait around its face."""
    photo, (left, top, size) = portrait()
    unit = min(photo.shape[1] // width, photo.shape[0] // height)
    x = min(max(0, left + size // 2 - unit * width // 2), photo.shape[1] - unit * width)
    y = min(max(0, top + size // 2 - unit * height // 2), photo.shape[0] - unit * height)
    cut = photo[y : y + unit * height, x : x + unit * width]
    Image.fromarray(cut).save(tmp_path / "cut.png")
    check(render(engine, tmp_path / "cut.png", tmp_path / "cut.mp4"))


def test_face_in_a_corner(engine: Engine, tmp_path: Path) -> None:
    """The face fills the upper left corner: the crop reaches beyond the photo, and its border is filled."""
    photo, (left, top, size) = portrait()
    cut = photo[max(0, top - size // 20) :, max(0, left - size // 20) :]
    canvas = np.full((cut.shape[0] + 2 * size, cut.shape[1] + 2 * size, 3), 90, dtype=np.uint8)
    canvas[: cut.shape[0], : cut.shape[1]] = cut
    Image.fromarray(canvas).save(tmp_path / "corner.png")
    result = engine.generate(
        VideoRequest(
            image=tmp_path / "corner.png",
            prompt=PROMPT,
            vertices=require_reference() / "faces" / "newton.ply",
            seed=7,
            num_inference_steps=1,
        )
    )
    box = result.record["face"]["box"]
    assert box["left"] < size / 4 and box["top"] < size / 4
    assert abs(box["width"] - size) < size / 4


def test_everything_that_enters_matters(engine: Engine, tmp_path: Path) -> None:
    """Photo, vertices, prompt and seed each change the frames."""
    newton = require_reference() / "faces" / "newton.jpg"
    vertices = require_reference() / "faces" / "newton.ply"
    photo = read_photo(newton)
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "mirrored.png")
    rows = bytearray(vertices.read_bytes())
    start = rows.index(b"end_header") + len(b"end_header\n")
    moved = np.frombuffer(rows, "<f8", offset=start).copy()
    assert b"double" in rows[:start] and len(moved) >= 3 * 5023
    stride = len(moved) // 5023
    moved[2::stride] *= 0.8
    (tmp_path / "flat.ply").write_bytes(bytes(rows[:start]) + moved.tobytes())

    base = {"image": newton, "prompt": PROMPT, "vertices": vertices, "seed": 7, "num_inference_steps": 1}
    changes = {
        "nothing": {},
        "photo": {"image": tmp_path / "mirrored.png"},
        "vertices": {"vertices": tmp_path / "flat.ply"},
        "prompt": {"prompt": "a woman talks to the camera"},
        "seed": {"seed": 8},
        "guidance": {"guidance_scale": 2.0},
    }
    hashes = {what: engine.generate(VideoRequest(**base | change)).frames_sha256 for what, change in changes.items()}
    assert len(set(hashes.values())) == len(changes), hashes
