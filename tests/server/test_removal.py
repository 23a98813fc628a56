"""What is removed, and that nothing of it is left: by purge, when its time is over, at the start."""

import base64
import hashlib
import time
from collections.abc import Callable

import pytest

from tests.server.serving import TAKING, Running, error_of, face


@pytest.mark.parametrize("by", ["photo", "data", "photo_sha256", "consent_ref"])
def test_purge(start: Callable[..., Running], by: str) -> None:
    server, photo, other = start(), face(40), face(50)
    server.wait_ready()
    done = server.wait(server.made(photo, consent_ref="c1")["id"])
    running = server.made(photo, "[slow 1000]", consent_ref="c1")
    server.wait(running["id"], "in_progress")
    kept = server.made(other, consent_ref="c2")
    (server.data / "faces" / "a.safetensors").write_bytes(b"a face")
    sha256 = hashlib.sha256(photo).hexdigest()
    answer = {
        "photo": lambda: server.post("/v1/purge", files={"photo": ("a", photo)}),
        "data": lambda: server.post("/v1/purge", json={"photo": "data:;base64," + base64.b64encode(photo).decode()}),
        "photo_sha256": lambda: server.post("/v1/purge", json={"photo_sha256": sha256}),
        "consent_ref": lambda: server.post("/v1/purge", files={"consent_ref": (None, "c1")}),
    }[by]()
    assert answer.json() == {"object": "purge", "jobs": 2, "cancelled": 1, "photos": 1, "videos": 1}
    assert [video["id"] for video in server.get("/v1/videos").json()["data"]] == [kept["id"]]
    assert not (server.data / "photos" / sha256).exists()
    assert not (server.data / "videos" / done["id"]).exists()
    assert not list((server.data / "faces").iterdir())
    assert server.wait(kept["id"])["status"] == "completed"


@pytest.mark.parametrize(
    "body", [{}, {"photo_sha256": "0" * 64, "consent_ref": "a"}, {"photo_sha256": "x"}, {"name": "a"}], ids=str
)
def test_purge_of_nobody(taking: Running, body: dict[str, str]) -> None:
    answer = taking.post("/v1/purge", json=body)
    assert answer.status_code == 400 and error_of(answer)


@pytest.mark.parametrize("photo", ["/etc/passwd", "https://example.com/a.png", "data:image/png;base64,####"])
def test_what_is_no_photo_is_named_as_the_field_is(taking: Running, photo: str) -> None:
    error = error_of(taking.post("/v1/purge", json={"photo": photo}))
    assert (error["code"], error["param"]) == ("photo_invalid", "photo")
    assert "photo" in error["message"] and "input_reference" not in error["message"]
    assert "earlier video" not in error["message"], "that is none here"


def test_expired_videos_go(start: Callable[..., Running], photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fantasyid_engine.server.removal.EXPIRE_EVERY_S", 0.1)
    server = start(retention_hours=1 / 3600)
    server.wait_ready()
    video = server.wait(server.made(photo)["id"])
    assert video["expires_at"] >= video["completed_at"]
    until = time.monotonic() + 20
    while server.get(f"/v1/videos/{video['id']}").status_code != 404:
        assert time.monotonic() < until
        time.sleep(0.1)
    while any((*(server.data / "videos").iterdir(), *(server.data / "photos").iterdir())):
        assert time.monotonic() < until
        time.sleep(0.1)


def test_what_is_left_is_swept_at_the_start(start: Callable[..., Running], photo: bytes) -> None:
    server = start(**TAKING)
    known = server.made(photo)
    for name in ("photos/" + "0" * 64, "work/" + "1" * 32, "videos/video_" + "2" * 32):
        (server.data / name).parent.mkdir(exist_ok=True)
        (server.data / name).write_bytes(b"left")
    server.service.photos.sweep()
    assert not list((server.data / "work").iterdir()) and not list((server.data / "videos").iterdir())
    assert len(list((server.data / "photos").iterdir())) == 1
    assert server.get(f"/v1/videos/{known['id']}").status_code == 200
