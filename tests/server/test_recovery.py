"""Pool and real worker with the miniature: renders that are killed, saved or short of memory make the same frames."""

import asyncio
import os
import signal
import sys
from importlib.resources import files
from pathlib import Path

from fantasyid_engine.server.process import COMMAND
from tests.server.pools import pool, run, until

PHOTO = (files("fantasyid_engine") / "face" / "avatar_example.png").read_bytes()
FAULTY = (sys.executable, str(Path(__file__).with_name("faulty_worker.py")))
SETTINGS = {"photo": PHOTO, "num_inference_steps": 50, "num_frames": 9}


def test_the_same_frames_whatever_happens(tmp_path: Path) -> None:
    """Killed at step 30 of 50; cancelled; drained, and finished by the next server."""

    async def test() -> None:
        async with pool(tmp_path, command=COMMAND, save_every_steps=5) as running:
            undisturbed = (await running.final(running.make(**SETTINGS), timeout_s=400))[0]
            assert undisturbed.state == "completed", undisturbed
            frames = undisturbed.result["frames_sha256"]

            killed = running.make(**SETTINGS)
            await running.live(killed, lambda live: live.stage == "denoise" and live.step >= 30)
            pid = running.pool.workers()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            ended = (await running.final(killed, timeout_s=400))[0]
            assert ended.state == "completed" and ended.result["frames_sha256"] == frames
            assert 25 <= ended.result["resumed_at_step"] < 50 and ended.attempts <= 1

            unwanted = running.make(**SETTINGS | {"num_inference_steps": 1000})
            await running.live(unwanted, lambda live: live.stage == "denoise" and live.step >= 5)
            running.store.cancel(unwanted.id, key_id=None, now=1.0, expires_at=None)
            step = running.hub.progress(unwanted.id)
            await running.pool.cancel(unwanted.id)
            last = step
            while (live := running.hub.progress(unwanted.id)) is not None:
                last = live
                await asyncio.sleep(0)
            assert step is not None and last is not None and last.step < 1000 / 4
            assert (await running.final(unwanted))[0].error_code == "cancelled" and running.nothing_left()

            drained = running.make(**SETTINGS)
            await running.live(drained, lambda live: live.stage == "denoise" and live.step >= 10)
            await running.pool.drain()
            steps = running.job(drained).steps_saved
            assert running.job(drained).state == "queued" and 10 <= steps <= 50
        async with pool(tmp_path, command=COMMAND) as running:
            ended = (await running.final(drained, timeout_s=400))[0]
            assert ended.result["frames_sha256"] == frames and ended.result["resumed_at_step"] == steps

    run(test)


def test_poison_and_too_little_memory(tmp_path: Path) -> None:
    """With faults put in: one fails after its attempts, one in an orderly way, all others are fine."""

    async def test() -> None:
        short = SETTINGS | {"num_inference_steps": 4, "num_frames": 1}
        async with pool(tmp_path, command=FAULTY, max_attempts=2) as running:
            poison = running.make("[die 2]", **short)
            memory = running.make("[oom]", **short)
            lean = running.make("[oom batched]", **short)
            good = [running.make(**short) for _ in range(5)]
            ended = await running.final(poison, memory, lean, *good, timeout_s=500)
            assert [(job.state, job.error_code) for job in ended] == [
                ("failed", "worker_died"),
                ("failed", "out_of_memory"),
                *[("completed", None)] * 6,
            ]
            assert len({job.result["frames_sha256"] for job in ended[3:]}) == 1
            assert running.pool.workers()[0].restarts == 2, "memory cost no worker"
            assert {said[1] for said in running.told.of("out_of_memory")} == {memory.id, lean.id}
            await until(running.nothing_left, 5)

    run(test)
