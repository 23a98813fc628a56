"""Supervision, with the fake worker that sleeps: real processes, real deaths, no model."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.errors import ConfigError, WriteError
from fantasyid_engine.server import slot as slot_module
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.messages import Facts
from tests.server.pools import PHOTO, Running, pool, run, until


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A process that nobody has waited for is still there, and dead.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def pid_of(running: Running, place: int = 0) -> int:
    pid = running.pool.workers()[place].pid
    assert pid is not None
    return pid


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait a second for each worker that they kill."""
    monkeypatch.setattr(slot_module, "LEAST_BACKOFF_S", 0.05)


def test_a_job_is_rendered(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path) as running:
            assert not running.pool.ready and running.pool.facts is None and running.pool.refusal is None
            job = running.make(num_inference_steps=10)
            assert (await running.final(job))[0].state == "completed"
            ended = running.job(job)
            assert ended.result["seed"] == 7 and ended.result["resumed_at_step"] == 0
            assert ended.steps_saved == 10 and ended.lease is None and ended.worker == "worker-0"
            assert ended.expires_at == pytest.approx(time.time() + 168 * 3600, abs=60)
            folder = running.files.video(job.id, "video").parent
            names = {"video.mp4", "thumbnail.webp", "spritesheet.jpg", "result.json"}
            assert {path.name for path in folder.iterdir()} == names
            assert json.loads((folder / "result.json").read_text()) == ended.result
            await until(lambda: running.hub.progress(job.id) is None, 5)
            assert not running.files.state(job.id).exists() and running.nothing_left()
            assert running.pool.ready and isinstance(running.pool.facts, Facts)
            assert running.store.facts() == running.pool.facts
            status = running.pool.workers()[0]
            assert (status.state, status.job_id, status.restarts) == ("idle", None, 0)
            stages = [said[2] for said in running.told.of("stage")]
            assert stages == ["face", "text", "denoise", "decode"]
            assert running.told.of("finished") == [("finished", job.id, "completed", None)]

    run(test)


def test_progress_grows(tmp_path: Path) -> None:
    """Also over the death of a worker: the next one goes on from the saved state."""

    async def test() -> None:
        async with pool(tmp_path, save_every_steps=5) as running:
            job = running.make("[die-anew 28]", num_inference_steps=40)
            percents: list[list[int]] = [[]]
            seen = 0
            while running.job(job).state in ("queued", "in_progress"):
                seen = await running.hub.wait(job.id, seen, 1)
                live = running.hub.progress(job.id)
                if live is not None:
                    percents[-1].append(live.percent)
                elif percents[-1]:
                    percents.append([])
            assert running.job(job).state == "completed" and running.job(job).result["resumed_at_step"] == 25
            first, second = (attempt for attempt in percents if attempt)
            assert first == sorted(first) and second == sorted(second)
            assert second[0] >= 55 and second[-1] >= 90 and len(set(first + second)) > 20
            assert all(0 <= percent < 100 for percent in first + second)

    run(test)


def test_twenty_deaths_of_workers_lose_nothing(tmp_path: Path) -> None:
    """Each job is rendered to its end exactly once, whatever happens to workers."""

    async def test() -> None:
        async with pool(tmp_path, devices=("cpu", "cpu"), save_every_steps=2) as running:
            jobs = [running.make(f"job {number}", num_inference_steps=6) for number in range(60)]
            for killed in range(20):
                await until(lambda least=2 * killed: len(running.told.of("finished")) > least, 60)
                await until(lambda: any(worker.state == "busy" for worker in running.pool.workers()), 60)
                busy = next(worker for worker in running.pool.workers() if worker.state == "busy")
                assert busy.pid is not None
                os.kill(busy.pid, signal.SIGKILL)
            ended = await running.final(*jobs)
            assert [job.state for job in ended] == ["completed"] * 60
            assert len(running.told.of("finished")) == 60
            assert len(running.told.of("started")) <= 80, "no more is rendered again than workers died"
            assert len({job.result["frames_sha256"] for job in ended}) == 60
            assert len(list((tmp_path / "videos").iterdir())) == 60 and running.nothing_left()

    run(test)


