"""`fantasyid-engine faces`: what the detector finds in a photo, and faces to render from without the photo."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from fantasyid_engine.cli.generate import DEFAULT_MODEL, shape_change, which_face
from fantasyid_engine.cli.screen import say

if TYPE_CHECKING:
    from fantasyid_engine.face.detect import FaceBox, Landmarks, Photo
    from fantasyid_engine.models.retinaface import RetinaFace


REAL_MODEL = "fantasyid-5b"
FROM = {
    "request": "those given",
    "photo": "read off the photo",
    "template": "the mesh's template",
    "none": "this model takes none",
}


class PhotoOrCommand(TyperGroup):
    """`faces PHOTO` is `faces list PHOTO`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Puts `list` in front of what names no command."""
        known = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if known or not args else ["list", *args])


faces = typer.Typer(
    cls=PhotoOrCommand,
    no_args_is_help=True,
    help="Find the faces in a photo, or keep one to render from. `faces PHOTO` is `faces list PHOTO`.",
)


@faces.command("list")
def list_command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to look at.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Also write the photo with numbered boxes, a .png or .jpg.")
    ] = None,
    avatars: Annotated[
        bool, typer.Option("--avatars", help="Look for rendered avatars, as avatar-mini does, not for real faces.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="PRESET|DIR", help="Look as this model does; as fantasyid-5b if not given."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it is there.")] = False,
) -> None:
    """List the faces in a photo, the largest first, as `generate --face` counts them.

    Yaw, pitch and roll are positive where a face turns to the photo's right, looks up, leans clockwise; pitch is rough.
    Without RetinaFace's weights OpenCV's cascade looks, which tells neither a probability nor a pose.

    Example: fantasyid-engine faces list family.jpg --out boxes.png
    """
    from fantasyid_engine.face.draw import check_picture, draw_faces, write_picture
    from fantasyid_engine.face.locate import see_faces
    from fantasyid_engine.face.photo import read_photo

    if out is not None:
        check_picture(out, overwrite=overwrite)
    picture = read_photo(photo)
    mode, retinaface = ("avatar", None) if avatars else _looks(model)
    found = see_faces(picture, str(photo), mode, retinaface)
    for number, face in enumerate(found.faces, start=1):
        say(f"face {number}: {_described(face, picture)}")
    say(f"found by {found.detector}, looking at the photo at {found.rung}")
    if out is not None:
        write_picture(draw_faces(picture, found.faces), out)
        say(f"wrote {out}")


@faces.command("encode")
def encode_command(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo of the person.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    model: Annotated[
        str, typer.Option("--model", metavar="PRESET|DIR", help="The model that will render it.")
    ] = DEFAULT_MODEL,
    vertices: Annotated[
        Path | None, typer.Option("--vertices", help="The face's vertices, a .ply as DECA writes it.")
    ] = None,
    face: Annotated[
        str | None, typer.Option("--face", metavar="largest|center|N", help="Which face of the photo.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", metavar="NAME=NUMBER", help="Change the face's shape, in standard deviations."),
    ] = None,
    deca_input: Annotated[
        Literal["face", "released"],
        typer.Option("--deca-input", help="What DECA sees: the face, or the squashed photo as in the release."),
    ] = "face",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Read the face of a photo once, for `generate --face FILE` anywhere else.

    The photo need not travel; for models whose first frame is the photo, the crop of the face is in the file.
    Whoever has the file can make videos of the person: guard it as the photo.

    Example: fantasyid-engine faces encode anna.jpg -o anna.safetensors --model fantasyid-5b
    """
    from fantasyid_engine.engine import Engine
    from fantasyid_engine.face.stored import check_kept, header_of, save_kept
    from fantasyid_engine.request import VideoRequest

    index, kept = which_face(face)
    if kept is not None:
        raise typer.BadParameter(f"--face {face!r} is a file; here it says which face of the photo")
    check_kept(out, overwrite=overwrite)
    request = VideoRequest(
        image=photo,
        prompt="-",
        vertices=vertices,
        face_index=index,
        shape=shape_change(shape or []),
        deca_input=deca_input,
    )
    with Engine.open(model, device=device) as engine:
        data = engine.encode_face(request)
    save_kept(data, out)
    record = header_of(data)["record"]
    found = f"found by {record['detector']} at {record['rung']}" if record["detector"] else "the whole picture"
    say(f"face: {found}; vertices: {FROM[record['vertices']]}")
    say(f"wrote {out}: {len(data) / 1024:.0f} KiB, for {model} only")


def _described(face: "FaceBox", picture: "Photo") -> str:
    words = f"{face.width:.0f} x {face.height:.0f} pixels at left {face.left:.0f}, top {face.top:.0f}"
    if face.confidence is not None and face.confidence <= 1:  # OpenCV's cascade counts windows
        words += f", confidence {face.confidence:.3f}"
    return words if face.landmarks is None else f"{words}, {_pose(face.landmarks, picture)}"


def _pose(landmarks: "Landmarks", picture: "Photo") -> str:
    import numpy as np

    from fantasyid_engine.face.pose import pose_from_landmarks

    try:
        angles = pose_from_landmarks(np.array(landmarks), picture.shape[:2])
    except ValueError:
        return "turned away"
    return "yaw {:+.0f}, pitch {:+.0f}, roll {:+.0f} degrees".format(*np.degrees(angles))


def _looks(model: str | None) -> "tuple[Literal['detect', 'avatar'], RetinaFace | None]":
    """How a model looks for faces, and its RetinaFace, compared with its manifest; None where it has none.

    Raises:
        WeightsError, ConfigError: there is no such model, or its RetinaFace is not what it was.
    """
    from fantasyid_engine.config.presets import MINIATURES, PRESETS
    from fantasyid_engine.config.serialise import read_json_object
    from fantasyid_engine.errors import ConfigError
    from fantasyid_engine.weights.faces import RETINAFACE, read_retinaface
    from fantasyid_engine.weights.folder import model_files
    from fantasyid_engine.weights.home import model_home
    from fantasyid_engine.weights.manifest import verify_files

    if model in MINIATURES:
        return "avatar", None
    folder = Path(model) if model and model not in PRESETS else model_home() / (model or REAL_MODEL)
    if model is None and not folder.is_dir():
        return "detect", None
    values = read_json_object(model_files(folder).config, ConfigError)
    if values.get("render", {}).get("face") == "avatar":
        return "avatar", None
    if (folder / RETINAFACE).is_file():
        verify_files(folder, [folder / RETINAFACE])
    return "detect", read_retinaface(folder)
