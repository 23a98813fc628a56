"""Keys and removal by command, beside the server."""

import hashlib
import re
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fantasyid_engine.cli import app
from fantasyid_engine.errors import ConfigError, InputError
from fantasyid_engine.server.app import STORE
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.jobs import NewJob
from fantasyid_engine.server.store import Limits, Store

PHOTO = b"the bytes of a photo"
LIMITS = Limits(max_queued=10, max_queued_per_key=10, max_creates_per_minute=None)


def serve(*words: object) -> str:
    told = CliRunner().invoke(app, ["serve", *map(str, words)])
    if told.exception is not None and not isinstance(told.exception, SystemExit):
        raise told.exception
    return told.output


def test_keys_are_shown_once_listed_and_revoked(tmp_path: Path) -> None:
    assert "no keys" in serve("keys", "list", "--data", tmp_path)
    told = serve("keys", "create", "farm", "--data", tmp_path)
    token = re.search(r"^fid_\S{43}$", told, re.MULTILINE)
    assert token is not None
    listed = serve("keys", "list", "--data", tmp_path)
    assert "farm" in listed and token[0] not in listed and "revoked" not in listed
    with closing(Store(tmp_path / STORE)) as store:
        key = store.find_key(token[0])
        assert key is not None and key.name == "farm"
    assert "revoked" in serve("keys", "revoke", "farm", "--data", tmp_path)
    assert "revoked" in serve("keys", "list", "--data", tmp_path)
    with pytest.raises(InputError, match="there is no key 'farmer'"):
        serve("keys", "revoke", "farmer", "--data", tmp_path)


def filled(folder: Path, photo: bytes, consent_ref: str | None, now: float) -> str:
    files = Files(folder)
    with closing(Store(folder / STORE)) as store:
        new = NewJob(
            key_id="local",
            settings={"prompt": "nods", "seed": 1, "consent_ref": consent_ref},
            photo_sha256=files.keep_photo(photo),
            size="64x64",
            num_frames=9,
            fps=8,
            model="avatar-mini",
        )
        return store.create(new, now=now, limits=LIMITS)[0].id


@pytest.mark.parametrize("by", ["photo", "consent", "age"])
def test_purge(tmp_path: Path, by: str) -> None:
    data, now = tmp_path / "data", time.time()
    gone = filled(data, PHOTO, "c1", now - 10 * 86_400)
    kept = filled(data, b"another photo", "c2", now)
    (data / "faces" / "one.safetensors").write_bytes(b"a face")
    (tmp_path / "face.png").write_bytes(PHOTO)
    condition = {
        "photo": ("--photo", tmp_path / "face.png"),
        "consent": ("--consent-ref", "c1"),
        "age": ("--older-than-days", 5),
    }[by]
    assert "removed 1 jobs, 0 videos, 1 photos" in serve("purge", *condition, "--data", data)
    with closing(Store(data / STORE)) as store:
        assert store.job_ids() == {kept} and gone != kept
    assert [path.name for path in (data / "photos").iterdir()] == [hashlib.sha256(b"another photo").hexdigest()]
    assert not list((data / "faces").iterdir())


def test_purge_needs_a_subject_and_a_server_s_folder(tmp_path: Path) -> None:
    assert "needs --photo" in serve("purge", "--data", tmp_path)
    with pytest.raises(ConfigError, match="no folder of a server"):
        serve("purge", "--consent-ref", "a", "--data", tmp_path)
