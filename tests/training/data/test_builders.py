"""Folders laid out as the data sets are downloaded, with everything that can be wrong in them."""

import json
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.training.data.builders import BUILDERS
from fantasyid_engine.training.data.builders.build import Built, build_manifest
from fantasyid_engine.training.data.builders.celebv_caption import caption
from fantasyid_engine.training.data.builders.entries import files_by_name, safe_key
from fantasyid_engine.training.data.manifest import Clip, read_manifest
from tests.training.data.manifest_clips import refused

CAPTION = "The video features a woman\n  in a blue dress."


def put(folder: Path, path: str, content: Any = b"video") -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def built(name: str, folder: Path) -> tuple[dict[str, Clip], dict[str, str]]:
    made = build_manifest(name, folder)
    clips = read_manifest(folder / "manifest.jsonl")
    assert made.clips == len(clips)
    return {clip.key: clip for clip in clips}, dict(made.skipped)


def seen(*boxes: tuple[int, float, float, float, float], part: str = "face") -> dict[str, Any]:
    """One frame of a ConsisID box file: who, and corners."""
    return {
        part: [
            {"confidence": 0.9, "box": {"x1": a, "y1": b, "x2": c, "y2": d}, "new_track_id": who}
            for who, a, b, c, d in boxes
        ]
    }


def consisid(folder: Path) -> None:
    entries = [
        {"path": "one.mp4", "cap": CAPTION, "fps": 30.0, "duration": 8.1, "resolution": {"height": 940, "width": 720}},
        {"path": "part/no boxes", "cap": "A man."},  # the tools of the data set leave the suffix out
        {"path": "two people.mp4", "cap": "Two."},
        {"path": "gone.mp4", "cap": "Nobody."},
        {"path": "empty.mp4", "cap": "Nothing."},
        {"path": "untold.mp4", "cap": " "},
        {"path": "cut.mp4", "cap": "A man."},
        {"path": "turned.mp4", "cap": "A man."},
        {"path": "../../elsewhere.mp4", "cap": "A man."},
        {"path": "one.mp4", "cap": "Once more."},
        {"cap": "A man."},
        "x",
    ]
    put(folder, "video_caption_train.json", entries)
    for name in ("one", "no boxes", "two people", "untold", "cut", "turned"):
        put(folder, f"videos/{name}.mp4")
    put(folder, "videos/empty.mp4", b"")
    put(folder.parent, "elsewhere.mp4")
    one = {"10": seen((1, 9, 9, 10, 10)), "2": seen((1, 30.5, 20, 60.5, 70)), "0": seen((1, 0, 0, 99, 99), part="head")}
    put(folder, "bboxes/one.json", one)
    put(folder, "bboxes/two people.json", {"0": seen((1, 0, 0, 9, 9)), "1": seen((2, 0, 0, 9, 9))})
    put(folder, "bboxes/cut.json", b'{"0": {"fa')
    put(folder, "bboxes/turned.json", {"0": seen((1, 60, 20, 30, 70))})
    put(folder, "masks/one/deep/one.mp4")


def test_consisid(tmp_path: Path) -> None:
    consisid(tmp_path / "data")
    clips, skipped = built("consisid", tmp_path / "data")
    first, second = clips.values()
    assert first == Clip(
        key="consisid-one",
        video="videos/one.mp4",
        start=0,
        frames=None,
        prompt="The video features a woman in a blue dress.",
        person="consisid-one",
        source="consisid",
        box=(30.5, 20.0, 30.0, 50.0),
    )
    assert second.video == "videos/no boxes.mp4" and second.box is None
    assert skipped == {
        "two people.mp4": "2 faces are followed in it",
        "gone.mp4": "there is no such video",
        "empty.mp4": "there is no such video",
        "untold.mp4": "it has no cap",
        "cut.mp4": skipped["cut.mp4"],
        "turned.mp4": skipped["turned.mp4"],
        "elsewhere.mp4": "there is no such video",
        "videos/one.mp4": "it is listed twice",
        "video_caption_train.json entry 10": "it names no video",
        "video_caption_train.json entry 11": "it names no video",
    }
    assert "cut.json cannot be read" in skipped["cut.mp4"]
    assert "no box: 60.0" in skipped["turned.mp4"]


