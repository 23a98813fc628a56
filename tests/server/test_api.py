"""What the API does beside what OpenAI's client asks of it: settings, lengths, idempotency, limits, cancel."""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.server.serving import TAKING, Running, error_of, face


def test_every_field_of_a_new_video(taking: Running, photo: bytes) -> None:
    video = taking.made(photo, seed=5, priority=3, consent_ref="contract 12")
    assert video.pop("created_at") == pytest.approx(time.time(), abs=30)
    assert video.pop("id").startswith("video_")
    assert isinstance(video.pop("queue_position"), int)
    assert video == {
        "object": "video",
        "status": "queued",
        "progress": 0,
        "completed_at": None,
        "expires_at": None,
        "model": "avatar-mini",
        "seconds": "6",
        "size": "64x64",
        "prompt": "smiles",
        "error": None,
        "remixed_from_video_id": None,
        "seed": 5,
        "num_frames": 49,
        "fps": 8,
        "duration_s": 6.125,
        "stage": None,
        "stage_durations": {},
        "eta_s": None,
        "priority": 3,
        "consent_ref": "contract 12",
        "notes": [],
        "frames_sha256": None,
    }


def test_settings_are_resolved_and_a_seed_is_drawn(taking: Running, photo: bytes) -> None:
    videos = [taking.made(photo) for _ in range(3)]
    assert len({video["seed"] for video in videos}) == 3
    job = taking.service.store.get(videos[0]["id"])
    assert job and job.settings == {
        "prompt": "smiles",
        "seed": videos[0]["seed"],
        "num_inference_steps": 50,
        "guidance_scale": 6.0,
        "num_frames": 49,
    }


@pytest.mark.parametrize(
    ("fields", "frames", "seconds"),
    [
        ({}, 49, "6"),
        ({"seconds": "6"}, 49, "6"),
        ({"seconds": 1}, 9, "1"),
        ({"num_frames": 9}, 9, "1"),
        ({"num_frames": 49, "seconds": "6", "fps": 8, "size": "64x64", "model": "avatar-mini"}, 49, "6"),
    ],
    ids=str,
)
def test_lengths(taking: Running, photo: bytes, fields: dict[str, Any], frames: int, seconds: str) -> None:
    video = taking.made(photo, **fields)
    assert (video["num_frames"], video["seconds"]) == (frames, seconds)


@pytest.mark.parametrize(
    ("fields", "status", "code", "param", "says"),
    [
        ({"seconds": "4"}, 400, "seconds_unsupported", "seconds", '49 frames ("6" seconds)'),
        ({"seconds": "6.125"}, 400, "seconds_unsupported", "seconds", "at 8 frames a second"),
        ({"seconds": "6", "num_frames": 9}, 400, "seconds_unsupported", "seconds", "6"),
        ({"num_frames": 10}, 400, "frames_unsupported", "num_frames", "9 frames"),
        ({"size": "720x1280"}, 400, "size_unsupported", "size", "64x64"),
        ({"fps": 24}, 400, "fps_unsupported", "fps", "8"),
        ({"model": "sora-2"}, 404, "model_not_found", "model", "avatar-mini"),
        ({"seed": -1}, 400, "seed_invalid", "seed", "4294967295"),
        ({"seed": "x"}, 400, "invalid_parameter", "seed", "integer"),
        ({"num_inference_steps": 201}, 400, "steps_invalid", "num_inference_steps", "up to 200"),
        ({"num_inference_steps": 0}, 400, "steps_invalid", "num_inference_steps", "1"),
        ({"guidance_scale": 0.5}, 400, "guidance_invalid", "guidance_scale", "1 to 100"),
        ({"shape[jow]": 1}, 400, "shape_unknown", "shape", "did you mean jaw?"),
        ({"shape[jaw]": 6}, 400, "shape_invalid", "shape", "-5 to 5"),
        ({"face_index": 0}, 400, "face_index", "face_index", "1"),
        ({"prompt": " "}, 400, "prompt_empty", "prompt", "empty"),
        ({"prompt": "a" * 4_001}, 400, "prompt_too_long", "prompt", "4000"),
        ({"negative_prompt": "a" * 4_001}, 400, "prompt_too_long", "negative_prompt", "4000"),
        ({"priority": 101}, 400, "invalid_parameter", "priority", "100"),
        ({"consent_ref": "a\nb"}, 400, "consent_invalid", "consent_ref", "printable"),
        ({"webhook_url": "https://example.com/"}, 400, "webhooks_off", "webhook_url", "webhook_secret"),
        ({"guidance": 2}, 400, "unknown_parameter", "guidance", "did you mean guidance_scale?"),
    ],
    ids=str,
)
def test_what_is_not_done_is_said(
    taking: Running, photo: bytes, fields: dict[str, Any], status: int, code: str, param: str, says: str
) -> None:
    answer = taking.create(photo, **fields)
    error = error_of(answer)
    assert (answer.status_code, error["code"], error["param"]) == (status, code, param)
    assert says in error["message"]


