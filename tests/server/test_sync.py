"""POST /v1/videos/sync: the video itself, or the job's error; whoever goes away cancels."""

import socket
import threading
import time
from collections.abc import Callable

import httpx
import pytest

from tests.server.serving import TAKING, Running, error_of


def sync(server: Running, photo: bytes, prompt: str = "smiles", **options: object) -> httpx.Response:
    return server.post("/v1/videos/sync", data={"prompt": prompt}, files={"input_reference": ("a", photo)}, **options)


def test_the_video(server: Running, photo: bytes) -> None:
    answer = sync(server, photo)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    video = server.get(f"/v1/videos/{answer.headers['x-video-id']}").json()
    assert video["status"] == "completed"
    assert server.get(f"/v1/videos/{video['id']}/content").content == answer.content


@pytest.mark.parametrize(
    ("code", "status"), [("face_not_found", 400), ("out_of_memory", 503), ("internal_error", 500), ("cancelled", 409)]
)
def test_the_error_of_a_job_that_fails(server: Running, photo: bytes, code: str, status: int) -> None:
    answer = sync(server, photo, f"[fail {code}]")
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert server.get(f"/v1/videos/{answer.headers['x-video-id']}").json()["error"]["code"] == code


def test_the_same_key_waits_for_the_same_video(server: Running, photo: bytes) -> None:
    ids = {sync(server, photo, headers={"idempotency-key": "k"}).headers["x-video-id"] for _ in range(2)}
    assert len(ids) == 1


def test_one_that_is_deleted_meanwhile(taking: Running, photo: bytes) -> None:
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(sync(taking, photo)))
    before = len(taking.get("/v1/videos").json()["data"])
    waiting.start()
    until = time.monotonic() + 20
    while len(found := taking.get("/v1/videos").json()["data"]) == before:
        assert time.monotonic() < until
        time.sleep(0.05)
    taking.ask("DELETE", f"/v1/videos/{found[0]['id']}")
    waiting.join(10)
    assert [(answer.status_code, error_of(answer)["code"]) for answer in answers] == [(503, "interrupted")]


def leaving(server: Running, photo: bytes, prompt: str) -> None:
    """Asks for a video, and goes away when the body is sent."""
    request = httpx.Request(
        "POST",
        f"{server.url}/v1/videos/sync",
        data={"prompt": prompt, "priority": "90"},
        files={"input_reference": ("a", photo)},
    )
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST /v1/videos/sync HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        time.sleep(0.3)


def test_who_goes_away_cancels(server: Running, photo: bytes) -> None:
    threads = [threading.Thread(target=leaving, args=(server, photo, f"[slow 1000] {n}")) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until = time.monotonic() + 20
    while True:
        listed = server.get("/v1/videos?limit=100").json()["data"]
        mine = [video for video in listed if video["prompt"].startswith("[slow 1000]")]
        if len(mine) == 10 and {video["status"] for video in mine} == {"failed"}:
            break
        assert time.monotonic() < until, [video["status"] for video in mine]
        time.sleep(0.1)
    assert {video["error"]["code"] for video in mine} == {"cancelled"}
    assert server.wait(server.made(photo)["id"], timeout_s=20)["status"] == "completed"


def test_who_joined_by_the_key_of_another_does_not_cancel(start: Callable[..., Running], photo: bytes) -> None:
    server = start(**TAKING)
    first = server.made(photo, idempotency_key="k")
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{server.url}/v1/videos/sync",
            data={"prompt": "smiles"},
            files={"input_reference": ("a", photo)},
            headers={"idempotency-key": "k"},
            timeout=1,
            trust_env=False,
        )
    time.sleep(0.5)
    assert server.get(f"/v1/videos/{first['id']}").json()["status"] == "queued"