@pytest.mark.parametrize("captions", ["captions/part_1.json", "part_1/captions/part_1_captions.json"])
def test_consisid_as_its_training_has_it(captions: str, tmp_path: Path) -> None:
    put(tmp_path, captions, [{"path": "a.mp4", "cap": "A man."}])
    put(tmp_path, "part_1/videos/a.mp4")
    put(tmp_path, "part_1/refine_bbox_jsons/a.json", {"0": seen((1, 1, 2, 4, 6))})
    put(tmp_path, "part_1/track_masks_data/a/valid_frame.json", {})
    clips, skipped = built("consisid", tmp_path)
    assert [(clip.video, clip.box) for clip in clips.values()] == [("part_1/videos/a.mp4", (1.0, 2.0, 3.0, 4.0))]
    assert not skipped


def celebv_hq(folder: Path) -> None:
    meta = {"appearance_mapping": ["blurry", "male", "young", "wavy_hair"], "action_mapping": ["talk", "smile"]}

    def entry(appearance: list[int], action: list[int], labels: Any) -> dict[str, Any]:
        emotion = {"sep_flag": not isinstance(labels, str), "labels": labels}
        return {
            "ytb_id": "M2Ohb0FAaJU",
            "duration": {"start_sec": 81.62, "end_sec": 86.17},
            "bbox": {"top": 0.0, "bottom": 0.8815, "left": 0.1964, "right": 0.6922},
            "attributes": {"appearance": appearance, "action": action, "emotion": emotion},
            "version": "v0.1",
        }

    parts = [
        {"emotion": "neutral", "start_sec": 0, "end_sec": 0.28},
        {"emotion": "happy", "start_sec": 1, "end_sec": 3},
    ]
    clips = {
        "M2Ohb0FAaJU_1": entry([0, 0, 1, 1], [1, 1], "neutral"),
        "_0tf2n3rlJU_0": entry([1, 1, 0, 0], [0, 0], parts),
        "gone": entry([1, 1, 0, 0], [0, 0], "fear"),
        "raw": entry([1, 1, 0, 0], [0, 0], "fear"),
        "short": entry([1, 1], [0, 0], "fear"),
        "bare": {"ytb_id": "x"},
        "none": None,
    }
    put(folder, "celebvhq_info.json", {"meta_info": meta, "clips": clips})
    for name in ("M2Ohb0FAaJU_1", "_0tf2n3rlJU_0", "short", "bare", "none"):
        put(folder, f"downloaded_celebvhq/processed/{name}.mp4")
    put(folder, "downloaded_celebvhq/raw/raw.mp4")


def test_celebv_hq(tmp_path: Path) -> None:
    celebv_hq(tmp_path)
    clips, skipped = built("celebv-hq", tmp_path)
    assert {key: clip.prompt for key, clip in clips.items()} == {
        "celebv-hq-M2Ohb0FAaJU_1": "A young woman with wavy hair is smiling and talking. She looks neutral.",
        "celebv-hq-_0tf2n3rlJU_0": "A man is facing the camera. He looks neutral, then happy.",
    }
    first = clips["celebv-hq-M2Ohb0FAaJU_1"]
    assert (first.video, first.box) == ("downloaded_celebvhq/processed/M2Ohb0FAaJU_1.mp4", None)
    assert list(skipped) == ["gone", "raw", "short", "bare", "none"]
    assert skipped["gone"] == skipped["raw"] == "there is no such video"
    assert all("attributes cannot be read" in skipped[name] for name in ("short", "bare", "none"))


def test_caption_says_all_there_is() -> None:
    looks = {"male", "chubby", "bald", "long_hair", "gray_hair", "mustache", "eyeglasses", "wearing_hat", "no_beard"}
    assert caption(looks, {"talk", "nod", "play_instrument", "unheard_of"}, ["anger", "anger", "?", "fear"]) == (
        "A chubby man with long gray hair, a bald head and a mustache, wearing eyeglasses and a hat, is nodding, "
        "playing an instrument and talking. He looks angry, then afraid."
    )
    assert caption(set(), set(), []) == "A woman is facing the camera."


COLUMNS = "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
TAIL = ",5.4,1.5,0.99,static,241,29.97,8.04\n"


def openvid(folder: Path, table: str = "data/train/OpenVid-1M.csv", place: str = "video") -> None:
    rows = [
        COLUMNS,
        f'---_iRTHryQ_13_0to241.mp4,"A man, in a ""living"" room,\nis talking."{TAIL}',
        f"gone.mp4,A man.{TAIL}",
        f"untold.mp4,{TAIL}",
        "short.mp4\n",
        f'long.mp4,"{"a" * 200_000}"{TAIL}',
        f"../secret.mp4,A man.{TAIL}",
        f"caf\u00e9.mp4,A man \ufffd.{TAIL}",
    ]
    put(folder, table, "".join(rows).encode().replace("\ufffd".encode(), b"\xff"))
    for name in ("---_iRTHryQ_13_0to241", "untold", "short", "long", "caf\u00e9"):
        put(folder, f"{place}/{name}.mp4")
    put(folder, "secret.mp4")


