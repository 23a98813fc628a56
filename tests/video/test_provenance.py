"""Signed videos: real signatures, read back; and everything by which a file is not what was signed."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import InputError, OutputError, WriteError
from fantasyid_engine.result import VideoResult, frames_digest
from fantasyid_engine.video.provenance import Render, Seal, find_signer, sign
from fantasyid_engine.video.read import read_video
from fantasyid_engine.video.verify import Provenance, read_anchors, verify
from fantasyid_engine.video.write import write_video
from tests.video.pictures import moving, noise
from tests.video.signers import KEYS, write_signer

NAMES = ["x.mp4", "x.mov", "x"]
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


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return result().save(tmp_path / "x.mp4")


def refused(path: Path, code: str, *says: str) -> str:
    with pytest.raises(InputError) as error:
        verify(path)
    message = str(error.value)
    assert error.value.code == code and message.isprintable() and str(path) in message
    assert all(part in message for part in says), message
    return message


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


def test_a_development_certificate_stays_one(video: Path) -> None:
    """Even for who trusts its issuer."""
    signer = find_signer()
    root = video.with_name("root.pem")
    root.write_bytes(signer.chain)
    assert verify(video, read_anchors(root)).trust == "development"


def test_the_certificate_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key, _ = write_signer(tmp_path)
    monkeypatch.setenv("FANTASYID_SIGNING_CERT", str(certificate))
    monkeypatch.setenv("FANTASYID_SIGNING_KEY", str(key))
    assert verify(result().save(tmp_path / "x.mp4")).signer == "Anna Film, Anna Film"


def test_a_certificate_that_has_expired_since(tmp_path: Path) -> None:
    certificate, key, root = write_signer(tmp_path, ends=timedelta(seconds=3))
    signer = find_signer(certificate, key)
    path = result().save(tmp_path / "x.mp4", signer=signer)
    while not (found := verify(path, read_anchors(root))).expired:
        time.sleep(0.2)
    assert found.signer == "Anna Film, Anna Film"
    with pytest.raises(WriteError, match=r"cannot be signed: .*not valid at time of signing"):
        result().save(tmp_path / "y.mp4", signer=signer)
    assert not (tmp_path / "y.mp4").exists() and not (tmp_path / "y.json").exists()


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


# Files that are not what was signed.


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x/frame_0000.png"])
def test_flipped_bits(name: str, tmp_path: Path) -> None:
    """Refused, wherever they are; but for a few bytes that hold nothing, whose file says the same as before."""
    result().save(tmp_path / Path(name).parts[0])
    path = tmp_path / name
    good, whole = path.read_bytes(), verify(path)
    media = good.index(b"IDAT" if name.endswith("png") else b"moov")
    places = np.random.default_rng(0).integers(0, len(good), 300)
    survived = []
    for place in map(int, {*places, *range(0, 60, 3), media, len(good) - 1}):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x10]) + good[place + 1 :])
        try:
            assert verify(path) == whole, place
            survived.append(place)
        except InputError:
            pass
    assert len(survived) < 100 and all(place < media for place in survived), "no byte of the video"
    path.write_bytes(good[:media] + bytes([good[media] ^ 1]) + good[media + 1 :])
    with pytest.raises(InputError):
        verify(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"contract 5", b"contract 6"),
        (b"trainedAlgo", b"digitalCapt"),
        (DIGEST[:8].encode(), b"00000000"),
        (b"mini", b"maxi"),
    ],
)
def test_changed_words(old: bytes, new: bytes, video: Path) -> None:
    data = video.read_bytes()
    assert old in data
    video.write_bytes(data.replace(old, new))
    refused(video, "signature_broken", "was changed after it was signed")


def test_changed_metadata(video: Path) -> None:
    """The comment is the file's own, beside its credentials."""
    data = video.read_bytes()
    assert data.count(PROMPT.encode()) == 2  # title and comment
    video.write_bytes(data.replace(PROMPT.encode(), b"a public prompt"))
    refused(video, "signature_broken", "was changed after it was signed: assertion.bmffHash.mismatch")


def test_credentials_of_another_video(video: Path, tmp_path: Path) -> None:
    other = result(frames=FRAMES[:, ::-1].copy()).save(tmp_path / "y.mp4")

    def cut(data: bytes) -> tuple[bytes, bytes, bytes]:
        start = data.index(b"uuid") - 4
        end = start + int.from_bytes(data[start : start + 4], "big")
        return data[:start], data[start:end], data[end:]

    head, _, media = cut(video.read_bytes())
    video.write_bytes(head + cut(other.read_bytes())[1] + media)
    refused(video, "signature_broken", "was changed after it was signed")
    video.write_bytes(head + media)
    refused(video, "signature_missing", "nobody signed it, or its signature was taken out")


@pytest.mark.parametrize("keep", [0, 10, 300, 4000, -1, -500])
def test_cut_short(keep: int, video: Path) -> None:
    video.write_bytes(video.read_bytes()[:keep])
    with pytest.raises(InputError) as error:
        verify(video)
    assert error.value.code in ("file_unreadable", "signature_broken", "signature_missing")