def test_a_poison_job_fails_and_the_others_do_not(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path, max_attempts=3) as running:
            poison = running.make("[die]")
            others = [running.make() for _ in range(5)]
            ended = await running.final(poison, *others)
            assert (ended[0].state, ended[0].error_code, ended[0].attempts) == ("failed", "worker_died", 3)
            assert "3 times" in str(ended[0].error_message)
            assert [job.state for job in ended[1:]] == ["completed"] * 5
            assert len(running.told.of("ended")) == 3 and running.pool.workers()[0].restarts == 3
            assert running.told.of("ended")[0][3] == -signal.SIGKILL

    run(test)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ("[garbage 2]", "it said what is no message"),
        ("[flood 2]", "it said a line of more than 1048576 bytes"),
        ("[freeze 2]", "it said nothing for 2 s"),
        ("[hang 2]", "its render got no further in time"),
    ],
)
def test_a_worker_that_goes_wrong_is_killed(tmp_path: Path, fault: str, why: str) -> None:
    """And its job given to another, until it has had its attempts; the next job is fine."""

    async def test() -> None:
        async with pool(tmp_path, lease_s=2, step_timeout_s=4, max_attempts=1) as running:
            await running.ready()
            first = pid_of(running)
            bad, good = running.make(fault), running.make()
            ended = await running.final(bad, good)
            assert (ended[0].state, ended[0].error_code) == ("failed", "worker_died")
            assert ended[1].state == "completed"
            assert not alive(first) and running.told.of("ended") == [("ended", "worker-0", why, -signal.SIGKILL)]

    run(test)


