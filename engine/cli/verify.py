"""`fantasyid-engine verify`: is a video as it was signed, who signed it, and what does it say of its making."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fantasyid_engine.cli.screen import put, say

if TYPE_CHECKING:
    from fantasyid_engine.video.verify import Provenance

TRUST = {
    "trusted": "trusted, by issuer {issuer}",
    "development": "a development certificate, which proves nothing about who made it",
    "unknown": "not trusted: issuer unknown ({issuer})",
}


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A video, a picture, or a folder of PNG pictures.")],
    trust: Annotated[
        Path | None, typer.Option("--trust", metavar="PEM", help="Certificates of issuers that are trusted.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell whether a video is as it was signed, by whom, and what it says of its making.

    Ends with exit code 0 for a file that is signed and intact, whoever signed it; with 65 for any other.

    Example: fantasyid-engine verify out.mp4 --trust company.pem
    """
    from fantasyid_engine.video.verify import read_anchors
    from fantasyid_engine.video.verify import verify as look

    found = look(file, None if trust is None else read_anchors(trust))
    if as_json:
        put(json.dumps({"file": str(file), "intact": True} | asdict(found), indent=1))
        return
    say(f"{file}: intact, as it was signed")
    say(f"signed by {found.signer}: {TRUST[found.trust].format(issuer=found.issuer)}{_expiry(found)}")
    say(f"AI-generated: {'yes' if found.ai_generated else 'it does not say so'}")
    say(f"made by {found.generator or 'an unnamed program'}, model {found.model or 'not named'}, {_when(found)}")
    say(f"frames sha256 {found.frames_sha256 or 'not told'}, seed {'not told' if found.seed is None else found.seed}")
    say(f"consent: {found.consent_ref or 'none named'}")


def _expiry(found: "Provenance") -> str:
    return "; it has expired, and no time stamp tells whether it signed before" if found.expired else ""


def _when(found: "Provenance") -> str:
    return f"at {found.created} by the signer's clock" if found.created else "at no time that is told"
