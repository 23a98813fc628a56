"""What clients must not get at: other keys' jobs, other files, other servers' pages, the log's lines."""

import io
import json
import logging
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fantasyid_engine.server.access import REMEMBERED_S
from fantasyid_engine.server.app import make_app
from fantasyid_engine.server.logs import configure_logs
from fantasyid_engine.server.settings import Settings
from tests.server.serving import TAKING, Running, error_of, face, serving

AS_MUCH = 200


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with two keys; the first one's is used."""
    folder = tmp_path_factory.mktemp("data")
    with serving(folder, **TAKING, keys=("ann", "bob")) as running:
        yield running


PATHS = [
    ("GET", "/v1/videos"),
    ("POST", "/v1/videos"),
    ("POST", "/v1/videos/sync"),
    ("GET", "/v1/videos/{id}"),
    ("DELETE", "/v1/videos/{id}"),
    ("POST", "/v1/videos/{id}/cancel"),
    ("POST", "/v1/videos/{id}/remix"),
    ("GET", "/v1/videos/{id}/content"),
    ("GET", "/v1/videos/{id}/preview"),
    ("GET", "/v1/videos/{id}/events"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/avatar-mini"),
    ("POST", "/v1/purge"),
    ("GET", "/metrics"),
]


def test_every_route_is_in_the_list(keyed: Running) -> None:
    routes = {
        (method.upper(), re.sub(r"\{video_id\}", "{id}", path).replace("{model_id}", "avatar-mini"))
        for path, operations in keyed.app.openapi()["paths"].items()
        for method in operations
    }
    assert routes == {*PATHS, ("GET", "/livez"), ("GET", "/readyz")}


@pytest.mark.parametrize("token", [None, "", "x", "fid_" + "A" * 43, "\u00ff", "Bearer"], ids=repr)
@pytest.mark.parametrize(("method", "path"), PATHS)
def test_nothing_without_a_key(keyed: Running, method: str, path: str, token: str | None) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token}".strip().encode("latin-1")}
    anybody = Running(keyed.url, keyed.data, keyed.app)
    answer = anybody.ask(method, path.format(id="video_" + "0" * 32), headers=headers)
    assert (answer.status_code, error_of(answer)["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_keys_see_only_their_own(keyed: Running, photo: bytes) -> None:
    ann, bob = keyed, keyed.with_key("bob")
    video = ann.made(photo, consent_ref="c", idempotency_key="same")
    for method, path in PATHS:
        if "{id}" in path:
            answer = bob.ask(method, path.format(id=video["id"]), json={"prompt": "a"} if "remix" in path else None)
            assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found"), path
    reused = bob.post("/v1/videos", json={"prompt": "a", "input_reference": video["id"]})
    assert (reused.status_code, error_of(reused)["code"]) == (404, "not_found")
    assert bob.get("/v1/videos").json()["data"] == []
    assert bob.get(f"/v1/videos?after={video['id']}").status_code == 400
    assert bob.post("/v1/purge", json={"consent_ref": "c"}).json()["jobs"] == 0
    assert bob.post("/v1/purge", files={"photo": ("a", photo)}).json()["jobs"] == 0
    assert bob.made(photo, idempotency_key="same")["id"] != video["id"]
    assert ann.get(f"/v1/videos/{video['id']}").json()["id"] == video["id"]


def test_a_photo_of_two_keys_stays_with_the_other(keyed: Running) -> None:
    ann, bob, photo = keyed, keyed.with_key("bob"), face(70)
    first, second = ann.made(photo), bob.made(photo)
    gone = ann.post("/v1/purge", files={"photo": ("a", photo)}).json()
    assert (gone["jobs"], gone["photos"]) == (1, 1), "as if nobody else had it"
    assert ann.get(f"/v1/videos/{first['id']}").status_code == 404
    job = keyed.service.store.get(second["id"])
    assert job and keyed.service.files.photo(job.photo_sha256).read_bytes() == photo


def test_revoked_at_once_and_never_open_again(start: Callable[..., Running]) -> None:
    server = start(**TAKING, keys=("ann",))
    assert server.get("/v1/videos").status_code == 200
    server.service.store.revoke_key("ann", now=1.0)
    assert server.get("/v1/videos").status_code == 401
    assert Running(server.url, server.data, server.app).get("/v1/videos").status_code == 401


def test_the_first_key_closes_a_server_that_runs(start: Callable[..., Running]) -> None:
    server = start(**TAKING)
    assert server.get("/v1/videos").status_code == 200
    server.service.store.add_key("ann", now=1.0)
    time.sleep(REMEMBERED_S)
    assert server.get("/v1/videos").status_code == 401


def test_a_key_s_own_limit(start: Callable[..., Running], photo: bytes) -> None:
    server = start(**TAKING, keys=("ann",))
    server.tokens["bob"] = server.service.store.add_key("bob", now=1.0, max_queued=1)[1]
    bob = server.with_key("bob")
    bob.made(photo)
    assert bob.create(photo).status_code == 429
    assert server.create(photo).status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "server.example", "192.168.0.7"])
