"""The avatar detector as the face stage uses it; how often it is right is measured in tests/training/avatar."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.avatar import AvatarDetector, find_avatars, overlap
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.models.perception import HeadFinder
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.pictures import heads
from fantasyid_engine.weights.shipped import load_shipped, save_shipped
from tests.face.pictures import avatar, blocks
from tests.goldens import require_reference


def resized(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def on_white(picture: np.ndarray, width: int, height: int, left: int, top: int) -> np.ndarray:
    made = np.full((height, width, 3), 235, np.uint8)
    made[top : top + len(picture), left : left + picture.shape[1]] = picture
    return made


@pytest.mark.parametrize("size", [64, 96, 384])
def test_box_scales_with_the_picture(size: int) -> None:
    (box,) = AvatarDetector().detect(avatar(size))
    (large,) = AvatarDetector().detect(avatar(384))
    scale = 384 / size
    scaled = FaceBox(box.left * scale, box.top * scale, box.width * scale, box.height * scale, None)
    assert overlap(scaled, large) > 0.8
    assert box.confidence is not None and 0.5 <= box.confidence <= 1


@pytest.mark.parametrize(("width", "height", "left", "top"), [(400, 200, 150, 0), (200, 400, 0, 120)])
def test_wide_and_tall_pictures(width: int, height: int, left: int, top: int) -> None:
    (alone,) = AvatarDetector().detect(avatar(200))
    found = find_avatars(on_white(avatar(200), width, height, left, top), "p.png").faces
    moved = FaceBox(alone.left + left, alone.top + top, alone.width, alone.height, None)
    assert overlap(found[0], moved) > 0.7


@pytest.mark.parametrize("person", range(4))
def test_small_heads_are_found(person: int) -> None:
    take = World(seed=0, split="test", people=4).sample(person).reference
    far = replace(take, scene=replace(take.scene, zoom=0.2, shift=(0.2, -0.15)))
    shown = heads([far], 400)
    (box,) = find_avatars(shown.pictures[0], "p.png").faces
    assert overlap(box, shown.boxes[0]) > 0.6


def test_two_people_largest_first() -> None:
    picture = on_white(avatar(220), 420, 240, 0, 10)
    picture[60:220, 240:400] = avatar(160)
    first, second = find_avatars(picture, "p.png").faces
    assert first.width > second.width
    assert first.left < 110 < 240 < second.left + second.width / 2


def test_real_photo_is_named_as_one() -> None:
    with pytest.raises(InputError, match=r"t\.jpg is a real photo, and this model knows avatars") as caught:
        find_avatars(data.astronaut(), "t.jpg")
    assert caught.value.code == "photo_real"


@pytest.mark.reference_data
def test_newton_is_a_real_photo() -> None:
    picture = np.asarray(Image.open(require_reference() / "faces" / "newton.jpg").convert("RGB"))
    with pytest.raises(InputError, match="newton is a real photo"):
        find_avatars(picture, "newton")


def test_nobody() -> None:
    with pytest.raises(InputError, match=r"no face found in n\.png") as caught:
        find_avatars(blocks(120, 90), "n.png")
    assert caught.value.code == "face_not_found"


def test_threads_see_the_same() -> None:
    picture = avatar(150)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: AvatarDetector().detect(picture), range(8)))
    assert all(boxes == found[0] for boxes in found)


def test_overlap() -> None:
    box = FaceBox(0, 0, 10, 10, None)
    assert overlap(box, box) == 1
    assert overlap(box, FaceBox(5, 0, 10, 10, None)) == pytest.approx(1 / 3)
    assert overlap(box, FaceBox(20, 20, 5, 5, None)) == 0


def test_shipped_weights_survive_a_round_trip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network, again = HeadFinder().eval(), HeadFinder()
    save_shipped(tmp_path / "n.safetensors", network)
    monkeypatch.setattr("fantasyid_engine.weights.shipped.files", lambda _: tmp_path)
    load_shipped("n.safetensors", again)
    for (name, one), other in zip(network.state_dict().items(), again.state_dict().values(), strict=True):
        assert np.allclose(one, other, atol=2e-3), name
    assert not any(p.requires_grad for p in again.parameters()) and not again.training


@pytest.mark.parametrize("content", [None, b"", b"no tensors"], ids=["missing", "empty", "damaged"])
def test_broken_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None) -> None:
    from fantasyid_engine.errors import WeightsError

    monkeypatch.setattr("fantasyid_engine.weights.shipped.files", lambda _: tmp_path)
    if content is not None:
        (tmp_path / "n.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=r"n\.safetensors of the package cannot be .*; install the package"):
        load_shipped("n.safetensors", HeadFinder())
