"""Many at once: jobs, clients that leave, jobs that are cancelled."""

import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import quantiles

import httpx
from serving.outcome import Outcome
from serving.server import FACE, SHORT, serving, until

SLEEPING = Path(__file__).parents[2] / "tests" / "server" / "sleeping_worker.py"
MIB = 2**20


def disconnects_and_cancels(folder: Path, *, clients: int = 200, cancels: int = 500) -> Outcome:
    """Clients of /v1/videos/sync that hang up, then jobs cancelled at random steps: nothing of them stays."""
    random.seed(2)
    with serving(folder, save_every_steps=2) as server:
        server.create()
        until(lambda: not server.unfinished(), 120)
        fields = {name: str(value) for name, value in (SHORT | {"num_inference_steps": 50, "num_frames": 9}).items()}

        def hang_up(index: int) -> None:
            patience = httpx.Timeout(5, read=random.uniform(0.05, 2.0))
            files = {"input_reference": ("face.png", FACE.read_bytes())}
            with suppress(httpx.TimeoutException):
                httpx.post(f"{server.url}/v1/videos/sync", data=fields, files=files, timeout=patience)

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(hang_up, range(clients)))
        left = until(lambda: not server.unfinished(), 60)
        before, free_s = server.memory_bytes(), []
        worker_before = server.workers()[0].memory_info().rss
        for _ in range(cancels):
            job = server.create(num_inference_steps=50, num_frames=9)["id"]
            time.sleep(random.uniform(0, 0.6))
            server.http.post(f"/v1/videos/{job}/cancel").raise_for_status()
            free_s.append(until(lambda: not server.unfinished(), 60))
            server.http.delete(f"/v1/videos/{job}").raise_for_status()
        job = server.create()["id"]
        until(lambda: not server.unfinished(), 120)
        figures = {
            "clients that left": clients,
            "jobs under way after they left, s": round(left, 2),
            "cancels": cancels,
            "slowest cancel, s": round(max(free_s), 2),
            "front end grew, MiB": round((server.memory_bytes() - before) / MIB, 1),
            "worker grew, MiB": round((server.workers()[0].memory_info().rss - worker_before) / MIB, 1),
            "next job": server.job(job)["status"],
            "worker restarts": len(server.events("worker_ended")),
        }
    passed = (
        figures["next job"] == "completed"
        and figures["worker restarts"] == 0
        and figures["front end grew, MiB"] < 50
        and figures["worker grew, MiB"] < 100
    )
    return Outcome("worker free within a step, memory flat, the next job completes", figures, passed)


def long_queue(folder: Path, *, jobs: int = 10_000, keys: int = 3) -> Outcome:
    """Three keys of very different appetite are served in turn, and lists are quick. The worker only sleeps."""
    command = [Path(sys.executable).with_name("fantasyid-engine"), "serve", "keys", "create"]
    tokens = [
        subprocess.run(
            [*command, f"key-{index}", "--data", folder / "data"], capture_output=True, text=True, check=True
        ).stdout.split()[-1]
        for index in range(keys)
    ]
    shares = [jobs - 200 * (keys - 1), *[200] * (keys - 1)]
    with serving(folder, worker=SLEEPING, max_queued=jobs, max_queued_per_key=max(shares)) as server:
        photo, limits = FACE.read_bytes(), httpx.Limits(max_connections=8)
        with httpx.Client(base_url=server.url, limits=limits, timeout=60) as http:

            def create(token: str) -> int:
                fields = {"prompt": "nods", "num_frames": "1"}
                files = {"input_reference": ("face.png", photo)}
                return http.post("/v1/videos", data=fields, files=files, headers=_bearer(token)).status_code

            with ThreadPoolExecutor(8) as pool:
                for token, share in zip(tokens, shares, strict=True):
                    statuses = set(pool.map(create, [token] * share))
                    assert statuses <= {200, 201}, statuses
            fields, files = {"prompt": "nods"}, {"input_reference": ("face.png", photo)}
            past_cap = [
                http.post("/v1/videos", data=fields, files=files, headers=_bearer(tokens[0])) for _ in range(400)
            ]
            refused = [answer for answer in past_cap if answer.status_code == 429]
            began = time.monotonic()
            until(lambda: all(_waiting(http, token) == 0 for token in tokens[1:]), 600)
            small_keys_s = time.monotonic() - began
            still_waiting = _waiting(http, tokens[0])
            list_s = []
            for _ in range(200):
                begin = time.monotonic()
                http.get("/v1/videos", params={"limit": 100}, headers=_bearer(tokens[0])).raise_for_status()
                list_s.append(time.monotonic() - begin)
        figures = {
            "jobs": sum(shares),
            "refused past the cap": len(refused),
            "with Retry-After": sum("retry-after" in answer.headers for answer in refused),
            "keys with 200 jobs done, s": round(small_keys_s, 1),
            "of the key with most, still waiting": still_waiting,
            "list p99, ms": round(1000 * quantiles(list_s, n=100)[98], 1),
        }
    passed = (
        still_waiting > 0
        and figures["refused past the cap"] == figures["with Retry-After"] > 0
        and figures["list p99, ms"] < 100
    )
    return Outcome("no starvation; 429 with Retry-After past the cap; list p99 < 100 ms", figures, passed)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _waiting(http: httpx.Client, token: str) -> int:
    """Unfinished jobs among the newest of a key with few jobs, or whether the key's newest job waits."""
    page = http.get("/v1/videos", params={"limit": 100}, headers=_bearer(token)).json()["data"]
    return sum(job["status"] in ("queued", "in_progress") for job in page)
