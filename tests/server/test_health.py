"""A server that is loading, being stopped, broken or well: what it says of itself, and how it says what went wrong."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from fantasyid_engine.errors import ConfigError, WriteError
from fantasyid_engine.server.app import make_app
from fantasyid_engine.server.settings import Settings
from tests.server.serving import FACTS, NEVER_READY, TAKING, Running, error_of


def test_while_the_model_is_unknown(start: Callable[..., Running], photo: bytes) -> None:
    server = start(command=NEVER_READY)
    answer = server.create(photo)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "loading")
    assert int(answer.headers["retry-after"]) >= 1
    assert server.get("/v1/models").json()["data"] == []
    assert server.get("/livez").status_code == 200
    ready = server.get("/readyz")
    assert (ready.status_code, error_of(ready)["code"]) == (503, "no_worker")


def test_where_no_worker_can_start(
    start: Callable[..., Running], photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANTASYID_SLEEP_START", "refuse")
    server = start(facts=FACTS)
    until = time.monotonic() + 30
    while error_of(server.get("/readyz"))["code"] != "model_refused":
        assert time.monotonic() < until
        time.sleep(0.1)
    answer = server.create(photo)
    assert (answer.status_code, error_of(answer)["code"]) == (503, "model_refused")
    assert "asked to refuse" not in answer.text  # that may name paths; the operator sees it


def test_while_the_server_drains(start: Callable[..., Running], photo: bytes) -> None:
    server = start(**TAKING)
    server.service.draining = True
    for answer in (server.create(photo), server.get("/readyz")):
        assert (answer.status_code, error_of(answer)["code"]) == (503, "draining")
        assert "retry-after" in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/videos", 404, "not_found"),
        ("PUT", "/v1/videos", 405, "method_not_allowed"),
        ("GET", "/v1/videos/sync/more", 404, "not_found"),
        ("GET", "/v1/videos?limit=0", 400, "invalid_parameter"),
        ("GET", "/v1/videos?limit=x", 400, "invalid_parameter"),
        ("GET", "/v1/videos?order=up", 400, "invalid_parameter"),
        ("GET", "/v1/videos?after=video_1", 400, "after_unknown"),
        ("GET", "/v1/videos/x", 404, "not_found"),
        ("GET", "/v1/videos/" + "x" * 201, 400, "invalid_parameter"),
        ("GET", "/page/jobs.sqlite", 404, "not_found"),
    ],
)
def test_errors_have_one_shape(taking: Running, method: str, path: str, status: int, code: str) -> None:
    answer = taking.ask(method, path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    if status == 405:
        assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


def test_what_nobody_foresaw_tells_nothing(taking: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> None:
        raise RuntimeError("/secret/path of the store")

    monkeypatch.setattr(taking.service.store, "list", broken)
    answer = taking.get("/v1/videos")
    assert (answer.status_code, error_of(answer)["code"]) == (500, "internal_error")
    assert "secret" not in answer.text and answer.headers["x-request-id"].startswith("req_")


def test_a_full_disk_is_a_507(taking: Running, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(data: bytes) -> str:
        raise WriteError("cannot write /secret/path: No space left on device")

    monkeypatch.setattr(taking.service.files, "keep_photo", full)
    answer = taking.create(photo)
    assert (answer.status_code, error_of(answer)["code"]) == (507, "storage_full")
    assert "secret" not in answer.text


def test_metrics(server: Running, photo: bytes) -> None:
    server.wait(server.made(photo)["id"])
    server.get("/v1/videos/x")
    text = server.get("/metrics").text
    assert 'fantasyid_http_requests_total{method="GET",route="/v1/videos/{video_id}",status="404"}' in text
    assert "fantasyid_jobs_created_total" in text and 'fantasyid_jobs{state="completed"}' in text
    assert 'fantasyid_jobs_finished_total{code="none",status="completed"}' in text


def test_one_server_a_folder(start: Callable[..., Running], tmp_path: Any) -> None:
    running = start(**TAKING)
    app = make_app(Settings(data=running.data), command=NEVER_READY)

    async def second() -> None:
        async with app.router.lifespan_context(app):
            pass

    with pytest.raises(ConfigError, match="in use"):
        asyncio.run(second())


def test_the_page(taking: Running) -> None:
    page = taking.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    script = taking.get("/page/app.js")
    assert (script.status_code, script.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    for name in ("", "..%2fapp.py", "__init__.py", "%2e%2e/settings.py"):
        assert taking.get(f"/page/{name}").status_code in (404, 405)
