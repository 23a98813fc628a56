"""What `fantasyid-engine serve` takes of a machine: the front end alone, and how busy it keeps a worker.

    python benchmarks/bench_server.py [--jobs 10000] [--videos 20]

Front end alone: a worker that only sleeps (tests/server/sleeping_worker.py), jobs of one photo. Then the real one with
avatar-mini. Server and clients are processes of one machine.
"""

import argparse
import asyncio
import os
import random
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx
import torch
from report import write_report
from serving.floods import SLEEPING
from serving.server import FACE, Server, serving, until

CLIENTS, GETS = 16, 3_000
FACE_FILE = ("face.png", FACE.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--videos", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        results = front_end(Path(folder) / "front", options.jobs) | mini(Path(folder) / "mini", options.videos)
    rows = ["| measure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in results.items())]
    write_report("bench_server", results, "\n".join(rows), torch.device("cpu"))


def front_end(folder: Path, jobs: int) -> dict[str, Any]:
    """Jobs taken a second while none is done, then the time that a GET takes with all of them stored."""
    os.environ["FANTASYID_SLEEP_STEP_MS"] = "3600000"  # nothing is done meanwhile
    with serving(folder, worker=SLEEPING, max_queued=2 * jobs, max_queued_per_key=2 * jobs) as server:
        ids, create_s = asyncio.run(_create(server, jobs))
        get_s = asyncio.run(_get(server, ids))
    return {
        f"creates a second, {CLIENTS} clients": round(jobs / sum(create_s)),
        "slowest thousand: creates a second": round(min(1000, jobs) / max(create_s)),
        f"GET p50 with {jobs} jobs stored, ms": round(1000 * quantiles(get_s, n=100)[49], 1),
        f"GET p99 with {jobs} jobs stored, ms": round(1000 * quantiles(get_s, n=100)[98], 1),
    }


async def _create(server: Server, jobs: int) -> tuple[list[str], list[float]]:
    """Ids, and seconds of each thousand."""
    ids: list[str] = []
    seconds: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
        # One body, put together once: the client should cost little, for it shares the machine.
        form = http.build_request("POST", "/v1/videos", data={"prompt": "nods"}, files={"input_reference": FACE_FILE})
        body, headers = await form.aread(), {"content-type": form.headers["content-type"]}

        async def client(share: int) -> None:
            for _ in range(share):
                answer = await http.post("/v1/videos", content=body, headers=headers)
                answer.raise_for_status()
                ids.append(answer.json()["id"])

        for _ in range(max(1, jobs // 1000)):
            began = time.perf_counter()
            await asyncio.gather(*(client(min(1000, jobs) // CLIENTS) for _ in range(CLIENTS)))
            seconds.append((time.perf_counter() - began) * min(1000, jobs) / (min(1000, jobs) // CLIENTS * CLIENTS))
    return ids, seconds


async def _get(server: Server, ids: list[str]) -> list[float]:
    random.seed(0)
    seconds: list[float] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:

        async def client() -> None:
            for job_id in random.sample(ids, min(GETS // 2, len(ids))):
                began = time.perf_counter()
                (await http.get(f"/v1/videos/{job_id}")).raise_for_status()
                seconds.append(time.perf_counter() - began)

        await asyncio.gather(client(), client())
    return seconds


def mini(folder: Path, videos: int) -> dict[str, Any]:
    """Videos an hour of one CPU worker at the model's own settings, and its busy share while jobs wait."""
    with serving(folder) as server:
        ready_s = server.start_s
        server.create(num_inference_steps=None, num_frames=None)
        until(lambda: not server.unfinished(), 600)
        before, began = _busy_s(server), time.perf_counter()
        for seed in range(videos):
            server.create(seed=seed, num_inference_steps=None, num_frames=None)
        until(lambda: server.unfinished() <= 1, 3600)
        seconds = time.perf_counter() - began
        busy_s = _busy_s(server) - before
        done = videos - server.unfinished()
    return {
        "ready after, s": round(ready_s, 1),
        "avatar-mini: videos an hour, one worker": round(3600 * done / seconds),
        "avatar-mini: busy share while jobs wait": round(busy_s / seconds, 3),
    }


def _busy_s(server: Server) -> float:
    lines = server.http.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if "worker_busy_seconds_total{" in line)


if __name__ == "__main__":
    main()