def test_one_that_others_can_reach_takes_a_key(tmp_path: Path, host: str) -> None:
    with serving(tmp_path, **TAKING, host=host) as server:
        assert server.get("/v1/videos").status_code == 401


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("localhost.", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("192.168.7.7", 200),
        ("videos.example:443", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost@evil.example", 421),
        ("evil.example/localhost", 421),
        ("videos.example:99999999", 421),
        ("", 421),
        ("127.0.0.1.evil.example", 421),
    ],
)
def test_the_name_that_a_server_is_called_by(tmp_path_factory: pytest.TempPathFactory, host: str, status: int) -> None:
    client = TestClient(make_app(Settings(allowed_hosts=("videos.example",))))  # not started: /livez needs nothing
    answer = client.get("/livez", headers={"host": host})
    assert answer.status_code == status
    if status == 421:
        assert error_of(answer)["code"] == "host_not_allowed"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"origin": "http://localhost"}, 404),
        ({"origin": "https://localhost"}, 404),
        ({"sec-fetch-site": "same-origin"}, 404),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://localhost:3000"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"origin": "file://localhost"}, 403),
        ({"origin": "http://localhost@evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
    ids=str,
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/videos/x/cancel"), ("DELETE", "/v1/videos/x")])
def test_pages_of_other_servers(taking: Running, method: str, path: str, headers: dict[str, str], status: int) -> None:
    answer = taking.ask(method, path, headers={"host": "localhost", **headers})
    assert answer.status_code == status
    if status == 403:
        assert error_of(answer)["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in answer.headers
    assert taking.get("/v1/videos", headers={"host": "localhost", **headers}).status_code == 200  # changes nothing


@pytest.mark.parametrize("path", ["/", "/v1/videos", "/v1/videos/x", "/nowhere", "/openapi.json"])
def test_headers_on_every_answer(taking: Running, path: str) -> None:
    headers = taking.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] in ("no-store", "no-cache")
    assert re.fullmatch("req_[0-9a-f]{24}", headers["x-request-id"])
    assert "server" not in headers


def hostile_names() -> list[str]:
    """Names that are paths, or become some when they are decoded once too often."""
    targets = ["etc/passwd", "jobs.sqlite", "server.lock", "app.py", "photos", "windows/win.ini"]
    ups = ["../", "..\\", "..%2f", "..%5c", "%2e%2e/", "%2e%2e%2f", "..%252f", "..%c0%af", "....//", "..;/", "/", "//"]
    ups += ["file:///", "\\\\server\\share\\", "C:\\", "~/", "./", "%00/", ".%00./", "..%00/"]
    names = [up * depth + target for up in ups for depth in (1, 6) for target in targets[:5]]
    names += ["video_" + "0" * 31 + "/..", "video_" + "0" * 32 + "%00.png", "CON", ".", "..", "%", "video.mp4/.."]
    return names[:AS_MUCH]


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Names of all files that are opened, as Python's audit tells them; its hooks stay, so this one is switched off."""
    names: list[str] = []
    listening = True

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event == "open" and isinstance(arguments[0], str):
            names.append(arguments[0])

    sys.addaudithook(hook)
    yield names
    listening = False


def test_no_name_leads_out_of_the_folder(taking: Running, photo: bytes, opened: list[str]) -> None:
    names = hostile_names()
    assert len(names) == AS_MUCH
    known = taking.made(photo)
    del opened[:]
    for name in names:
        for path in (f"/v1/videos/{name}", f"/v1/videos/{name}/content", f"/page/{name}", f"/v1/models/{name}"):
            assert raw(taking, f"GET {path}") in (404, 400), path
        assert raw(taking, f"GET /v1/videos/{known['id']}/content?variant={name}") == 400
        made = taking.post("/v1/videos", json={"prompt": "a", "input_reference": name})
        assert made.status_code == 400, name
        file = taking.post("/v1/videos", data={"prompt": "a"}, files={"input_reference": (name, photo, name)})
        assert file.status_code == 200, file.text
    allowed = (str(taking.data), "/dev/", "/proc/", sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
    outside = {name for name in opened if name.startswith("/") and not name.startswith(allowed)}
    assert not {name for name in outside if "/tmp/tmp" not in name}
    assert not [name for name in opened if "passwd" in name or "win.ini" in name]
    assert not [name for name in opened if "/../" in name]


def raw(server: Running, line: str) -> int:
    """The status of a request whose line no client has put in order."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


def test_no_line_of_the_log_is_forged(taking: Running, photo: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", list(root.handlers))
    monkeypatch.setattr(root, "level", root.level)
    lines = io.StringIO()
    configure_logs(lines, redact_prompts=True)
    forged = 'a"\r\n{"event": "forged", "level": "info"}\x1b[2J\u2028'
    taking.made(photo, forged)
    taking.create(photo, "a", **{f"x{forged}": "1"})
    taking.post("/v1/videos", json={"prompt": "a", "input_reference": forged, "model": forged})
    taking.get("/v1/videos/" + "%0d%0a%7b%22event%22: %22forged%22%7d")
    taking.get("/v1/videos", headers={"user-agent": "a\tforged", "traceparent": "forged"})
    taking.post("/v1/videos", data={"prompt": "a"}, files={"input_reference": ("a\r\nforged", b"x")})
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert len([event for event in events if event["event"] == "request"]) == 6
    assert not [event for event in events if "forged" in json.dumps(event)]
