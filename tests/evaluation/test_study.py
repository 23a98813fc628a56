import base64
import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.evaluation import study as module
from fantasyid_engine.evaluation.clips import Clip, Method
from fantasyid_engine.evaluation.references import Reference
from fantasyid_engine.evaluation.study import anonymous_mp4, check_study, key_path, shuffled, write_study
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.write import write_video
from tests.evaluation.stand_ins import GREEN, RED, clip, write_patches, write_reference
from tests.video.pictures import moving, psnr

SECRETS = ("GlowNet", "Baseliner", "holiday", "PortraitOfAnna", "studyroom")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "studyroom"


def methods_of(place: Path) -> list[Method]:
    """Videos that tell their names in every way they can: in their file names and in their metadata."""
    told = {"title": "GlowNet", "comment": json.dumps({"image": str(place / "PortraitOfAnna.png")})}
    for name in ("GlowNet", "Baseliner"):
        write_video(moving(frames=3), place / name / "holiday.mp4", 8, metadata=told)
    write_patches(place / "GlowNet" / "holiday-pictures", [RED, GREEN])
    return [
        Method("GlowNet", (clip(place / "GlowNet" / "holiday.mp4"), clip(place / "GlowNet" / "holiday-pictures"))),
        Method("Baseliner", (clip(place / "Baseliner" / "holiday.mp4"),)),
    ]


def references_of(place: Path) -> tuple[Reference]:
    return (write_reference(place / "PortraitOfAnna.png", RED),)


def embedded(page: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="study">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def test_page_and_key(place: Path) -> None:
    page, seen = place / "page.html", []
    name = write_study(page, methods_of(place), references_of(place), seed=7, on_video=lambda *n: seen.append(n))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    study, key = embedded(page.read_text()), json.loads(key_path(page).read_text())
    assert study["id"] == key["study"] == name
    assert key["seed"] == 7
    items, photos = study["items"], study["photos"]
    assert isinstance(items, list) and isinstance(photos, list)
    assert [item["id"] for item in items] == list(key["items"]) == ["v001", "v002", "v003"]
    assert len(photos) == 1 and all(item["photo"] == 0 for item in items)
    assert sorted(item["method"] for item in key["items"].values()) == ["Baseliner", "GlowNet", "GlowNet"]
    for item in items:
        video = place / "item.mp4"
        video.write_bytes(base64.b64decode(item["video"].partition(",")[2]))
        told = key["items"][item["id"]]
        assert len(read_video(video).frames) == len(read_video(Path(told["video"])).frames)


def test_page_tells_no_names(place: Path) -> None:
    """Neither as text, nor in the bytes of videos and photos in it."""
    page = place / "page.html"
    write_study(page, methods_of(place), references_of(place), seed=1)
    text = page.read_text()
    inside = [base64.b64decode(part) for part in re.findall(r"base64,([A-Za-z0-9+/=]+)", text)]
    assert len(inside) == 4
    original = (place / "GlowNet" / "holiday.mp4").read_bytes()
    for secret in SECRETS:
        assert secret.lower() not in text.lower()
        assert not any(secret.encode() in data for data in inside)
    assert b"GlowNet" in original and b"PortraitOfAnna" in original, "the test's own videos do tell"
    assert all(name in key_path(page).read_text() for name in SECRETS)


def test_order_is_that_of_the_seed(place: Path) -> None:
    (reference,) = references_of(place)
    methods = [
        Method(str(row), tuple(Clip(Path(f"{row}-{n}"), None, None, None) for n in range(8))) for row in range(2)
    ]
    orders = [[item.clip.path for item in shuffled(methods, [reference], seed)] for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    assert orders[0] != sorted(orders[0])


def test_anonymous_video_keeps_pictures_and_rate(tmp_path: Path) -> None:
    frames = moving(frames=4, height=63, width=95)
    write_video(frames, tmp_path / "odd.mov", 12)
    (tmp_path / "made.mp4").write_bytes(anonymous_mp4(clip(tmp_path / "odd.mov")))
    video = read_video(tmp_path / "made.mp4")
    assert (video.fps, video.codec, video.frames.shape) == (Fraction(12), "h264", (4, 62, 94, 3))
    assert psnr(video.frames, frames[:, :62, :94]) > 28
    write_video((frames.astype(np.uint16) * 257), tmp_path / "deep", 8)
    for fps, expected in ((None, 8), (24, 24)):
        (tmp_path / "made.mp4").write_bytes(anonymous_mp4(Clip(tmp_path / "deep", None, None, fps)))
        assert read_video(tmp_path / "made.mp4").fps == expected


def test_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods, references = methods_of(place), references_of(place)
    before = sorted(place.rglob("*"))
    with pytest.raises(OutputError, match=r"page\.txt: a study's page is a \.html file"):
        check_study(place / "page.txt", overwrite=False)
    missing = [*methods, Method("x", (clip(place / "gone.mp4"),))]
    with pytest.raises(InputError, match=r"gone\.mp4"):
        write_study(place / "page.html", missing, references, seed=0)
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    with pytest.raises(InputError, match="name fewer or smaller videos") as caught:
        write_study(place / "page.html", methods, references, seed=0)
    assert caught.value.code == "study_too_large"
    assert sorted(place.rglob("*")) == before


def test_a_key_that_is_there_is_kept(place: Path) -> None:
    place.mkdir()
    key_path(place / "page.html").write_text("{}")
    with pytest.raises(OutputError, match=r"page\.key\.json: it exists already"):
        check_study(place / "page.html", overwrite=False)
    check_study(place / "page.html", overwrite=True)
