"""The command `serve` as an operator has it: a process that is started, refused, asked to stop, and started again."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from fantasyid_engine.server.app import STORE
from fantasyid_engine.server.store import Store

SERVE = [str(Path(sys.executable).with_name("fantasyid-engine")), "serve"]
SERVE_WITH = Path(__file__).parents[2] / "benchmarks" / "serving" / "serve_with.py"
SLEEPING = Path(__file__).with_name("sleeping_worker.py")


class Process:
    """A server of its own process, with a worker that sleeps."""

    def __init__(self, folder: Path, **environment: str) -> None:
        config = folder / "serve.toml"
        config.write_text(f'data = "{folder / "data"}"\nport = 0\ndevices = ["cpu"]\ndrain_s = 0.5\n')
        words = [sys.executable, SERVE_WITH, "--worker", SLEEPING, "--config", config]
        self.process = subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**environment}
        )
        assert self.process.stdout is not None
        self.first = self.process.stdout.readline()
        found = re.search(r"http://\S+", self.first)
        self.url = found[0] if found else ""

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def create(self, photo: bytes, prompt: str) -> str:
        files = {"input_reference": ("a.png", photo)}
        answer = httpx.post(f"{self.url}/v1/videos", data={"prompt": prompt, "num_frames": "9"}, files=files)
        assert answer.status_code == 200, answer.text
        return answer.json()["id"]

    def status(self, video_id: str) -> str:
        return httpx.get(f"{self.url}/v1/videos/{video_id}").json()["status"]

    def wait(self, video_id: str, status: str) -> None:
        until = time.monotonic() + 60
        while self.status(video_id) != status:
            assert time.monotonic() < until, self.status(video_id)
            time.sleep(0.05)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(**environment: str) -> Process:
        started.append(Process(tmp_path, **os.environ, **environment))
        return started[-1]

    yield make
    for one in started:
        one.process.kill()
        one.process.wait()
        assert one.process.stdout is not None
        one.process.stdout.close()


def refused(*words: str | Path) -> tuple[int, str]:
    done = subprocess.run([*SERVE, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stderr.splitlines()[-1]


def test_it_serves_drains_and_goes_on(start: Callable[..., Process], photo: bytes) -> None:
    server = start(FANTASYID_SLEEP_STEP_MS="100", FANTASYID_SLEEP_STEPS="40")
    assert server.first.startswith("serving avatar-mini on http://127.0.0.1:")
    assert re.fullmatch(r"ready after \d+\.\d s\n", server.line())
    running, waiting = server.create(photo, "nods"), server.create(photo, "smiles")
    server.wait(running, "in_progress")
    server.process.send_signal(signal.SIGTERM)
    assert server.line().startswith("stopping")
    refusal = httpx.post(f"{server.url}/v1/videos", data={"prompt": "x"}, files={"input_reference": ("a.png", photo)})
    assert refusal.status_code == 503 and refusal.json()["error"]["code"] == "draining"
    assert server.process.wait(30) == 0

    again = start(FANTASYID_SLEEP_STEP_MS="1", FANTASYID_SLEEP_STEPS="40")
    for video_id in (running, waiting):
        again.wait(video_id, "completed")
    again.process.send_signal(signal.SIGINT)
    assert again.process.wait(30) == 0


def test_asked_twice_it_stops_at_once(start: Callable[..., Process], photo: bytes) -> None:
    server = start(FANTASYID_SLEEP_STEP_MS="3600000")
    server.line()
    server.wait(server.create(photo, "[hang 1]"), "in_progress")
    server.process.send_signal(signal.SIGTERM)
    server.line()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0


def test_no_worker_can_start(start: Callable[..., Process]) -> None:
    server = start(FANTASYID_SLEEP_START="refuse")
    assert server.process.wait(60) != 0


def test_a_folder_that_is_in_use(start: Callable[..., Process], tmp_path: Path) -> None:
    start()
    code, line = refused("--data", tmp_path / "data", "--port", "0")
    assert code == 78 and "in use by a server" in line


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, line = refused("--data", tmp_path, "--port", str(port))
    assert code == 78 and f"cannot listen on 127.0.0.1:{port}" in line and "name another" in line


def test_others_need_a_key(tmp_path: Path) -> None:
    code, line = refused("--data", tmp_path, "--host", "0.0.0.0", "--port", "0")
    assert code == 78 and "no API key" in line
    with closing(Store(tmp_path / STORE)) as store:
        store.add_key("ann", now=1.0)
        store.revoke_key("ann", now=2.0)
    assert refused("--data", tmp_path, "--host", "0.0.0.0", "--port", "0") == (code, line)


def test_others_behind_a_proxy_need_a_key_too(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text(f'data = "{tmp_path}"\nport = 0\nallowed_hosts = ["videos.example"]\n')
    code, line = refused("--config", tmp_path / "serve.toml")
    assert code == 78 and "others can reach videos.example, and there is no API key" in line
    assert "keys create" in line and "without allowed_hosts" in line


def test_settings_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "serve.toml").write_text("max_stepz = 3\n")
    code, line = refused("--config", tmp_path / "serve.toml")
    assert code == 78 and "max_stepz" in line and "serve.toml" in line
    assert refused("--config", tmp_path / "none.toml")[0] == 78
