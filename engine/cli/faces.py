"""`fantasyid-engine faces`: what the detector finds in a photo."""

from pathlib import Path
from typing import Annotated

import typer

from fantasyid_engine.cli.screen import say


def faces(
    photo: Annotated[Path, typer.Argument(metavar="PHOTO", help="The photo to look at.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write the photo with numbered boxes, a .png or .jpg.")
    ] = None,
    avatars: Annotated[
        bool, typer.Option("--avatars", help="Look for rendered avatars, as avatar-mini does, not for real faces.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the picture if it is there.")] = False,
) -> None:
    """List the faces in a photo, the largest first, as `generate --face` counts them.

    Example: fantasyid-engine faces family.jpg --out boxes.png
    """
    from fantasyid_engine.face.avatar import find_avatars
    from fantasyid_engine.face.detect import HaarDetector, find_faces
    from fantasyid_engine.face.draw import check_picture, draw_faces, write_picture
    from fantasyid_engine.face.photo import read_photo

    if out is not None:
        check_picture(out, overwrite=overwrite)
    picture = read_photo(photo)
    found = find_avatars(picture, str(photo)) if avatars else find_faces(HaarDetector(), picture, str(photo))
    for number, face in enumerate(found, start=1):
        say(f"face {number}: {face.width:.0f} x {face.height:.0f} pixels at left {face.left:.0f}, top {face.top:.0f}")
    if out is not None:
        write_picture(draw_faces(picture, found), out)
        say(f"wrote {out}")
