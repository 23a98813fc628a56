"""The sidecar: a JSON file beside a video with everything that it takes to render it again.

out.mp4 -> out.json        pictures/ -> pictures.json
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fantasyid_engine.atomic import try_to_create
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import InputError, OutputError, WeightsError
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.runtime.plan import ExecutionPlan
from fantasyid_engine.weights.faces import digests_that_matter
from fantasyid_engine.weights.manifest import sha256

FORMAT = "fantasyid-render-1"


@dataclass(frozen=True, slots=True)
class Inputs:
    """SHA-256 of the bytes of the photo and of the vertex file that a face was read from; of a kept face's file."""

    image_sha256: str
    vertices_sha256: str | None
    face_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class ModelUsed:
    """Which model it was: preset or folder, and SHA-256 of its files."""

    name: str
    weights: dict[str, str]


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a render is made again from; the request has every setting resolved."""

    request: VideoRequest
    plan: ExecutionPlan
    inputs: Inputs
    model: ModelUsed

    def changed(self, changes: dict[str, Any]) -> VideoRequest:
        """The request with other settings; with another face of the photo it names no consent but that of `changes`."""
        is_other = changes.get("face_index", self.request.face_index) != self.request.face_index
        return replace(self.request, **({"consent_ref": None} | changes if is_other else changes))

    def check_weights(self, digests: Mapping[str, str]) -> None:
        """Raises WeightsError unless a model's digests are those recorded: other weights make other frames.

        Networks that took no part, as those that read photos where a face was kept, may be others, or missing.
        """
        how = {"kept": self.request.face is not None, "given": self.request.vertices is not None}
        ours, recorded = (digests_that_matter(of, **how) for of in (digests, self.model.weights))
        if ours != recorded:
            raise WeightsError(
                f"the weights of {self.model.name} are not those that the video was rendered with; "
                "name the model with --model to render with these"
            )


def sidecar_path(path: Path) -> Path:
    """Where the sidecar of a video is."""
    return path.with_suffix(".json")


def check_place(path: Path) -> None:
    """Refuses a place that cannot be written, or has a file that is no sidecar; raises OutputError."""
    try:
        try_to_create(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name another video") from None
    if path.exists() and _format(path) != FORMAT:
        raise OutputError(f"cannot write {path}: a file that is no sidecar has this name; name another video")


def _format(path: Path) -> Any:
    try:
        return read_json_object(path, OutputError).get("format")
    except OutputError:
        return None


def record_text(record: dict[str, Any]) -> str:
    """A record as JSON."""
    return json.dumps(record, indent=1, ensure_ascii=False)


def read_sidecar(
    path: Path, *, image: Path | None = None, face: Path | None = None, vertices: Path | None = None
) -> Sidecar:
    """Reads the sidecar of a video.

    Args:
        path: the sidecar.
        image: the photo, where it is not where it was, or was not a file.
        face: likewise the file of a face that was kept.
        vertices: likewise the vertex file.

    Returns:
        What was recorded. With another photo, face or vertices its request names no consent.

    Raises:
        InputError: `sidecar_unreadable`: missing, no sidecar, or values that no render has; `input_changed`: an input
            is gone or has not the same bytes; what `VideoRequest` raises.
    """
    values = read_json_object(path, _Unreadable)
    if values.get("format") != FORMAT:
        raise _Unreadable(f"{path} is no sidecar of a render: its format is not {FORMAT}")
    request, inputs = values.get("request"), values.get("inputs")
    named = {"image": image, "face": face, "vertices": vertices}
    given = {name: file for name, file in named.items() if file is not None}
    if isinstance(request, dict) and isinstance(inputs, dict):
        _make_room(request, inputs, given.keys(), path)
    try:
        sidecar = TypeAdapter(Sidecar).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise _Unreadable(f"{path} is no sidecar of a render: {place}: {first['msg']}") from None
    request, recorded = sidecar.request, sidecar.inputs
    for source, instead, digest in (
        (request.image, image, recorded.image_sha256),
        (request.face, face, recorded.face_sha256),
        (request.vertices, vertices, recorded.vertices_sha256),
    ):
        if instead is None and isinstance(source, str):
            _check_unchanged(Path(source), digest)
    request = replace(request, **{name: str(file) for name, file in given.items()})
    # Of the photo of a face that was kept nobody knows any more which face it was.
    photo = recorded.image_sha256 if recorded.face_sha256 is None else None
    pairs = (image, photo), (face, recorded.face_sha256), (vertices, recorded.vertices_sha256)
    if not all(_is_same(*pair) for pair in pairs):
        request = replace(request, consent_ref=None)  # of another person
    return replace(sidecar, request=request)


def _make_room(request: dict[str, Any], inputs: dict[str, Any], given: Collection[str], path: Path) -> None:
    """Makes room in a recorded request for the inputs that are given instead, and refuses one that lacks an input."""
    if "face" in given:
        request |= {"image": None, "vertices": None, "face_index": None, "shape": None, "deca_input": "face"}
    elif "image" in given:
        request["face"] = None
    request |= dict.fromkeys(given, "given instead")
    what = "face" if inputs.get("face_sha256") is not None else "photo"
    if request.get("image") is None and request.get("face") is None:
        option = "--face" if what == "face" else "--image"
        raise InputError("image_missing", f"{path} does not name its {what}, which was given as bytes; pass {option}")
    if request.get("face") is None and inputs.get("vertices_sha256") is not None and request.get("vertices") is None:
        reason = "does not name its vertices, which were given as bytes"
        raise InputError("vertices_missing", f"{path} {reason}; pass --vertices")


def _is_same(given: Path | None, digest: str | None) -> bool:
    """Whether no file is given instead, or one with the bytes that were recorded."""
    try:
        return given is None or (given.is_file() and sha256(given) == digest)
    except (OSError, ValueError):
        return False


def _check_unchanged(path: Path, digest: str | None) -> None:
    try:
        changed = (path.exists() and not path.is_file()) or sha256(path) != digest  # a device might never end
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError("input_changed", f"{path} cannot be read again: {reason}; name the file") from None
    if changed:
        raise InputError("input_changed", f"{path} is not the file that the video was rendered from; name that one")


class _Unreadable(InputError):
    def __init__(self, message: str) -> None:
        super().__init__("sidecar_unreadable", message)
