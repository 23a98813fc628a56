"""Who watches a job hears of every change, whenever it comes."""

import asyncio
import random
import time

import pytest

from fantasyid_engine.server import hub as hub_module
from fantasyid_engine.server.hub import Hub, Live

LIVE = Live(stage="denoising", step=3, steps=20, percent=15, eta_s=8.5, notes=("one",))
NEVER_S = 60.0


def test_progress() -> None:
    hub = Hub()
    assert hub.progress("a") is None
    hub.update("a", LIVE)
    assert hub.progress("a") == LIVE and hub.progress("b") is None
    hub.update("a", None)
    hub.update("b", None)
    assert hub.progress("a") is None


def test_what_happened_before_is_told_at_once() -> None:
    async def watch() -> None:
        hub = Hub()
        hub.changed("a")
        seen = await hub.wait("a", 0, NEVER_S)
        assert seen > 0
        hub.update("a", LIVE)
        hub.changed("a")
        assert await hub.wait("a", seen, NEVER_S) > seen

    asyncio.run(watch())


def test_nothing_new_takes_its_time() -> None:
    async def watch() -> None:
        hub = Hub()
        hub.changed("b")
        started = time.monotonic()
        assert await hub.wait("a", 0, 0.05) == 0
        assert time.monotonic() - started >= 0.049
        assert await hub.wait("b", 99, 0.0) == 99
        assert hub._watchers == {}

    asyncio.run(watch())


def test_all_who_watch_a_job_are_woken_and_nobody_else() -> None:
    async def watch() -> None:
        hub = Hub()
        of_a = [asyncio.create_task(hub.wait("a", 0, NEVER_S)) for _ in range(5)]
        of_b = asyncio.create_task(hub.wait("b", 0, NEVER_S))
        await asyncio.sleep(0)
        hub.changed("a")
        assert set(await asyncio.gather(*of_a)) == {1}
        assert not of_b.done()
        of_b.cancel()
        with pytest.raises(asyncio.CancelledError):
            await of_b
        assert hub._watchers == {}

    asyncio.run(watch())


def test_no_change_is_missed() -> None:
    """Watchers that are slow see fewer changes, but always the last."""

    async def watch(hub: Hub, job: str, chance: random.Random) -> None:
        seen, found = 0, None
        while found is None or found.percent < 100:
            seen = await hub.wait(job, seen, NEVER_S)
            found = hub.progress(job)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    async def change(hub: Hub, chance: random.Random) -> None:
        for percent in range(101):
            for job in "abc":
                hub.update(job, Live(stage="denoising", step=0, steps=1, percent=percent))
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)

    async def run() -> None:
        hub, chance = Hub(), random.Random(3)
        async with asyncio.timeout(NEVER_S), asyncio.TaskGroup() as group:
            for job in "aabbcc":
                group.create_task(watch(hub, job, chance))
            group.create_task(change(hub, chance))
        assert hub._watchers == {}

    asyncio.run(run())


def test_what_is_remembered_is_bounded_and_nothing_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "MOST_REMEMBERED", 3)

    async def watch() -> None:
        hub = Hub()
        hub.changed("a")
        seen = await hub.wait("a", 0, NEVER_S)
        hub.changed("a")
        for job in "bcd":
            hub.changed(job)
        assert list(hub._versions) == ["b", "c", "d"]
        assert await hub.wait("a", seen, NEVER_S) > seen, "its change was dropped, but not that there was one"
        seen = await hub.wait("b", 0, NEVER_S)
        assert await hub.wait("b", seen, 0.01) == seen

    asyncio.run(watch())