def test_the_same_idempotency_key_gives_the_same_video(taking: Running, photo: bytes) -> None:
    first = taking.made(photo, idempotency_key="k1")
    assert taking.made(photo, idempotency_key="k1")["id"] == first["id"]
    header = taking.post(
        "/v1/videos",
        data={"prompt": "smiles"},
        files={"input_reference": ("b.png", photo)},
        headers={"idempotency-key": "k1"},
    )
    assert header.json()["id"] == first["id"]
    other = taking.create(photo, "frowns", idempotency_key="k1")
    assert (other.status_code, error_of(other)["code"]) == (409, "idempotency_key_reused")
    differ = taking.post(
        "/v1/videos",
        data={"prompt": "a", "idempotency_key": "k2"},
        files={"input_reference": ("b.png", photo)},
        headers={"idempotency-key": "k3"},
    )
    assert (differ.status_code, error_of(differ)["code"]) == (400, "idempotency_key_twice")


def test_a_full_queue_is_a_429(start: Callable[..., Running], photo: bytes) -> None:
    server = start(max_queued=2, **TAKING)
    server.made(photo)
    server.made(photo)
    answer = server.create(face(32))
    assert (answer.status_code, error_of(answer)["type"]) == (429, "rate_limit_error")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(list((server.data / "photos").iterdir())) == 1  # the refused one's is not kept


def test_consent_where_it_is_required(start: Callable[..., Running], photo: bytes) -> None:
    server = start(require_consent=True, **TAKING)
    answer = server.create(photo)
    assert (answer.status_code, error_of(answer)["code"]) == (400, "consent_required")
    assert server.made(photo, consent_ref="c1")["consent_ref"] == "c1"
    assert server.get("/v1/models").json()["data"][0]["consent_required"] is True


def test_webhooks_are_checked_and_kept(start: Callable[..., Running], photo: bytes) -> None:
    server = start(webhook_secret="whsec_" + "A" * 32, **TAKING)
    refused = server.create(photo, webhook_url="https://127.0.0.1/")
    assert (refused.status_code, error_of(refused)["code"]) == (400, "url_refused")
    assert error_of(refused)["param"] == "webhook_url"
    video = server.made(photo, webhook_url="https://example.com/hook")
    job = server.service.store.get(video["id"])
    assert job and job.webhook_url == "https://example.com/hook"


def test_cancel_of_one_that_waits(taking: Running, photo: bytes) -> None:
    video = taking.made(photo)
    cancelled = taking.post(f"/v1/videos/{video['id']}/cancel").json()
    assert (cancelled["status"], cancelled["error"]["code"]) == ("failed", "cancelled")
    assert taking.post(f"/v1/videos/{video['id']}/cancel").json() == cancelled
    assert taking.post("/v1/videos/video_0/cancel").status_code == 404


def test_cancel_and_delete_of_one_in_progress(server: Running, photo: bytes) -> None:
    for end in (lambda id: server.post(f"/v1/videos/{id}/cancel"), lambda id: server.ask("DELETE", f"/v1/videos/{id}")):
        video = server.made(photo, "[slow 1000]", priority=50)
        server.wait(video["id"], "in_progress")
        assert end(video["id"]).status_code == 200
        other = server.made(photo, priority=50)  # needs the worker that the first one had
        assert server.wait(other["id"], timeout_s=20)["status"] == "completed"


def test_fifty_clients_at_once(server: Running, photo: bytes) -> None:
    def one(number: int) -> dict[str, Any]:
        return server.wait(server.made(photo, seed=number)["id"], timeout_s=120)

    with ThreadPoolExecutor(50) as clients:
        videos = list(clients.map(one, range(50)))
    assert {video["status"] for video in videos} == {"completed"}
    assert [video["seed"] for video in videos] == list(range(50))
    assert len({video["id"] for video in videos}) == 50


def test_json_bodies_as_clients_without_forms_send_them(taking: Running, photo: bytes) -> None:
    first = taking.made(photo)
    body = {"prompt": "a", "input_reference": first["id"], "seconds": 1, "extra_body": json.dumps({"seed": 9})}
    video = taking.post("/v1/videos", json=body).json()
    assert (video["seed"], video["seconds"]) == (9, "1")
