"""A user study on one page: videos without names in random order, four ratings each.

Every video is decoded and encoded anew, all alike, and photos are too: neither the page nor the bytes in it hold a
name, a path or the record that renders carry. Which video is which is in the key beside the page.

    page.html -> page.key.json

Source of the four questions: paper, section 4.2 and Table 1.
"""

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import InputError, OutputError, one_line
from fantasyid_engine.evaluation.clips import Clip, Method
from fantasyid_engine.evaluation.frames import eight_bits
from fantasyid_engine.evaluation.outputs import check_folder, write_files
from fantasyid_engine.evaluation.pages import page
from fantasyid_engine.evaluation.pictures import data_uri, picture_uri
from fantasyid_engine.evaluation.references import Reference, pair
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.write import write_video

KEY_FORMAT = "fantasyid-study-1"
ANSWERS_FORMAT = "fantasyid-answers-1"
PHOTO_SIDE = 512
DEFAULT_FPS = 8
"""Of folders of pictures whose sidecar tells no other."""
MOST_BYTES = 384 << 20
"""A page beyond this does not open in browsers."""


@dataclass(frozen=True, slots=True)
class Question:
    """One rating: the column of Table 1, what raters read, and what it means."""

    code: str
    title: str
    meaning: str


QUESTIONS = (
    Question("OQ", "Overall quality", "How good is the video as a whole? Think of sharpness, flicker and odd shapes."),
    Question("F-Sim", "Face similarity", "How much is this the person in the photo?"),
    Question("F-Str", "Facial structure", "Do eyes, nose, mouth and outline keep a plausible shape while they move?"),
    Question("FD", "Facial dynamics", "How lively and natural are expression and movement of the face?"),
)


@dataclass(frozen=True, slots=True)
class Item:
    """One video of a study; `id` tells nothing of it."""

    id: str
    method: str
    clip: Clip
    reference: Reference


def key_path(page: Path) -> Path:
    """Where the key of a study's page is."""
    return page.with_suffix(".key.json")


def check_study(page: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a page or key that could not be written.

    Raises:
        OutputError: the page is no .html, something is there already, or the place is not writable.
    """
    if page.suffix.lower() != ".html":
        raise OutputError(f"cannot write {page}: a study's page is a .html file; name one")
    check_folder(page.parent, (page.name, key_path(page).name), overwrite=overwrite)


def shuffled(methods: Sequence[Method], references: Sequence[Reference], seed: int) -> tuple[Item, ...]:
    """All videos in the order that a seed gives, with ids that say no more than that order.

    Raises:
        InputError: see `pair`.
    """
    pairs = [(method.name, clip, pair(clip, references)) for method in methods for clip in method.clips]
    random.Random(seed).shuffle(pairs)
    return tuple(Item(f"v{number:03d}", *row) for number, row in enumerate(pairs, start=1))


def write_study(
    path: Path,
    methods: Sequence[Method],
    references: Sequence[Reference],
    *,
    seed: int,
    on_video: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Writes page and key, both or neither.

    Args:
        path: the page, a .html.
        methods: the rows whose videos are rated.
        references: photos of the people in them.
        seed: of the order, and of the study's id.
        on_video: progress, with the number done and of all.

    Returns:
        The study's id.

    Raises:
        InputError: a video has no reference or cannot be read; `study_too_large`.
        OutputError: a file cannot be written.
    """
    items = shuffled(methods, references, seed)
    study = f"{random.Random(f'study {seed}').getrandbits(48):012x}"
    photos = list({id(item.reference): item.reference for item in items}.values())
    videos, size = [], 0
    for done, item in enumerate(items, start=1):
        uri = data_uri(anonymous_mp4(item.clip), "video/mp4")
        size += len(uri)
        if size > MOST_BYTES:
            raise InputError(
                "study_too_large",
                f"cannot write {path}: {done} of {len(items)} videos have {size >> 20} MiB already, and browsers open "
                f"{MOST_BYTES >> 20}; name fewer or smaller videos",
            )
        videos.append({"id": item.id, "video": uri, "photo": photos.index(item.reference)})
        on_video(done, len(items))
    text = page(
        "study.html.jinja",
        study={
            "id": study,
            "format": ANSWERS_FORMAT,
            "items": videos,
            "photos": [picture_uri(photo.picture, PHOTO_SIDE) for photo in photos],
            "questions": [{"code": q.code, "title": q.title, "meaning": q.meaning} for q in QUESTIONS],
        },
    )
    write_files({path: text, key_path(path): key_text(study, seed, items)})
    return study


def key_text(study: str, seed: int, items: Sequence[Item]) -> str:
    """The key as JSON: method, video and photo of each item."""
    rows = {
        item.id: {
            "method": item.method,
            "video": one_line(str(item.clip.path.absolute())),
            "reference": one_line(str(item.reference.path.absolute())),
        }
        for item in items
    }
    return json.dumps({"format": KEY_FORMAT, "study": study, "seed": seed, "items": rows}, indent=1) + "\n"


def anonymous_mp4(clip: Clip) -> bytes:
    """A video as H.264 without metadata; an odd last row or column is left out, as the format wants even sizes.

    Raises:
        InputError: it cannot be read.
    """
    video = read_video(clip.path)
    fps = clip.fps or (DEFAULT_FPS if video.fps is None else max(1, round(video.fps)))
    with tempfile.TemporaryDirectory(prefix="fantasyid-study-") as folder:
        path = Path(folder) / "video.mp4"
        write_video(_even(eight_bits(video.frames)), path, fps)
        return path.read_bytes()


def _even(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    _, height, width, _ = frames.shape
    return frames[:, : height // 2 * 2 or 1, : width // 2 * 2 or 1]