def test_something_behind_it(video: Path) -> None:
    video.write_bytes(video.read_bytes() + b"\0\0\0\x10mdatmore....")
    refused(video, "signature_broken")


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.4", b"\xff\xd8\xff\xe0 no picture", bytes(5000)], ids=repr)
def test_foreign_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / ("x\n.mp4" if data == b"" else "x.mp4")
    path.write_bytes(data)
    with pytest.raises(InputError) as error:
        verify(path)
    assert error.value.code in ("file_unreadable", "signature_missing")


@pytest.mark.parametrize("path", ["/dev/zero", "nothing.mp4"])
def test_no_files(path: str) -> None:
    refused(Path(path), "file_unreadable")


def said_by(manifest: dict[str, Any], folder: Path) -> Path:
    """A picture that is signed by somebody who says this."""
    write_video(FRAMES[:1], folder / "plain", 8)
    data = (folder / "plain" / "frame_0000.png").read_bytes()
    signer = find_signer(*write_signer(folder)[:2])
    (folder / "x.png").write_bytes(sign(data, ".png", manifest, signer))
    return folder / "x.png"


def created(**values: Any) -> dict[str, Any]:
    source = {"digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"}
    action = {"action": "c2pa.created"} | source
    return {"claim_generator_info": [{"name": "camera"}]} | {
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [action]}, "created": True},
            {"label": "org.fantasyid.render", "data": values, "created": True},
        ]
    }


def test_another_program(tmp_path: Path) -> None:
    manifest = created()
    del manifest["assertions"][1]
    found = verify(said_by(manifest, tmp_path))
    assert (found.generator, found.ai_generated, found.model, found.seed) == ("camera", False, None, None)


def test_values_of_another_kind(tmp_path: Path) -> None:
    found = verify(
        said_by(created(model=5, seed="x", num_frames=[1], frame={"a": 1}, consent_ref="y" * 9999), tmp_path)
    )
    assert (found.model, found.seed, found.num_frames, found.frame, found.consent_ref) == (*[None] * 4, "y" * 300)


def test_edited_by_another_program(tmp_path: Path) -> None:
    """Who signed is who edited it; that it was made by a model, and which, is still told."""
    from c2pa import Builder, C2paBuilderIntent, C2paSignerInfo, Signer

    path = result().save(tmp_path / "x") / "frame_0001.png"
    editor = find_signer(*write_signer(tmp_path, name="Editor")[:2])
    with (
        Builder({"claim_generator_info": [{"name": "editor", "version": "2"}]}) as builder,
        Signer.from_info(C2paSignerInfo(editor.algorithm, editor.chain, editor.key, None)) as signer,
        path.open("rb") as source,
        (tmp_path / "edited.png").open("w+b") as target,
    ):
        builder.set_intent(C2paBuilderIntent.EDIT)
        builder.sign(signer, "image/png", source, target)
    found = verify(tmp_path / "edited.png")
    assert (found.signer, found.generator, found.trust) == ("Editor, Editor", "editor 2", "unknown")
    assert found.ai_generated and (found.model, found.frame, found.consent_ref) == ("mini", 1, "contract 5")


def test_credentials_elsewhere_are_not_fetched(tmp_path: Path) -> None:
    from c2pa import Builder, C2paSignerInfo, Signer

    write_video(FRAMES[:1], tmp_path / "plain", 8)
    one = find_signer()
    with (
        Builder(created()) as builder,
        Signer.from_info(C2paSignerInfo(one.algorithm, one.chain, one.key, None)) as signer,
        (tmp_path / "plain" / "frame_0000.png").open("rb") as source,
        (tmp_path / "x.png").open("w+b") as target,
    ):
        builder.set_no_embed()
        builder.set_remote_url("http://127.0.0.1:9/x.c2pa")
        builder.sign(signer, "image/png", source, target)
    refused(tmp_path / "x.png", "file_unreadable", "must fetch remote manifests")


# Folders.


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return result().save(tmp_path / "x")


def gone(folder: Path) -> None:
    (folder / "frame_0001.png").unlink()


def last_gone(folder: Path) -> None:
    (folder / "frame_0002.png").unlink()


def swapped(folder: Path) -> None:
    (folder / "frame_0001.png").rename(folder / "one")
    (folder / "frame_0002.png").rename(folder / "frame_0001.png")
    (folder / "one").rename(folder / "frame_0002.png")


def of_another_render(folder: Path) -> None:
    other = result(record=result().record | {"output": {"frames_sha256": "0" * 64}}).save(folder.with_name("y"))
    (other / "frame_0001.png").replace(folder / "frame_0001.png")


@pytest.mark.parametrize("change", [gone, last_gone, swapped, of_another_render])
def test_folders_that_are_not_as_they_were(change: Callable[[Path], None], folder: Path) -> None:
    change(folder)
    refused(folder, "signature_broken", "has not all frames of one render in their order")


def test_a_picture_of_a_folder_that_was_changed(folder: Path) -> None:
    picture = folder / "frame_0001.png"
    picture.write_bytes(picture.read_bytes()[:-1] + b"\0")
    with pytest.raises(InputError, match=r"frame_0001\.png"):
        verify(folder)


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    refused(tmp_path, "file_unreadable", "has no PNG pictures")


@pytest.mark.parametrize("data", [None, b"", b"hello", b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n"])
def test_anchors_that_are_none(data: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "roots.pem"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be trusted: ") as error:
        read_anchors(path)
    assert error.value.code == "trust_unreadable"