def test_a_worker_that_dies_idle_is_replaced(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.ready()
            first = pid_of(running)
            os.kill(first, signal.SIGKILL)
            await until(lambda: not running.pool.ready, 5)
            job = running.make()
            assert (await running.final(job))[0].state == "completed"
            assert pid_of(running) != first and running.told.of("returned") == []
            states = [said[2] for said in running.told.of("worker")]
            assert states[:4] == ["starting", "idle", "restarting", "starting"]

    run(test)


def test_cancelled_while_it_waits_or_is_rendered(tmp_path: Path) -> None:
    """The worker lives on, and no file of the job does."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            job = running.make("[slow 10]", num_inference_steps=10_000)
            await running.live(job, lambda live: live.stage == "denoise" and live.step > 3)
            first = pid_of(running)
            found = running.store.cancel(job.id, key_id=None, now=1.0, expires_at=None)
            assert found is not None and found[0].error_code == "cancelled"
            await running.pool.cancel(job.id)
            await until(lambda: running.pool.workers()[0].state == "idle", 5)
            assert running.job(job).state == "failed" and not running.files.state(job.id).exists()
            assert running.nothing_left() and running.told.of("finished")[-1][2:] == ("failed", "cancelled")
            other = running.make()
            assert (await running.final(other))[0].state == "completed" and pid_of(running) == first

    run(test)


def test_deleted_while_it_is_rendered(tmp_path: Path) -> None:
    """Told or not: the lease that is gone tells as well."""

    async def test() -> None:
        async with pool(tmp_path, lease_s=2) as running:
            for tell in (True, False):
                job = running.make("[slow 10]", num_inference_steps=10_000)
                await running.live(job, lambda live: live.stage == "denoise" and live.step > 6)
                running.store.delete(job.id, key_id=None)
                if tell:
                    await running.pool.cancel(job.id)
                await until(lambda: running.pool.workers()[0].state == "idle", 10)
                assert running.nothing_left() and not running.files.state(job.id).exists()
                assert running.told.of("dropped")[-1] == ("dropped", job.id)
            assert running.pool.workers()[0].restarts == 0

    run(test)


def test_cancelled_in_the_moment_that_it_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the claim in its thread and the loop that hears of it."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.ready()
            claim = running.store.claim
            loop = asyncio.get_running_loop()

            def cancelled_at_once(*arguments: object, **settings: object) -> Job | None:
                job = claim(*arguments, **settings)  # pyright: ignore[reportArgumentType]
                if job is not None:
                    running.store.cancel(job.id, key_id=None, now=1.0, expires_at=None)
                    asyncio.run_coroutine_threadsafe(running.pool.cancel(job.id), loop).result()
                return job

            monkeypatch.setattr(running.store, "claim", cancelled_at_once)
            job = running.make("[slow 1000]", num_inference_steps=1000)
            await until(lambda: running.told.of("finished") != [], 10)
            assert running.told.of("started") == [] and running.job(job).error_code == "cancelled"

    run(test)


def test_drained_and_gone_on_with_by_the_next_server(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path, drain_s=0.3, save_every_steps=1000) as running:
            job, waiting = running.make("[slow 10]", num_inference_steps=60), running.make()
            await running.live(job, lambda live: live.stage == "denoise" and live.step > 5)
            pid = pid_of(running)
            await running.pool.drain()
            assert not alive(pid) and not running.pool.ready
            stored = running.job(job)
            assert stored.state == "queued" and stored.attempts == 0 and 5 < stored.steps_saved < 60
            assert running.files.state(job.id).exists() and running.nothing_left()
            assert running.job(waiting).state == "queued", "no new jobs"
            assert [worker.state for worker in running.pool.workers()] == ["stopped"]
            assert running.told.of("ended") == [], "nobody died"
        async with pool(tmp_path) as running:
            assert running.pool.facts is not None, "of the last server"
            ended, other = await running.final(job, waiting)
            assert ended.result["resumed_at_step"] == stored.steps_saved and other.state == "completed"

    run(test)


def test_a_short_render_ends_while_the_server_waits(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path, devices=("cpu", "cpu"), drain_s=60) as running:
            await until(lambda: all(worker.state == "idle" for worker in running.pool.workers()), 30)
            job = running.make("[slow 10]", num_inference_steps=20)
            await running.live(job, lambda live: live.stage == "denoise")
            began = time.monotonic()
            drain = asyncio.create_task(running.pool.drain())
            await until(lambda: [w.state for w in running.pool.workers()].count("stopped") == 1, 10)
            await drain
            assert running.job(job).state == "completed" and time.monotonic() - began < 30

    run(test)


def test_drained_while_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_SLEEP_START", "hang")

    async def test() -> None:
        async with pool(tmp_path) as running:
            await until(lambda: running.pool.workers()[0].pid is not None, 10)
            pid = pid_of(running)
            await running.pool.drain()
            assert not alive(pid)

    run(test)


def test_what_a_dead_server_left(tmp_path: Path) -> None:
    """A published video is taken for what it is; a render is taken up again, and no attempt is counted."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            published, rendered = running.make("[slow 10]"), running.make("[slow 10]", num_inference_steps=10_000)
            complete = running.store.complete
            running.store.complete = lambda *arguments, **settings: (_ for _ in ()).throw(asyncio.CancelledError())
            await until(lambda: running.files.has_video(published.id), 30)
            running.store.complete = complete
            left = running.job(published)
            assert left.state == "in_progress"
        async with pool(tmp_path) as running:
            ended = running.job(published)
            assert ended.state == "completed" and ended.result["seed"] == 7
            assert running.told.of("finished") == [("finished", published.id, "completed", None)]
            await running.live(rendered, lambda live: live.stage == "denoise" and live.step > 20)
        async with pool(tmp_path) as running:
            stored = running.job(rendered)
            assert stored.interruptions == 1 and stored.attempts == 0
            live = await running.live(rendered, lambda live: live.stage == "denoise" and live.step > 20)
            assert live.step > 20

    run(test)


def test_an_attempt_whose_end_was_not_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker died, and the store failed in a way that nobody foresaw: the job is rendered all the same."""

    async def test() -> None:
        async with pool(tmp_path, lease_s=3, max_attempts=3) as running:
            give_back, failures = running.store.give_back, 1

            def fails(*arguments: Any, **settings: Any) -> Job | None:
                nonlocal failures
                failures -= 1
                if failures >= 0:
                    raise RuntimeError("can't start new thread")
                return give_back(*arguments, **settings)

            monkeypatch.setattr(running.store, "give_back", fails)
            job = running.make("[die-anew 8]")
            assert (await running.final(job))[0].state == "completed" and failures < 0
            (returned,) = running.told.of("returned")
            assert returned == ("returned", job.id, "its end was never written down")

    run(test)


def test_jobs_of_another_model(tmp_path: Path) -> None:
    """A server with another model does not start, unless it is told to let them fail."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.ready()
            running.store.close = lambda: None  # the pool is left before the job is taken up
            await running.pool.kill()
            job = running.make()
        with pytest.raises(ConfigError, match="1 videos wait for the model avatar-mini, and this server has other"):
            async with pool(tmp_path, model="other"):
                pass
        async with pool(tmp_path, model="other", fail_other_models=True) as running:
            assert running.pool.facts is None, "those that are kept are the other model's"
            assert (running.job(job).state, running.job(job).error_code) == ("failed", "model_gone")
            assert running.told.of("finished") == [("finished", job.id, "failed", "model_gone")]

    run(test)


@pytest.mark.parametrize(("way", "code", "deaths"), [("refuse", 78, 1), ("die", 70, 3)])
def test_workers_that_cannot_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, code: int, deaths: int
) -> None:
    """They are given up, and somebody who asks is told why; what they wrote is in the log."""
    monkeypatch.setenv("FANTASYID_SLEEP_START", way)

    async def test() -> None:
        async with pool(tmp_path) as running:
            await until(lambda: running.pool.refusal is not None, 30)
            refusal = running.pool.refusal
            assert refusal is not None and refusal.exit_code == code
            assert ("asked to refuse" in refusal.message) is (way == "refuse")
            assert len(running.told.of("ended")) == deaths and not running.pool.ready
            assert [worker.state for worker in running.pool.workers()] == ["quarantined"]
            assert running.told.lines == ["it was asked to die"] * (3 if way == "die" else 0)
            await running.pool.drain()

    run(test)


