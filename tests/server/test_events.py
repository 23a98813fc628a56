"""Server-sent events of a video: every change, heartbeats while there are none, an end after a final state."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.server.serving import TAKING, Running, error_of


def stream(server: Running, video_id: str, **headers: str) -> Iterator[str]:
    """The lines as they come."""
    url = f"{server.url}/v1/videos/{video_id}/events"
    with httpx.stream("GET", url, headers=headers, timeout=30, trust_env=False) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield from answer.iter_lines()


def videos(lines: Iterator[str]) -> list[dict[str, Any]]:
    """The data of all events, each of which is a whole video."""
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def test_a_render_from_its_queue_to_its_end(server: Running, photo: bytes) -> None:
    video = server.made(photo, "[slow 50]")
    lines = list(stream(server, video["id"]))
    assert {line for line in lines if line.startswith("event:")} == {"event: video"}
    told = videos(iter(lines))
    assert {each["id"] for each in told} == {video["id"]}
    progress = [each["progress"] for each in told]
    assert progress == sorted(progress) and progress[-1] == 100 and len(set(progress)) >= 4
    assert told[-1] == server.get(f"/v1/videos/{video['id']}").json()
    assert [each["status"] for each in told][-1] == "completed"
    assert {each["status"] for each in told} <= {"queued", "in_progress", "completed"}
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert ids == list(range(1, len(told) + 1))


def test_of_one_that_is_final_already(server: Running, photo: bytes) -> None:
    video = server.wait(server.made(photo, "[fail face_not_found]")["id"])
    assert videos(stream(server, video["id"])) == [video]
    for last in ("3", "-1", "x", "9" * 100):
        assert videos(stream(server, video["id"], **{"last-event-id": last})) == [video]


def test_cancel_and_delete_end_it(taking: Running, photo: bytes) -> None:
    for method, path, ends_with in (("POST", "/cancel", "failed"), ("DELETE", "", "queued")):
        video = taking.made(photo)
        told: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda told=told, id=video["id"]: told.extend(videos(stream(taking, id))))
        reader.start()
        time.sleep(0.3)
        assert taking.ask(method, f"/v1/videos/{video['id']}{path}").status_code == 200
        reader.join(10)
        assert not reader.is_alive() and told[-1]["status"] == ends_with


def test_heartbeats(taking: Running, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fantasyid_engine.server.watching.LOOK_S", 0.05)
    monkeypatch.setattr("fantasyid_engine.server.watching.HEARTBEAT_S", 0.1)
    lines = stream(taking, taking.made(photo)["id"])
    beats = 0
    for line in lines:
        beats += line.startswith(":")
        if beats == 3:
            break
    lines.close()  # type: ignore[attr-defined]


def test_of_none(taking: Running) -> None:
    answer = taking.get("/v1/videos/video_0/events")
    assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")


def test_those_who_went_away_are_forgotten(taking: Running, photo: bytes) -> None:
    video = taking.made(photo)
    for _ in range(20):
        lines = stream(taking, video["id"])
        next(lines)
        lines.close()  # type: ignore[attr-defined]
    until = time.monotonic() + 10
    while watchers := taking.service.hub._watchers.get(video["id"]):
        assert time.monotonic() < until, f"{len(watchers)} are still there"
        time.sleep(0.1)


def test_a_server_that_stops_lets_go_of_who_watches(start: Callable[..., Running], photo: bytes) -> None:
    server = start(**TAKING)
    told: list[dict[str, Any]] = []
    video = server.made(photo)
    reader = threading.Thread(target=lambda: told.extend(videos(stream(server, video["id"]))))
    reader.start()
    time.sleep(0.3)
    loop = server.service.pool._loop
    assert loop is not None
    asyncio.run_coroutine_threadsafe(server.service.drain(), loop).result(30)
    reader.join(10)
    assert not reader.is_alive() and told[0]["status"] == "queued"