@pytest.mark.parametrize("place", ["video", "video_folder"])
@pytest.mark.parametrize("table", ["data/train/OpenVid-1M.csv", "OpenVidHD.csv"])
def test_openvid(table: str, place: str, tmp_path: Path) -> None:
    openvid(tmp_path, table, place)
    clips, skipped = built("openvid", tmp_path)
    first, second = clips.values()
    assert first.key == "openvid----_iRTHryQ_13_0to241" and first.frames is None
    assert (first.video, first.prompt) == (
        f"{place}/---_iRTHryQ_13_0to241.mp4",
        'A man, in a "living" room, is talking.',
    )
    assert second.video == f"{place}/caf\u00e9.mp4" and second.prompt == "A man \ufffd."
    assert [name for name, reason in skipped.items() if reason == "there is no such video"] == [
        "gone.mp4",
        "../secret.mp4",
    ]
    assert skipped["untold.mp4"] == skipped["short.mp4"] == "it has no caption"
    assert len(skipped) == 5 and any("field larger" in reason for reason in skipped.values())


def test_openvid_takes_the_full_list(tmp_path: Path) -> None:
    openvid(tmp_path)
    put(tmp_path, "OpenVidHD.csv", COLUMNS.encode())
    assert len(built("openvid", tmp_path)[0]) == 2


@pytest.mark.parametrize("name", BUILDERS)
def test_not_the_data_set(name: str, tmp_path: Path) -> None:
    put(tmp_path, "holiday.mp4")
    refused("dataset_invalid", str(tmp_path), build_manifest, name, tmp_path)
    gone = tmp_path / "gone"
    assert "there is no such folder" in refused("dataset_invalid", "gone", build_manifest, name, gone)
    assert not gone.exists() and not (tmp_path / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        *(("consisid", "video_caption_train.json", content) for content in (b"[", b"\xff", b"[" * 10**5, {"a": 1})),
        *(("celebv-hq", "celebvhq_info.json", content) for content in (b"", [], {"clips": {}}, {"clips": 3})),
        *(("openvid", "OpenVid-1M.csv", content) for content in (b"", b"\0\0", b"name,text\na,b\n")),
    ],
)
def test_damaged_annotations(name: str, file: str, content: Any, tmp_path: Path) -> None:
    put(tmp_path, file, content)
    put(tmp_path, "video/a.mp4")
    assert Path(file).name in refused("dataset_invalid", str(tmp_path), build_manifest, name, tmp_path)


@pytest.mark.parametrize(("name", "lay_out"), [("consisid", consisid), ("celebv-hq", celebv_hq), ("openvid", openvid)])
def test_not_unpacked(name: str, lay_out: Any, tmp_path: Path) -> None:
    lay_out(tmp_path / "data")
    for video in (tmp_path / "data").rglob("*.mp4"):
        video.unlink()
    assert "it holds no videos" in refused("dataset_invalid", "data", build_manifest, name, tmp_path / "data")


def test_unknown_data_set(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data set is 'OpenVid'; it must be one of consisid, celebv-hq, openvid"):
        build_manifest("OpenVid", tmp_path)


def test_links_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "b.mp4")
    put(tmp_path, "c.MP4")
    assert files_by_name(tmp_path, (".mp4",)) == {"c.MP4": "c.MP4"}


def test_keys_stay_apart() -> None:
    names = ["a b", "a_b", "a/b", "\u00e9", "e", "a" * 300, "a" * 301]
    keys = [safe_key("openvid", name) for name in names]
    assert len(set(keys)) == len(names) and keys[1] == "openvid-a_b"
    assert max(map(len, keys)) <= 200


def test_names_cannot_forge_lines(tmp_path: Path) -> None:
    put(tmp_path, "video_caption_train.json", [{"path": "a\nb\x1b[2J.mp4", "cap": "x"}])
    put(tmp_path, "videos/b.mp4")
    seen_by_callback: list[int] = []
    assert build_manifest("consisid", tmp_path, on_clip=seen_by_callback.append) == Built(
        clips=0, skipped=((r"a\nb\x1b[2J.mp4", "there is no such video"),)
    )
    assert not seen_by_callback
