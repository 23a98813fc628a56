"""Reading Content Credentials: is a file as it was signed, who signed it, and what does it say of its making.

What a file says is its signer's word, and worth no more than the signer. Of a file that was edited, what the file said
that it was edited from is told as well, and so on back; what other files said that went into it is not. Files are not
trusted: what comes out of one is text and numbers of a known kind and length. Nothing is fetched.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.video.development import NAME
from fantasyid_engine.video.provenance import MADE_BY_MODEL, RENDER, SETTINGS, SOURCE_TYPES

OF_MODELS = {MADE_BY_MODEL, f"{SOURCE_TYPES}compositeWithTrainedAlgorithmicMedia"}
OF_SIGNER = {"signingCredential.untrusted", "signingCredential.expired"}
"""Findings about who signed, that do not touch whether the file is as it was."""
MOST_TEXT = 300
Trust = Literal["trusted", "development", "unknown"]


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a file that is intact says of its making; None is what it does not say.

    Attributes:
        signer: subject of the certificate, its names joined by commas.
        issuer: who issued that.
        trust: by an anchor that was given; or a development certificate, whoever made it; or unknown.
        expired: the certificate has expired since, or before: without a time stamp nobody can tell.
        ai_generated: it says that a model made it, or a part of it.
        generator: the program that made it.
        created: when, by the signer's clock.
        model: which model rendered it.
        seed: of the render's noise.
        frames_sha256: of the frames before they were encoded.
        num_frames: of the render.
        frame: of a picture: which frame of the render, from 0.
        consent_ref: the agreement of the person that is shown.
    """

    signer: str
    issuer: str
    trust: Trust
    expired: bool
    ai_generated: bool
    generator: str | None
    created: str | None
    model: str | None
    seed: int | None
    frames_sha256: str | None
    num_frames: int | None
    frame: int | None
    consent_ref: str | None


def verify(path: Path, anchors: bytes | None = None) -> Provenance:
    """Verifies a file, or a folder of PNG pictures with all frames of one render.

    Args:
        path: .mp4, .mov, .png, or anything else that has Content Credentials; or a folder.
        anchors: certificates of issuers that are trusted, as `read_anchors` gives them.

    Returns:
        Of a folder, what its first picture says.

    Raises:
        InputError: `file_unreadable`; `signature_missing`; `signature_broken`: the file, what it says, or one that it
            was edited from, is not as it was signed, or a folder has not all frames in their order.
    """
    if not path.is_dir():
        return _verify_file(path, anchors)
    pictures = sorted(path.glob("*.png"))
    if not pictures:
        raise InputError("file_unreadable", f"{path} has no PNG pictures; name a video or a folder of frames")
    found = [_verify_file(picture, anchors) for picture in pictures]
    first = found[0]
    renders = {(one.signer, one.trust, one.model, one.frames_sha256, one.num_frames) for one in found}
    if len(renders) > 1 or first.num_frames != len(found) or [one.frame for one in found] != list(range(len(found))):
        raise InputError("signature_broken", f"{path} has not all frames of one render in their order")
    return first


