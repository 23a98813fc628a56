"""What goes wrong inside: memory runs out, a job that kills its worker, files that are none, a disk that is full."""

import asyncio
import os
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

import httpx
from serving.outcome import Outcome
from serving.server import serving, until

ROOT = Path(__file__).parents[2]
FAULTY = ROOT / "tests" / "server" / "faulty_worker.py"
"""The real worker with faults put in, by words in the prompt."""
MIB = 2**20
FULL_S = 20
"""More than the render takes."""


def out_of_memory(folder: Path) -> Outcome:
    """The allocator fails in the DiT: a render that can be leaner is; one that cannot fails alone."""
    with serving(folder, worker=FAULTY) as server:
        leaner = server.create(prompt="nods [oom batched]")["id"]
        lost = server.create(prompt="nods [oom]")["id"]
        next_ones = [server.create(seed=seed)["id"] for seed in range(5)]
        until(lambda: not server.unfinished(), 600)
        figures = {
            "leaner": server.job(leaner)["status"],
            "its notes": server.job(leaner)["notes"],
            "hopeless": (server.job(lost)["error"] or {}).get("code"),
            "next five": [server.job(job)["status"] for job in next_ones].count("completed"),
            "worker restarts": len(server.events("worker_ended")),
        }
    passed = [figures["leaner"], figures["hopeless"], figures["next five"], figures["worker restarts"]]
    return Outcome(
        "it degrades or fails with out_of_memory; the next 5 succeed without a restart",
        figures,
        passed == ["completed", "out_of_memory", 5, 0],
    )


def poison(folder: Path, *, others: int = 6) -> Outcome:
    """A job that kills its worker each time."""
    with serving(folder, worker=FAULTY) as server:
        bad = server.create(prompt="nods [die 2]")["id"]
        good = [server.create(seed=seed)["id"] for seed in range(others)]
        until(lambda: not server.unfinished(), 900)
        started = sum(event["job_id"] == bad for event in server.events("job_started"))
        figures = {
            "attempts": started,
            "poison": (server.job(bad)["error"] or {}).get("code"),
            "others completed": [server.job(job)["status"] for job in good].count("completed"),
        }
    passed = figures == {"attempts": 3, "poison": "worker_died", "others completed": others}
    return Outcome("failed after 3 attempts; the others finish", figures, passed)


def malformed_uploads(folder: Path, *, uploads: int = 1_000) -> Outcome:
    """1,000 files that are no pictures, or only begin as such."""
    sys.path.insert(0, str(ROOT))
    from tests.server.test_uploads import malformed

    with serving(folder) as server:
        statuses: list[int] = []
        server.create()
        until(lambda: not server.unfinished(), 120)

        async def send_all() -> None:
            files = islice(malformed(), uploads)  # there is no end of them
            async with httpx.AsyncClient(base_url=server.url, timeout=120) as http:

                async def sender(most: int | None) -> None:
                    for data in islice(files, most):
                        form = {"input_reference": ("face.png", data)}
                        answer = await http.post("/v1/videos", data={"prompt": "nods"}, files=form)
                        statuses.append(answer.status_code)

                await asyncio.gather(*(sender(8) for _ in range(8)))  # what a first use allocates is not counted
                before = server.memory_bytes()
                await asyncio.gather(*(sender(None) for _ in range(8)))
                figures["memory grew, MiB"] = round((server.memory_bytes() - before) / MIB, 1)

        figures: dict[str, float] = {}
        asyncio.run(send_all())
        figures |= {
            "uploads": len(statuses),
            "4xx": sum(400 <= status < 500 for status in statuses),
            "5xx": sum(status >= 500 for status in statuses),
            "other jobs than the good one": len(server.jobs()) - 1,
        }
    passed = figures["4xx"] == figures["uploads"] == uploads and figures["memory grew, MiB"] < 50
    return Outcome("1,000 4xx, 0 5xx, memory + < 50 MiB", figures, passed)


def schema(folder: Path, *, examples: int = 260, least: int = 5_000) -> Outcome:
    """schemathesis against the frozen document: the server's own test, with more and other examples an operation."""
    words = [sys.executable, "-m", "pytest", "-q", ROOT / "tests" / "server" / "test_openapi.py"]
    report = folder / "report.xml"
    words += [
        f"--basetemp={folder / 'tests'}",
        "-p",
        "no:cacheprovider",
        "-o",
        "junit_family=xunit1",
        f"--junitxml={report}",
    ]
    environment = os.environ | {"FANTASYID_API_EXAMPLES": str(examples)}
    told = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    suite = ElementTree.parse(report).getroot()
    counted = [int(found.get("value", 0)) for found in suite.iter("property") if found.get("name") == "cases"]
    failed = len([*suite.iter("failure"), *suite.iter("error")])
    figures = {"cases": sum(counted), "operations and modes": len(counted), "failed of these": failed}
    passed = told.returncode == 0 and sum(counted) >= least
    return Outcome(">= 5,000 cases: 0 5xx, 0 schema violations", figures, passed)


def disk_full(folder: Path) -> Outcome:
    """A data folder of 24 MiB (a tmpfs; needs root) that is filled up while jobs are taken and rendered."""
    small = folder / "small"
    small.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", small], check=True)
    try:
        with serving(small) as server:
            first = server.create(num_inference_steps=20, num_frames=9)["id"]
            ballast = small / "ballast"
            until(lambda: server.job(first)["status"] == "in_progress", 60)
            _fill(ballast)
            refused = [server.post(seed=seed).status_code for seed in range(5)]
            time.sleep(FULL_S)
            stuck = server.job(first)["status"]
            partial = [path.name for path in (server.data / "videos").rglob("*") if path.name.endswith(".partial")]
            ballast.unlink()
            until(server.ready, 120)
            after = server.create()["id"]
            until(lambda: not server.unfinished(), 300)
            figures = {
                "while full, creates": sorted(set(refused)),
                "while full, the render": stuck,
                "partial final files": len(partial),
                "the render afterwards": server.job(first)["status"],
                "a new job": server.job(after)["status"],
            }
    finally:
        subprocess.run(["umount", "-l", small], check=True)
    passed = (
        figures["partial final files"] == 0
        and figures["the render afterwards"] == figures["a new job"] == "completed"
        and all(status in (200, 503, 507) for status in refused)
    )
    return Outcome("no partial final file; goes on once space is back", figures, passed)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
