"""CelebV-HQ: 36 thousand clips of well-known faces, with 83 attributes set by hand.

    celebvhq_info.json         {"meta_info": {"appearance_mapping": ["blurry", "male", ...],
                                              "action_mapping": ["blow", ...]},
                                "clips": {"M2Ohb0FAaJU_1": {"ytb_id": ..., "duration": ..., "bbox": ...,
                                    "attributes": {"appearance": [0, 1, ...], "action": [0, ...],
                                        "emotion": {"sep_flag": false, "labels": "neutral"}}}}}
    **/M2Ohb0FAaJU_1.mp4       clips cut and cropped by the data set's `download_and_process.py`; not those in `raw/`

With `sep_flag`, `labels` is a list of {"emotion", "start_sec", "end_sec"}. The crop is a square about `bbox`, so there
is no box to keep. Captions are put together from the attributes (`celebv_caption`), as the data set has none: those of
CelebV-Text belong to other clips. 15,653 people are in it, but the file does not say who.

Source: CelebV-HQ/CelebV-HQ on GitHub (Zhu et al. 2022). Licence: non-commercial research only, no copies to others;
the videos are their owners'.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fantasyid_engine.training.data.builders.celebv_caption import caption
from fantasyid_engine.training.data.builders.entries import (
    Skip,
    not_the_data_set,
    read_annotations,
    videos_by_name,
    whole_video,
)
from fantasyid_engine.training.data.manifest import Clip

NAME = "celebv-hq"
_TITLE = "CelebV-HQ"
_FILE = "celebvhq_info.json"


def clips(folder: Path, skip: Skip) -> Iterator[Clip]:
    """See `entries.Builder`."""
    if not (folder / _FILE).is_file():
        raise not_the_data_set(folder, _TITLE, f"it has no {_FILE}")
    info = read_annotations(folder / _FILE, folder, _TITLE)
    try:
        entries = dict(info["clips"])
        names = [list(map(str, info["meta_info"][f"{kind}_mapping"])) for kind in ("appearance", "action")]
    except (KeyError, TypeError, ValueError):
        raise not_the_data_set(folder, _TITLE, f"{_FILE} has no clips and meta_info as it should") from None
    videos = videos_by_name(folder, _TITLE, leave_out=("raw",))
    for name, entry in entries.items():
        try:
            if f"{name}.mp4" not in videos:
                raise ValueError("there is no such video")
            yield whole_video(NAME, name, videos[f"{name}.mp4"], _prompt(entry, *names))
        except ValueError as error:
            skip(name, str(error))


def _prompt(entry: Any, appearances: list[str], actions: list[str]) -> str:
    try:
        attributes = entry["attributes"]
        looks = {name for name, on in zip(appearances, attributes["appearance"], strict=True) if on}
        does = {name for name, on in zip(actions, attributes["action"], strict=True) if on}
        labels = attributes["emotion"]["labels"]
        feels = [labels] if isinstance(labels, str) else [str(part["emotion"]) for part in labels]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"its attributes cannot be read ({type(error).__name__}: {error})") from None
    return caption(looks, does, feels)
