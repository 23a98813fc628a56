"""A server under test: `fantasyid-engine serve` as a process of its own, on a folder of its own, driven over HTTP."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

FACE = Path(__file__).parents[2] / "docs" / "examples" / "face.png"
LISTENS = re.compile(r"on (http://[\d.]+:\d+)")
SHORT = {"prompt": "the person nods", "num_inference_steps": 4, "num_frames": 1}
"""A job of about a second."""


class Server:
    """One server; `start` it, drive it through `http`, kill it, start it again on the same folder."""

    def __init__(self, folder: Path, *, worker: Path | None = None, **settings: Any) -> None:
        """`worker` is a script that stands in for the real worker; `settings` are those of the server's TOML file."""
        self.folder = folder
        self.data, self.log = folder / "data", folder / "server.log"
        self._worker = worker
        folder.mkdir(parents=True, exist_ok=True)
        values = {"data": str(self.data), "port": 0, "model": "avatar-mini", "devices": ["cpu"]} | settings
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        (folder / "serve.toml").write_text("".join(lines), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start it first"
        return self._process

    def start(self, *, ready_s: float | None = 120) -> float:
        """Starts it and waits until it is ready (or, with None, until it listens); seconds that took."""
        began, listened = time.monotonic(), self.log.stat().st_size if self.log.exists() else 0
        words = [Path(sys.executable).with_name("fantasyid-engine"), "serve"]
        if self._worker is not None:
            words = [sys.executable, Path(__file__).with_name("serve_with.py"), "--worker", self._worker]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*words, "--config", self.folder / "serve.toml"], stdout=log, stderr=log, start_new_session=True
            )

        def listens() -> bool:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server left with {self.process.returncode}: {self.log.read_text()[-2000:]}")
            found = LISTENS.search(self.log.read_text(errors="replace")[listened:])
            self.url = found[1] if found else ""
            return bool(self.url)

        until(listens, 60)
        self.http = httpx.Client(base_url=self.url, timeout=60)
        if ready_s is not None:
            until(self.ready, ready_s)
        self.start_s = time.monotonic() - began
        return self.start_s

    def ready(self) -> bool:
        return self.http.get("/readyz").status_code == 200

    def workers(self) -> list[psutil.Process]:
        """Worker processes that live."""
        try:
            children = psutil.Process(self.process.pid).children()
            return [child for child in children if child.status() != psutil.STATUS_ZOMBIE]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """As a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """As an operator would; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=120)

    def create(self, **values: Any) -> dict[str, Any]:
        """A job that must be taken; fields that are None are the model's own."""
        answer = self.post(**values)
        answer.raise_for_status()
        return answer.json()

    def post(self, **values: Any) -> httpx.Response:
        fields = {name: str(value) for name, value in (SHORT | values).items() if value is not None}
        return self.http.post("/v1/videos", data=fields, files={"input_reference": ("face.png", FACE.read_bytes())})

    def job(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/v1/videos/{job_id}").json()

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, in the order they were made."""
        found: list[dict[str, Any]] = []
        more = True
        while more:
            after = {"after": found[-1]["id"]} if found else {}
            page = self.http.get("/v1/videos", params={"limit": 100, "order": "asc"} | after).json()
            found += page["data"]
            more = page["has_more"]
        return found

    def unfinished(self) -> int:
        return sum(job["status"] in ("queued", "in_progress") for job in self.jobs())

    def events(self, name: str) -> list[dict[str, Any]]:
        """Events of this name in the log, of all runs."""
        lines = (line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{"))
        return [event for event in map(json.loads, lines) if event.get("event") == name]

    def memory_bytes(self) -> int:
        """Resident memory of the front end."""
        return psutil.Process(self.process.pid).memory_info().rss


def until(holds: Callable[[], object], most_s: float) -> float:
    """Waits until something holds, and says how long that took; raises TimeoutError."""
    began = time.monotonic()
    while True:
        try:
            if holds():
                return time.monotonic() - began
        except httpx.TransportError:
            pass
        if time.monotonic() - began > most_s:
            raise TimeoutError(f"{getattr(holds, '__qualname__', holds)} did not hold within {most_s:g} s")
        time.sleep(0.02)


@contextmanager
def serving(folder: Path, *, worker: Path | None = None, **settings: Any) -> Iterator[Server]:
    """A server that is ready; killed with its workers at the end, whatever happens."""
    server = Server(folder, worker=worker, **settings)
    try:
        server.start()
        yield server
    finally:
        if server._process is not None and server._process.poll() is None:
            os.killpg(server._process.pid, signal.SIGKILL)
            server._process.wait()