def test_a_worker_that_is_never_ready_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_SLEEP_START", "hang")

    async def test() -> None:
        async with pool(tmp_path, start_timeout_s=1.5) as running:
            await until(lambda: running.told.of("ended") != [], 30)
            assert running.told.of("ended")[0][2] == "it was not ready after 1.5 s"

    run(test)


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path, command=("/nowhere/worker",)) as running:
            await until(lambda: running.pool.refusal is not None, 30)
            assert running.told.of("ended")[0][3] is None

    run(test)


def test_a_worker_that_was_ready_once_is_started_again_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.ready()
            with monkeypatch.context() as patched:
                patched.setenv("FANTASYID_SLEEP_START", "die")
                os.kill(pid_of(running), signal.SIGKILL)
                await until(lambda: len(running.told.of("ended")) == 5, 60)
                assert running.pool.refusal is None
            await running.ready()

    run(test)


def test_a_full_disk_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a video is published: it is not lost."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            publish, full = running.files.publish, True

            def faulty(lease: str, job_id: str) -> None:
                if full:
                    raise WriteError("cannot write: No space left on device")
                publish(lease, job_id)

            monkeypatch.setattr(running.files, "publish", faulty)
            job = running.make()
            await until(lambda: running.told.of("trouble") != [], 30)
            assert running.told.of("trouble")[0] == ("trouble", "publish", "cannot write: No space left on device")
            assert running.job(job).state == "in_progress" and running.pool.ready
            full = False
            assert (await running.final(job))[0].state == "completed" and len(running.told.of("started")) == 1

    run(test)


def test_a_failure_that_the_worker_tells(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path) as running:
            bad = running.make("[fail face_not_found]")
            short = running.make("[fail out_of_memory]")
            lean = running.make("[note out of memory while denoising; it goes on]")
            ended = await running.final(bad, short, lean)
            assert [job.error_code for job in ended] == ["face_not_found", "out_of_memory", None]
            assert ended[0].error_message == "it was asked to fail"
            assert running.told.of("out_of_memory") == [("out_of_memory", short.id), ("out_of_memory", lean.id)]
            assert running.pool.workers()[0].restarts == 0 and running.nothing_left()

    run(test)


def test_the_log_of_a_worker(tmp_path: Path) -> None:
    """Line by line, without what could forge or hide others, and cut."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.final(running.make("[chatter]"))
            await running.pool.drain()
            lines = running.told.lines
            assert lines[0] == "an error" and lines[1].startswith('{"level"') and "\\x1b" in lines[1]
            assert lines[2].startswith("half a line") and len(lines[2]) == 2000
            assert all(line.isprintable() for line in lines)

    run(test)


def test_forgetting(tmp_path: Path) -> None:
    """Files of faces go at once; it is called from a thread."""

    async def test() -> None:
        async with pool(tmp_path) as running:
            await running.ready()
            (tmp_path / "faces" / f"{'a' * 64}.safetensors").write_bytes(b"a face")
            await asyncio.to_thread(running.pool.forget)
            assert list((tmp_path / "faces").iterdir()) == []
            assert (await running.final(running.make()))[0].state == "completed"

    run(test)


def test_one_worker_a_device_and_a_face_stays_with_its_worker(tmp_path: Path) -> None:
    async def test() -> None:
        async with pool(tmp_path, devices=("cpu", "cpu", "cpu")) as running:
            await until(lambda: all(worker.state == "idle" for worker in running.pool.workers()), 60)
            assert [worker.name for worker in running.pool.workers()] == ["worker-0", "worker-1", "worker-2"]
            assert len({worker.pid for worker in running.pool.workers()}) == 3
            jobs = [running.make("[slow 20]", photo=PHOTO + bytes([number])) for number in range(3)]
            await until(lambda: all(worker.state == "busy" for worker in running.pool.workers()), 10)
            assert {worker.job_id for worker in running.pool.workers()} == {job.id for job in jobs}
            await running.final(*jobs)

    run(test)


def test_the_front_end_loads_no_model() -> None:
    """Nor torch, nor any of the code that needs it."""
    script = "import sys, fantasyid_engine.server.pool; sys.exit('torch' in sys.modules or 'PIL' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
