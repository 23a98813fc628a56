"""Renders without a model, to save, to edit and to verify."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.result import VideoResult, frames_digest
from fantasyid_engine.video.provenance import SOURCE_TYPES, TINY_PNG, find_signer
from fantasyid_engine.video.verify import verify
from tests.video.pictures import moving
from tests.video.signers import write_signer

FRAMES = moving(3, 32, 48)
DIGEST = frames_digest(FRAMES)
PROMPT = "a secret prompt"


def result(**changes: Any) -> VideoResult:
    record = {
        "request": {"prompt": PROMPT, "image": "/home/anna/secret.png", "consent_ref": "contract 5"},
        "model": {"name": "/home/anna/models/mini"},
        "output": {"frames_sha256": DIGEST},
    }
    return VideoResult(**{"frames": FRAMES, "fps": 8, "seed": 7, "notes": (), "record": record} | changes)


def refused(path: Path, code: str, *says: str) -> str:
    with pytest.raises(InputError) as error:
        verify(path)
    message = str(error.value)
    assert error.value.code == code and message.isprintable() and str(path) in message
    assert all(part in message for part in says), message
    return message


def edited(source: Path, target: Path, relationship: str = "parentOf") -> Path:
    """A picture that another program signed: one that it edited (`parentOf`), or its own, that this went into."""
    from c2pa import Builder, C2paBuilderIntent, C2paSignerInfo, Signer

    editor = find_signer(*write_signer(target.parent, name="Editor")[:2])
    created = {"action": "c2pa.created", "digitalSourceType": f"{SOURCE_TYPES}digitalCapture"}
    manifest: dict[str, Any] = {"claim_generator_info": [{"name": "editor", "version": "2"}]}
    media, taken = source.read_bytes(), None
    if relationship != "parentOf":
        manifest["assertions"] = [{"label": "c2pa.actions.v2", "data": {"actions": [created]}, "created": True}]
        media, taken = TINY_PNG, media
    with (
        Builder(manifest) as builder,
        Signer.from_info(C2paSignerInfo(editor.algorithm, editor.chain, editor.key, None)) as signer,
        target.open("w+b") as file,
    ):
        if taken is None:
            builder.set_intent(C2paBuilderIntent.EDIT)
        else:
            builder.add_ingredient({"title": "x", "relationship": relationship}, "image/png", BytesIO(taken))
        builder.sign(signer, "image/png", BytesIO(media), file)
    return target
