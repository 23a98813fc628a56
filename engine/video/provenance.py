"""Content Credentials (C2PA 2): what a video says of its making, signed, inside the file.

    c2pa.actions.v2         c2pa.created, of digital source type trainedAlgorithmicMedia: a model made every pixel
    org.fantasyid.render    model, seed, SHA-256 and number of the frames, consent_ref; of a picture, which frame it is
    c2pa.hash.*             SHA-256 of the file without the credentials, put in by the library

No prompt and no photo, nor hashes of them. Nothing is fetched: no time stamps, no remote manifests, no lists of revoked
certificates. All of it happens in memory; who writes the bytes sees to it that the file is whole.
Source: C2PA Technical Specification 2.4; the library is the reference implementation.
"""

import io
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fantasyid_engine import __version__
from fantasyid_engine.errors import ConfigError, WriteError, one_line
from fantasyid_engine.video.certificates import ADVICE, Signer, read_signer
from fantasyid_engine.video.development import development_signer

GENERATOR = {"name": "fantasyid-engine", "version": __version__}
RENDER = "org.fantasyid.render"
SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
MADE_BY_MODEL = f"{SOURCE_TYPES}trainedAlgorithmicMedia"
KINDS = {".mp4": "video/mp4", ".mov": "video/quicktime", ".png": "image/png"}
PURPOSES = ("1.3.6.1.5.5.7.3.4", "1.3.6.1.5.5.7.3.36", "1.3.6.1.4.1.62558.2.1")
"""What a signer's certificate may be for, one of: e-mail protection, document signing, C2PA claim signing."""
SETTINGS = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
    "builder": {"thumbnail": {"enabled": False}},
    "trust": {"trust_config": "\n".join(PURPOSES)},
}
TINY_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010800000000"
    "3a7e9b550000000a4944415478da6360000000020001"
    "e527defc0000000049454e44ae426082"
)
"""One black pixel."""


@dataclass(frozen=True, slots=True)
class Render:
    """What is said of a render; `consent_ref` names the agreement of the person that is shown."""

    model: str
    seed: int
    num_frames: int
    frames_sha256: str
    consent_ref: str | None


@dataclass(frozen=True, slots=True)
class Seal:
    """Signs the files of one render."""

    signer: Signer
    render: Render

    def __call__(self, data: bytes, path: Path, frame: int | None = None) -> bytes:
        """The bytes that are to be a .mp4, .mov or .png file, of frame `frame` from 0, -> the same with credentials.

        Raises:
            WriteError: the library refuses, as when the certificate has expired since it was checked.
        """
        from c2pa import C2paError

        try:
            return sign(data, path.suffix.lower(), _manifest(self.render, frame), self.signer)
        except C2paError as error:
            reason = one_line(str(error))
            raise WriteError(f"cannot write {path}: it cannot be signed: {reason}; {ADVICE}") from None


def find_signer(certificate: str | Path | None = None, key: str | Path | None = None) -> Signer:
    """The signer that is named, or that of FANTASYID_SIGNING_CERT and FANTASYID_SIGNING_KEY, or for development.

    It has signed a picture of one pixel, so that what the library refuses is known before anything is rendered.

    Raises:
        ConfigError: it cannot be used; see `read_signer` and `development_signer`.
    """
    from c2pa import C2paError

    if certificate is None and key is None:
        certificate = os.environ.get("FANTASYID_SIGNING_CERT") or None
        key = os.environ.get("FANTASYID_SIGNING_KEY") or None
    if (certificate is None) != (key is None):
        given, lacking = ("certificate", "key") if key is None else ("key", "certificate")
        raise ConfigError(f"a {given} to sign with is named, but no {lacking}; {ADVICE}")
    signer = development_signer() if certificate is None or key is None else read_signer(Path(certificate), Path(key))
    try:
        sign(TINY_PNG, ".png", _manifest(None, None), signer)
    except C2paError as error:
        reason = one_line(str(error))
        raise ConfigError(f"the certificate of {signer.subject} cannot sign: {reason}; {ADVICE}") from None
    return signer


def sign(data: bytes, suffix: str, manifest: Mapping[str, Any], signer: Signer) -> bytes:
    """The bytes of a file with a manifest in it; raises C2paError.

    In a thread of its own: the library reads and writes through callbacks, in which a signal's exception would be lost.
    Such an exception waits here until the thread has come back, for the interpreter must not end before.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_sign, data, KINDS[suffix], manifest, signer).result()


def _sign(data: bytes, kind: str, manifest: Mapping[str, Any], signer: Signer) -> bytes:
    from c2pa import Builder, C2paSignerInfo, Context
    from c2pa import Signer as NativeSigner

    signed = io.BytesIO()
    with (
        Context.from_dict(SETTINGS) as context,
        NativeSigner.from_info(C2paSignerInfo(signer.algorithm, signer.chain, signer.key, None)) as native,
        Builder(dict(manifest), context=context) as builder,
    ):
        builder.sign(native, kind, io.BytesIO(data), signed)
    return signed.getvalue()


def _manifest(render: Render | None, frame: int | None) -> dict[str, Any]:
    created = {
        "action": "c2pa.created",
        "when": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "softwareAgent": GENERATOR,
        "digitalSourceType": MADE_BY_MODEL,
    }
    # `created`: said by the signer, not gathered from others.
    actions = {"label": "c2pa.actions.v2", "data": {"actions": [created], "allActionsIncluded": True}, "created": True}
    return {"claim_generator_info": [GENERATOR], "assertions": [actions, *_said(render, frame)]}


def _said(render: Render | None, frame: int | None) -> list[dict[str, Any]]:
    if render is None:
        return []
    data = {name: value for name, value in (asdict(render) | {"frame": frame}).items() if value is not None}
    return [{"label": RENDER, "data": data, "created": True}]
