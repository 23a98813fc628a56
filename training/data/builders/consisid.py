"""ConsisID-Data: 32 thousand clips of people, from the web, with long captions and tracked faces.

    video_caption_train.json     [{"path": "NAME.mp4", "cap": "The video ...", "fps": 30.0, "duration": 8.13, ...}, ...]
    videos/**/NAME.mp4
    bboxes/**/NAME.json          {"0": {"face": [{"confidence": 0.95, "box": {"x1", "y1", "x2", "y2"},
                                                  "new_track_id": 1}], "head": [...], "person": [...]}, "1": ...}

Also laid out as for ConsisID's own training: `captions/*.json` (or `PART/captions/*.json`), `PART/videos`,
`PART/refine_bbox_jsons`. Masks are not read. As in that training, clips are those with one person: a clip in which
several faces are followed is skipped. `box` is that of the face in the first frame that has one. The data set does not
say who is who.

Source: BestWishYsh/ConsisID-preview-Data on Hugging Face (Yuan et al. 2024), layout of `data_preprocess/README.md` and
`models/dataloader.py` of PKU-YuanGroup/ConsisID. Licence: Apache-2.0 for annotations and collection; the videos were
found on the web and stay their owners'.
"""

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from fantasyid_engine.training.data.builders.entries import (
    Skip,
    files_by_name,
    not_the_data_set,
    read_annotations,
    read_json,
    text_of,
    videos_by_name,
    whole_video,
)
from fantasyid_engine.training.data.manifest import Clip

NAME = "consisid"
_TITLE = "ConsisID-Data"
_CAPTIONS = ("video_caption_train.json", "video_caption.json", "captions/*.json", "*/captions/*.json")
_MASKS = ("masks", "track_masks_data", "eval")
_BOXES = ("bboxes", "refine_bbox_jsons")

Box = tuple[float, float, float, float]


def clips(folder: Path, skip: Skip) -> Iterator[Clip]:
    """See `entries.Builder`."""
    captions = next((found for pattern in _CAPTIONS if (found := sorted(folder.glob(pattern)))), [])
    if not captions:
        raise not_the_data_set(folder, _TITLE, f"it has no {_CAPTIONS[0]} and no captions folder")
    videos = videos_by_name(folder, _TITLE, leave_out=_MASKS)
    boxes = {
        name: path
        for name, path in files_by_name(folder, (".json",), leave_out=_MASKS).items()
        if set(PurePosixPath(path).parts) & set(_BOXES)
    }
    for file in captions:
        entries = read_annotations(file, folder, _TITLE)
        if not isinstance(entries, list):
            raise not_the_data_set(folder, _TITLE, f"{file.name} is no list of clips")
        for number, entry in enumerate(entries):
            named = isinstance(entry, dict) and isinstance(entry.get("path"), str)
            name = PurePosixPath(entry["path"]).name if named else f"{file.name} entry {number}"
            try:
                if not named:
                    raise ValueError("it names no video")
                yield _clip(folder, entry, name.removesuffix(".mp4"), videos, boxes)
            except ValueError as error:
                skip(name, str(error))


def _clip(folder: Path, entry: dict[str, Any], stem: str, videos: dict[str, str], boxes: dict[str, str]) -> Clip:
    prompt = text_of(entry, "cap")
    if f"{stem}.mp4" not in videos:
        raise ValueError("there is no such video")
    box = _first_face(folder / boxes[f"{stem}.json"]) if f"{stem}.json" in boxes else None
    return whole_video(NAME, stem, videos[f"{stem}.mp4"], prompt, box=box)


def _first_face(path: Path) -> Box | None:
    try:
        frames = read_json(path)
        followed = [face for number in sorted(frames, key=int) for face in frames[number].get("face", ())]
        people = {face["new_track_id"] for face in followed}
        box = _box(followed[0]["box"]) if followed else None
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ValueError(f"its faces in {path.name} cannot be read ({type(error).__name__}: {error})") from None
    if len(people) > 1:
        raise ValueError(f"{len(people)} faces are followed in it")
    return box


def _box(corners: dict[str, Any]) -> Box:
    left, top, right, bottom = (float(corners[name]) for name in ("x1", "y1", "x2", "y2"))
    if not all(map(math.isfinite, (left, top, right, bottom))) or right <= left or bottom <= top:
        raise ValueError(f"no box: {left}, {top}, {right}, {bottom}")
    return left, top, right - left, bottom - top
