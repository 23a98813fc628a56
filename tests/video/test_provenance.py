"""Signed videos: real signatures, what they say, and that all else stays as it was."""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import OutputError, WriteError
from fantasyid_engine.video.provenance import Render, Seal, find_signer
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.verify import Provenance, read_anchors, verify
from fantasyid_engine.video.write import write_video
from tests.video.pictures import noise
from tests.video.renders import DIGEST, FRAMES, PROMPT, refused, result
from tests.video.signers import KEYS, write_signer

NAMES = ["x.mp4", "x.mov", "x"]


# What is said.


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_verified(name: str, tmp_path: Path) -> None:
    begun = datetime.now(UTC) - timedelta(seconds=1)
    found = verify(result().save(tmp_path / name))
    created = datetime.fromisoformat(found.created or "")
    assert begun <= created <= datetime.now(UTC)
    assert replace(found, created=None) == Provenance(
        signer="fantasyid-engine development certificate, fantasyid-engine",
        issuer="fantasyid-engine development certificate issuer, fantasyid-engine",
        trust="development",
        expired=False,
        ai_generated=True,
        generator="fantasyid-engine 0.1.0",
        created=None,
        model="mini",
        seed=7,
        frames_sha256=DIGEST,
        num_frames=3,
        frame=0 if name == "x" else None,
        consent_ref="contract 5",
    )


def crjson(path: Path) -> dict[str, Any]:
    from c2pa import Reader

    with Reader(path) as reader:
        return json.loads(reader.crjson())


@pytest.mark.parametrize("name", NAMES)
def test_what_is_signed_and_what_is_not(name: str, tmp_path: Path) -> None:
    """As the specification has it; no prompt, no photo, no folder, no thumbnail."""
    result().save(tmp_path / name)
    path = tmp_path / name if name != "x" else tmp_path / "x" / "frame_0002.png"
    (manifest,) = crjson(path)["manifests"]
    binding = "c2pa.hash.data" if name == "x" else "c2pa.hash.bmff.v3"
    assert set(manifest["assertions"]) == {"c2pa.actions.v2", "org.fantasyid.render", binding}
    (action,) = manifest["assertions"]["c2pa.actions.v2"]["actions"]
    assert action.pop("when").endswith("Z")
    assert action == {
        "action": "c2pa.created",
        "softwareAgent": {"name": "fantasyid-engine", "version": "0.1.0"},
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
    }
    facts = {"model": "mini", "seed": 7, "num_frames": 3, "frames_sha256": DIGEST, "consent_ref": "contract 5"}
    assert manifest["assertions"]["org.fantasyid.render"] == facts | ({"frame": 2} if name == "x" else {})
    claim = manifest["claim.v2"]
    assert len(claim["created_assertions"]) == 3 and not claim.get("gathered_assertions")
    said = json.dumps(manifest)
    assert not [word for word in (PROMPT, "anna", "secret", "thumbnail") if word in said]


def test_without_a_consent(tmp_path: Path) -> None:
    plain = result()
    del plain.record["request"]["consent_ref"]
    assert verify(plain.save(tmp_path / "x.mp4")).consent_ref is None


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("name", NAMES)
def test_signed_by_somebody(algorithm: str, name: str, tmp_path: Path) -> None:
    certificate, key, root = write_signer(tmp_path, KEYS[algorithm]())
    (tmp_path / "other").mkdir()
    *_, other_root = write_signer(tmp_path / "other")
    path = result().save(tmp_path / name, signer=find_signer(certificate, key))
    unknown, trusted = verify(path), verify(path, read_anchors(root))
    assert (unknown.signer, unknown.issuer) == ("Anna Film, Anna Film", "Anna Film Root, Anna Film")
    assert (unknown.trust, trusted.trust) == ("unknown", "trusted")
    assert verify(path, read_anchors(other_root)).trust == "unknown"


def test_the_certificate_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, _ = write_signer(tmp_path)
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", str(certificate))
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", str(key))
    assert verify(result().save(tmp_path / "x.mp4")).signer == "Anna Film, Anna Film"


# What stays as it was.


@pytest.mark.parametrize("name", NAMES)
def test_nothing_else_changes(name: str, tmp_path: Path) -> None:
    """Unsigned bytes are the same every time; signed ones have the same frames, comment, and index in front."""
    for folder in ("a", "b", "signed"):
        result().save(tmp_path / folder / name, signer="auto" if folder == "signed" else None)
    plain, again, signed = (tmp_path / folder / name for folder in ("a", "b", "signed"))
    if name == "x":
        files = [f"frame_{index:04d}.png" for index in range(3)]
        assert [path.name for path in sorted(signed.iterdir())] == files
        assert all((plain / file).read_bytes() == (again / file).read_bytes() for file in files)
        refused(plain, "signature_missing")
    else:
        assert plain.read_bytes() == again.read_bytes() != signed.read_bytes()
        head = signed.read_bytes()
        assert head.index(b"moov") < head.index(b"mdat")
        refused(plain, "signature_missing")
    one, other = read_video(plain), read_video(signed)
    assert np.array_equal(one.frames, other.frames) and one.metadata == other.metadata
    assert (one.fps, one.codec, one.colours) == (other.fps, other.codec, other.colours)


def test_pictures_of_16_bits(tmp_path: Path) -> None:
    frames = noise(2, dtype=np.uint16)
    path = result(frames=frames).save(tmp_path / "x")
    assert np.array_equal(read_video(path).frames, frames) and verify(path).num_frames == 2


def test_the_library_is_loaded_late() -> None:
    script = (
        "import sys, fantasyid_engine.cli, fantasyid_engine.result; print({'c2pa', 'cryptography'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_signed_is_not_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fantasyid_engine.video import provenance

    calls: list[str] = []

    def third_time(data: bytes, kind: str, *rest: Any) -> bytes:
        calls.append(kind)
        if len(calls) == 3 or name != "x":
            raise KeyboardInterrupt
        return data

    monkeypatch.setattr(provenance, "_sign", third_time)
    with pytest.raises(KeyboardInterrupt):
        write_video(FRAMES, tmp_path / name, 8, seal=Seal(find(), Render("m", 1, 3, DIGEST, None)))
    assert list(tmp_path.iterdir()) == []


def find() -> Any:
    from fantasyid_engine.video.development import development_signer

    return development_signer()


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_full_after_signing(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        assert b"c2pa" in data
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(WriteError, match="No space left on device"):
        result().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        result().save(tmp_path / "file" / "x.mp4")


def test_a_signal_while_it_signs_is_not_lost(tmp_path: Path) -> None:
    """The library's callbacks into Python would swallow what a handler raises there."""
    script = """
import os, signal, sys
from pathlib import Path
import numpy as np
from fantasyid_engine.video import provenance
from fantasyid_engine.video.write import write_video
from fantasyid_engine.video.provenance import Render, Seal, find_signer
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
signer, really = find_signer(), provenance.io.BytesIO

sent = []

class Stream(really):
    def readinto(self, buffer):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        return super().readinto(buffer)

provenance.io.BytesIO = Stream
write_video(np.zeros((3, 32, 32, 3), np.uint8), Path("x"), 8, seal=Seal(signer, Render("m", 1, 3, "", None)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (143, "")
    assert list(tmp_path.iterdir()) == []
