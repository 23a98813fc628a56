"""OpenVid-1M: a million clips of all kinds with long captions; 0.4 million of them, OpenVidHD, have 1080 lines.

    data/train/OpenVid-1M.csv      or OpenVidHD.csv, or either in the folder itself; columns: video, caption,
                                   aesthetic score, motion score, temporal consistency score, camera motion, frame, fps,
                                   seconds
    video/NAME.mp4                 all zip files unpacked without their folders; or video_folder/

The full list is taken where both are. Most clips show no person; the filters find those that do. `frame` is not taken
for the length of a clip, as it differs from the file's in places.

Source: nkp37/OpenVid-1M on Hugging Face (Nan et al. 2024), layout of NJU-PCALab/OpenVid-1M. Licence: CC-BY-4.0 for
captions and collection; the videos come from Panda-70M, ChronoMagic, Open-Sora-Plan and CelebV-HQ, whose licences,
non-commercial ones among them, hold for them.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from fantasyid_engine.training.data.builders.entries import Skip, not_the_data_set, text_of, videos_by_name, whole_video
from fantasyid_engine.training.data.manifest import Clip

NAME = "openvid"
_TITLE = "OpenVid-1M"
_LISTS = ("data/train/OpenVid-1M.csv", "OpenVid-1M.csv", "data/train/OpenVidHD.csv", "OpenVidHD.csv")
_VIDEOS = ("video", "video_folder")


def clips(folder: Path, skip: Skip) -> Iterator[Clip]:
    """See `entries.Builder`."""
    table = next((folder / name for name in _LISTS if (folder / name).is_file()), None)
    if table is None:
        raise not_the_data_set(folder, _TITLE, f"it has no {_LISTS[0]} or OpenVidHD.csv")
    place = next((name for name in _VIDEOS if (folder / name).is_dir()), None)
    if place is None:
        raise not_the_data_set(folder, _TITLE, f"it has no folder {_VIDEOS[0]} with the videos")
    videos = videos_by_name(folder / place, _TITLE)
    with table.open(encoding="utf-8", errors="replace", newline="") as file:
        rows = csv.DictReader(file)
        if not {"video", "caption"} <= set(rows.fieldnames or ()):
            raise not_the_data_set(folder, _TITLE, f"{table.name} has no columns video and caption")
        for row in _rows(rows, skip):
            name = row.get("video") or f"line {rows.line_num}"
            try:
                if name not in videos:
                    raise ValueError("there is no such video")
                prompt = text_of(row, "caption")
                yield whole_video(NAME, name.removesuffix(".mp4"), f"{place}/{videos[name]}", prompt)
            except ValueError as error:
                skip(name, str(error))


def _rows(rows: "csv.DictReader[str]", skip: Skip) -> Iterator[dict[str, str | None]]:
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            skip(f"line {rows.line_num}", f"it is no row: {error}")