def read_anchors(path: Path) -> bytes:
    """The certificates of a PEM file, for `verify`; raises InputError `trust_unreadable`."""
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return b"".join(one.public_bytes(Encoding.PEM) for one in load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no PEM with certificates"
        raise InputError("trust_unreadable", f"{path} cannot be trusted: {reason}") from None


def _verify_file(path: Path, anchors: bytes | None) -> Provenance:
    store, certificate = _read(path, anchors)
    results = _object(store.get("validation_results"))
    _check_intact(str(path), results)
    subject = _object(certificate.get("subject"))
    return Provenance(
        signer=_names(subject),
        issuer=_names(_object(certificate.get("issuer"))),
        trust=_trust(subject, results.get("activeManifest")),
        expired="signingCredential.expired" in _codes(results.get("activeManifest"), "failure"),
        **_told(_lineage(store, path)),
    )


def _read(path: Path, anchors: bytes | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A file's manifests with what was found wrong or right with them, and who signed the one that counts."""
    from c2pa import C2paError, Context, Reader

    trust = SETTINGS["trust"] | ({} if anchors is None else {"user_anchors": anchors.decode()})
    try:
        if not path.is_file():  # a device might never end
            raise InputError("file_unreadable", f"{path} is no file; name a video or a folder of frames")
        with (
            path.open("rb") as file,
            Context.from_dict(SETTINGS | {"trust": trust}) as context,
            Reader(None, file, context=context) as reader,
        ):
            store = json.loads(reader.json())
            signed = {one["label"]: one for one in json.loads(reader.crjson())["manifests"]}
    except C2paError as error:
        if str(error).startswith("ManifestNotFound"):
            reason = "nobody signed it, or its signature was taken out"
            raise InputError("signature_missing", f"{path} has no Content Credentials: {reason}") from None
        raise InputError("file_unreadable", f"{path} cannot be read: {one_line(str(error))}") from None
    except OSError as error:
        raise InputError("file_unreadable", f"{path} cannot be read: {error.strerror or error}") from None
    signature = _object(signed[store["active_manifest"]].get("signature"))
    return store, _object(signature.get("certificateInfo"))


def _lineage(store: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    """The manifest that counts, that of the file which was edited, that of the one before it, and so on.

    How a file was found when it was opened to be edited stands in the manifest of the edit, and is not found again.
    """
    manifests, label, lineage = dict(store["manifests"]), store["active_manifest"], []
    while manifest := manifests.pop(label, None):
        lineage.append(manifest)
        ingredients = manifest.get("ingredients", [])
        parent = next((one for one in ingredients if one.get("relationship") == "parentOf"), {})
        results = _object(parent.get("validation_results"))
        _check_intact(f"{path} was edited from a file that", results)
        label = parent.get("active_manifest") if results else None
    return lineage


def _check_intact(what: str, results: dict[str, Any]) -> None:
    """Raises InputError `signature_broken` for results that find more than who signed."""
    deltas = [_object(delta).get("validationDeltas") for delta in _list(results.get("ingredientDeltas"))]
    codes = {code for state in (results.get("activeManifest"), *deltas) for code in _codes(state, "failure")}
    broken = sorted(codes - OF_SIGNER)
    if broken:
        changed = any(code.endswith(".mismatch") for code in broken)  # of the file, or of what it says
        how = "was changed after it was signed" if changed else "has credentials that do not hold"
        raise InputError("signature_broken", f"{what} {how}: {', '.join(broken)[:MOST_TEXT]}")


def _trust(subject: dict[str, Any], state: Any) -> Trust:
    if subject.get("CN") == NAME:
        return "development"
    return "trusted" if "signingCredential.trusted" in _codes(state, "success") else "unknown"


def _told(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """What manifests say: of a video that was edited since, what that of its render does."""
    assertions = [one for manifest in manifests for one in manifest.get("assertions", [])]
    said = [(one["label"], _object(one.get("data"))) for one in assertions]
    render = next((data for label, data in said if label == RENDER), {})
    lists = [_list(data.get("actions")) for label, data in said if label.startswith("c2pa.actions")]
    actions = [_object(action) for actions in lists for action in actions]
    created = next((action for action in actions if action.get("action") == "c2pa.created"), {})
    generator = next(map(_object, _list(manifests[0].get("claim_generator_info"))), {})
    names = [_text(generator.get(name)) for name in ("name", "version")]
    return {
        "ai_generated": any(_text(action.get("digitalSourceType")) in OF_MODELS for action in actions),
        "generator": " ".join(name for name in names if name) or None,
        "created": _text(created.get("when")),
        "model": _text(render.get("model")),
        "seed": _number(render.get("seed")),
        "frames_sha256": _text(render.get("frames_sha256")),
        "num_frames": _number(render.get("num_frames")),
        "frame": _number(render.get("frame")),
        "consent_ref": _text(render.get("consent_ref")),
    }


def _codes(state: Any, kind: str) -> set[str]:
    return {code for one in _list(_object(state).get(kind)) if (code := _text(_object(one).get("code")))}


def _names(values: dict[str, Any]) -> str:
    """Common name and organisation, then what else there is."""
    first = sorted(values, key=lambda name: (name != "CN", name != "O", name))
    return ", ".join(text for name in first if (text := _text(values[name])))[:MOST_TEXT] or "nobody"


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value[:MOST_TEXT] if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < 2**64 else None
