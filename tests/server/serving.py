"""A server in a thread of this process, and the smallest client of it."""

import io
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from PIL import Image

from fantasyid_engine.server.app import STORE, make_app
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.service import Service
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Store
from tests.server.pools import SLEEPING

NEVER_READY = [sys.executable, "-c", "import time; time.sleep(3600)"]
"""Jobs are taken, and stay queued."""
FACTS = Facts(
    name="avatar-mini",
    trained=True,
    frame_counts=(9, 49),
    fps=8,
    width=64,
    height=64,
    num_inference_steps=50,
    guidance_scale=6.0,
    shape_names=("jaw", "brow"),
    one_face=False,
)
TAKING: dict[str, Any] = {"command": NEVER_READY, "facts": FACTS}
"""A server that takes jobs, which stay queued: its model is known, but not loaded."""
FINAL = ("completed", "failed")


@dataclass
class Running:
    """A server: where it is, and its inside for what cannot be seen from outside."""

    url: str
    data: Path
    app: FastAPI
    tokens: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def service(self) -> Service:
        return self.app.state.service

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def with_key(self, name: str) -> "Running":
        return replace(self, headers={"authorization": f"Bearer {self.tokens[name]}"})

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=False) as client:  # no TLS to set up
            return client.request(method, path, headers=headers, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.ask("POST", path, **options)

    def create(self, photo: bytes, prompt: str = "smiles", **fields: Any) -> httpx.Response:
        texts = {name: str(value) for name, value in fields.items()}
        return self.post("/v1/videos", data={"prompt": prompt, **texts}, files={"input_reference": ("a.png", photo)})

    def made(self, photo: bytes, prompt: str = "smiles", **fields: Any) -> dict[str, Any]:
        answer = self.create(photo, prompt, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def wait(self, video_id: str, *states: str, timeout_s: float = 60) -> dict[str, Any]:
        """The video when it is in one of the states, or final."""
        until, pause_s = time.monotonic() + timeout_s, 0.03
        while time.monotonic() < until:
            video = self.get(f"/v1/videos/{video_id}").json()
            if video["status"] in (states or FINAL):
                return video
            time.sleep(pause_s)
            pause_s = min(1.5 * pause_s, 0.5)
        raise AssertionError(f"{video_id} is not {states or FINAL}: {video}")

    def wait_ready(self, timeout_s: float = 60) -> None:
        until = time.monotonic() + timeout_s
        while self.get("/readyz").status_code != 200:
            assert time.monotonic() < until, self.get("/readyz").text
            time.sleep(0.05)


@contextmanager
def serving(
    data: Path,
    *,
    command: Sequence[str] | None = None,
    facts: Facts | None = None,
    keys: Sequence[str] = (),
    **settings: Any,
) -> Iterator[Running]:
    """A server on a free port, until the end of the context; `facts` are of a model that it had before.

    With `keys`, API keys of these names, the first one's is used.
    """
    data.mkdir(parents=True, exist_ok=True)
    with closing(Store(data / STORE)) as store:
        if facts is not None:
            store.keep_facts(facts)
        tokens = {name: store.add_key(name, now=time.time())[1] for name in keys}
    options = {"port": 0, "drain_s": 0, "devices": ("cpu",), **settings}
    app = make_app(Settings(data=data, **options), command=command or SLEEPING)
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, server_header=False)
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listening:
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited; else each answer waits 40 ms
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        try:
            running = Running(f"http://127.0.0.1:{listening.getsockname()[1]}", data, app, tokens)
            yield running.with_key(keys[0]) if keys else running
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive(), "the server does not stop"


def face(side: int = 64) -> bytes:
    """A picture file, as a photo may be."""
    return encoded(Image.effect_mandelbrot((side, side), (-2, -1.5, 1, 1.5), 100).convert("RGB"))


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format)
    return buffer.getvalue()


def error_of(answer: httpx.Response) -> Mapping[str, Any]:
    """The error of an answer, of which it is checked that it has the one shape."""
    body = answer.json()
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message", "type", "param"}, body
    assert body["error"]["message"].isprintable() and "/" + "tmp" not in body["error"]["message"]
    return body["error"]
