"""Clips of real people -> training samples: frames, a multi-view collection, and vertices that were made beforehand.

    video -> its first frames, at the model's size ----------------------------> frames
          -> frames all over the clip, as large as they are -> faces -> `views` -> views
    KEY.ply (DECA makes them, of one frame of the clip) -----------------------> vertices

What cannot be used falls out, with the reason.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.detect import MIN_FACE
from fantasyid_engine.face.vertices import read_vertices
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.training.data.faces import FaceFinder
from fantasyid_engine.training.data.frames import read_clip_frames, sample_frames
from fantasyid_engine.training.data.manifest import Clip, read_manifest, video_path
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.views import LEAST_CONFIDENCE, VIEWS, Views, collect_views

LOOKED_AT = 24
"""Frames of a clip that are searched for faces, evenly spaced from its first to its last."""


def prepare_samples(
    manifest: Path,
    vertices: Path,
    finder: FaceFinder,
    *,
    num_frames: int,
    size: tuple[int, int],
    view_size: int,
    hierarchy: MeshHierarchy,
    views: int = VIEWS,
    stride: int = 1,
    on_fall_out: Callable[[Clip, str], None] = lambda clip, reason: None,
) -> Iterator[TrainingSample]:
    """The samples of a manifest's clips, in its order.

    Args:
        manifest: beside its videos.
        vertices: folder with a file KEY.ply a clip.
        finder: finds faces with landmarks, in the order of `pose.ADULT_FACE`.
        num_frames: that a sample has; longer clips are cut.
        size: height and width of its frames in pixels; the middle of larger ones is kept.
        view_size: side of the face crops, as the tower takes them.
        hierarchy: the mesh whose vertices they are.
        views: most different views that are kept.
        stride: of so many frames of the video one is taken; 3 makes 24 a second the 8 that the base was trained on.
        on_fall_out: hears of each clip that cannot be used, and why.

    Raises:
        InputError: `manifest_invalid`.
        ValueError: `num_frames` or `stride` is below 1.
    """
    if min(num_frames, stride) < 1:
        raise ValueError(f"prepare_samples: {num_frames=} and {stride=} must be at least 1")
    for clip in read_manifest(manifest):
        try:
            vertices_V3 = read_vertices(vertices / f"{clip.key}.ply", hierarchy)
            frames_F3HW = _frames(manifest.parent, clip, num_frames, stride, size)
            collection = _views(manifest.parent, clip, finder, view_size, views)
        except InputError as error:
            on_fall_out(clip, str(error))
            continue
        yield TrainingSample(
            key=clip.key,
            person=clip.person,
            prompt=clip.prompt,
            views=collection.pictures,
            view_poses=collection.poses,
            vertices=vertices_V3,
            frames=frames_F3HW,
        )


def _frames(root: Path, clip: Clip, num_frames: int, stride: int, size: tuple[int, int]) -> Tensor:
    length = (num_frames - 1) * stride + 1
    if clip.frames is not None and clip.frames < length:
        raise InputError("clip_too_short", f"it has {clip.frames} frames; {length} are needed")
    frames_FHW3 = read_clip_frames(video_path(root, clip), clip.start, length, size)[::stride]
    return torch.from_numpy(frames_FHW3).permute(0, 3, 1, 2).contiguous()


def _views(root: Path, clip: Clip, finder: FaceFinder, view_size: int, views: int) -> Views:
    frames_NHW3 = sample_frames(video_path(root, clip), clip.start, clip.frames, LOOKED_AT)
    collection = collect_views(frames_NHW3, finder, view_size=view_size, count=views)
    if collection is None:
        reason = f"no face of confidence {LEAST_CONFIDENCE:g} and {MIN_FACE} pixels in its frames ({finder.name})"
        raise InputError("face_not_found", reason)
    return collection
