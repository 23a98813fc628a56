"""Processes that die: workers under their jobs, the server under all of them."""

import json
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from serving.outcome import Outcome
from serving.server import FACE, SHORT, Server, serving, until

SEEDS = 5


def kill_workers(folder: Path, *, jobs: int = 200, kills: int = 20) -> Outcome:
    """`kill -9` of busy workers over short jobs; jobs of one seed must come to the same frames."""
    random.seed(0)
    with serving(folder) as server:
        ids = [server.create(seed=index % SEEDS)["id"] for index in range(jobs)]
        killed = 0
        while killed < kills and server.unfinished():
            time.sleep(random.uniform(0.2, 1.5))
            busy = [job for job in server.jobs() if job["status"] == "in_progress"]
            for worker in server.workers()[: len(busy)]:
                worker.send_signal(signal.SIGKILL)
                killed += 1
            until(lambda: server.ready() or not server.unfinished(), 120)
        until(lambda: not server.unfinished(), 3600)
        done = server.jobs()
        frames = {(job["seed"], job["frames_sha256"]) for job in done}
        started = Counter(event["job_id"] for event in server.events("job_started"))
        completed = Counter(event["job_id"] for event in server.events("job_finished"))
        figures = {
            "jobs": jobs,
            "kills": killed,
            "lost": len(set(ids) - {job["id"] for job in done}),
            "completed": sum(job["status"] == "completed" for job in done),
            "finished twice": sum(count > 1 for count in completed.values()),
            "different frames of one seed": len(frames) - SEEDS,
            "renders started again": sum(started.values()) - jobs,
        }
    passed = (
        killed == kills
        and figures["lost"] == figures["finished twice"] == figures["different frames of one seed"] == 0
        and figures["completed"] == jobs
        and figures["renders started again"] <= kills
    )
    return Outcome("0 lost, 0 duplicates, at most one re-render a kill, all completed", figures, passed)


def kill_server(folder: Path, *, jobs: int = 60, kills: int = 10) -> Outcome:
    """`kill -9` of the server, at random moments; what was taken is still there, in its order."""
    random.seed(1)
    server = Server(folder)
    warm_s = server.start()
    try:
        for index in range(jobs):
            server.create(seed=index, priority=index % 3, num_inference_steps=10)
        seen = {job["id"]: (job["priority"], job["seed"]) for job in server.jobs()}
        order = _queue(server)
        moved, ready_s = 0, []
        for _ in range(kills):
            time.sleep(random.uniform(0.1, 2.0))
            server.kill()
            ready_s.append(server.start())
            now = {job["id"]: (job["priority"], job["seed"]) for job in server.jobs()}
            after = _queue(server)
            moved += [job for job in order if job in set(after)] != [job for job in after if job in set(order)]
            moved += now != seen
            order = after
        until(lambda: not server.unfinished(), 3600)
        done = server.jobs()
        figures = {
            "jobs": jobs,
            "kills": kills,
            "restarts with other ids, order or priorities": moved,
            "completed": sum(job["status"] == "completed" for job in done),
            "first start, s": round(warm_s, 1),
            "slowest restart, s": round(max(ready_s), 1),
        }
    finally:
        server.kill()
    passed = moved == 0 and figures["completed"] == jobs and max(ready_s) <= warm_s + 10
    return Outcome("same ids, order, priorities; ready again within warm-up + 10 s; all completed", figures, passed)


def worker_dies_alone(folder: Path, *, callers: int = 20) -> Outcome:
    """The only worker dies: the server says so, takes jobs, and all who wait get their videos."""
    with serving(folder) as server:
        server.workers()[0].send_signal(signal.SIGKILL)
        unready_s = until(lambda: server.http.get("/readyz").status_code == 503, 30)
        began = time.monotonic()
        server.create()
        post_s = time.monotonic() - began

        def call(seed: int) -> bool:
            fields = {name: str(value) for name, value in (SHORT | {"seed": seed}).items()}
            files = {"input_reference": ("face.png", FACE.read_bytes())}
            answer = server.http.post("/v1/videos/sync", data=fields, files=files, timeout=600)
            return answer.status_code == 200 and answer.content[4:8] == b"ftyp"

        with ThreadPoolExecutor(callers) as pool:
            finished = sum(pool.map(call, range(callers)))
        figures = {"503 after, s": round(unready_s, 2), "POST, s": round(post_s, 3), "callers served": finished}
    passed = unready_s <= 5 and post_s <= 1 and finished == callers
    return Outcome(f"503 within 5 s; a POST within 1 s; {callers} callers served", figures, passed)


def resume(folder: Path, *, steps: int = 50, at: int = 30) -> Outcome:
    """`kill -9` at a step in the middle: the frames are those of a render that nobody disturbed."""
    job = {"prompt": "the person nods and smiles", "seed": 11, "num_inference_steps": steps, "num_frames": 9}
    with serving(folder, save_every_steps=5) as server:
        quiet = server.create(**job)["id"]
        until(lambda: not server.unfinished(), 600)
        killed = server.create(**job)["id"]
        state = server.data / "states" / f"{killed}.safetensors"
        until(lambda: _steps_saved(state) >= at, 600)
        server.workers()[0].send_signal(signal.SIGKILL)
        until(lambda: not server.unfinished(), 600)
        one, other = server.job(quiet), server.job(killed)
        returned = [event["job_id"] for event in server.events("job_returned")]
        figures = {
            "killed after step": at,
            "renders that were taken up again": len(returned),
            "same frames": one["frames_sha256"] == other["frames_sha256"] is not None,
            "notes": other["notes"],
        }
    return Outcome("the frames of an undisturbed render", figures, figures["same frames"] and returned == [killed])


def _steps_saved(state: Path) -> int:
    """Of a state file, by its header; 0 where there is none."""
    try:
        with state.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        return json.loads(header["__metadata__"]["state"])["steps_done"]
    except FileNotFoundError:
        return 0


def _queue(server: Server) -> list[str]:
    """Queued jobs, next first."""
    waiting = [server.job(job["id"]) for job in server.jobs() if job["status"] == "queued"]
    places = [(job["queue_position"], job["id"]) for job in waiting if job["status"] == "queued"]
    return [job_id for _, job_id in sorted(places)]
