"""Reading credentials back: of files that are not what was signed, of other programs, edited, or in a folder."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import InputError, WriteError
from fantasyid_engine.video.provenance import find_signer, sign
from fantasyid_engine.video.verify import read_anchors, verify
from fantasyid_engine.video.write import write_video
from tests.video.renders import DIGEST, FRAMES, PROMPT, edited, refused, result
from tests.video.signers import write_signer


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return result().save(tmp_path / "x.mp4")


def test_a_development_certificate_stays_one(video: Path) -> None:
    """Even for who trusts its issuer."""
    signer = find_signer()
    root = video.with_name("root.pem")
    root.write_bytes(signer.chain)
    assert verify(video, read_anchors(root)).trust == "development"


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
    """Who signed is who edited it; that it was made by a model, and which, is still told, also after a second edit."""
    once = edited(result().save(tmp_path / "x") / "frame_0001.png", tmp_path / "once.png")
    for path in (once, edited(once, tmp_path / "twice.png")):
        found = verify(path)
        assert (found.signer, found.generator, found.trust) == ("Editor, Editor", "editor 2", "unknown")
        assert found.ai_generated and (found.model, found.frame, found.consent_ref) == ("mini", 1, "contract 5")


@pytest.mark.parametrize("relationship", ["inputTo", "componentOf"])
@pytest.mark.parametrize("word", [b"contract 5", b"contract 6"], ids=["whole", "forged"])
def test_what_went_into_a_file_says_nothing_of_it(word: bytes, relationship: str, tmp_path: Path) -> None:
    path = result().save(tmp_path / "x") / "frame_0001.png"
    path.write_bytes(path.read_bytes().replace(b"contract 5", word))
    found = verify(edited(path, tmp_path / "edited.png", relationship))
    assert (found.signer, found.generator, found.ai_generated) == ("Editor, Editor", "editor 2", False)
    assert (found.model, found.seed, found.frames_sha256, found.num_frames, found.frame) == (None,) * 5
    assert (found.created, found.consent_ref) == (None, None)


@pytest.mark.parametrize(
    ("old", "new"), [(b"contract 5", b"contract 6"), (b"IEND\xae", b"IEND\xaf")], ids=["words", "media"]
)
def test_edited_from_a_file_that_was_changed(old: bytes, new: bytes, tmp_path: Path) -> None:
    """The library notes in the edit what it found wrong, and signs that: nothing is wrong with the edit itself."""
    path = result().save(tmp_path / "x") / "frame_0001.png"
    path.write_bytes(path.read_bytes().replace(old, new))
    once = edited(path, tmp_path / "once.png")
    for edit in (once, edited(once, tmp_path / "twice.png")):
        refused(edit, "signature_broken", f"{edit} was edited from a file that was changed after it was signed: ")


def test_a_certificate_that_has_expired_since(tmp_path: Path) -> None:
    certificate, key, root = write_signer(tmp_path, ends=timedelta(seconds=3))
    signer = find_signer(certificate, key)
    picture = result().save(tmp_path / "x", signer=signer) / "frame_0000.png"
    while not (found := verify(picture, read_anchors(root))).expired:
        time.sleep(0.2)
    assert found.signer == "Anna Film, Anna Film"
    found = verify(edited(picture, tmp_path / "edited.png"))
    assert (found.signer, found.expired, found.model) == ("Editor, Editor", False, "mini"), "the editor's has not"
    for name, file in (("y.mp4", "y.mp4"), ("y", "y/frame_0000.png")):
        with pytest.raises(WriteError) as error:
            result().save(tmp_path / name, signer=signer)
        message = str(error.value)
        assert message.startswith(f"cannot write {tmp_path / file}: it cannot be signed: ") and message.isprintable()
        assert "not valid at time of signing; name others with FANTASYID_SIGNING_CERT and" in message
        assert not (tmp_path / name).exists() and not (tmp_path / "y.json").exists()


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


def test_a_number_of_frames_that_no_memory_holds(tmp_path: Path) -> None:
    said_by(created(num_frames=2**62, frame=0), tmp_path)
    refused(tmp_path, "signature_broken", "has not all frames of one render in their order")


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
