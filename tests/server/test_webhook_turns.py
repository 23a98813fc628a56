"""Nobody's receivers, however many and however dead, keep those of others waiting."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import insert

from fantasyid_engine.server import webhooks
from fantasyid_engine.server.database import tables
from fantasyid_engine.server.store import Store
from fantasyid_engine.server.webhooks import AT_ONCE_PER_KEY, AT_ONCE_PER_RECEIVER, LOOK_AHEAD, Courier
from tests.server.stores import make_at_once, new_job
from tests.server.test_webhooks import NOW, SECRET, Queue

DEAD, WELL = "https://dead.example/hook", "https://well.example/hook"


def store_with(path: Path, wanted: list[tuple[str, str]]) -> Store:
    """A store with deliveries to be made, the oldest first: whose, and where to."""
    make_at_once(path, [new_job(key_id) for key_id, _ in wanted])
    store = Store(path)
    rows = [
        {"id": f"msg_{number}", "job_id": f"video_{number:032x}", "url": url, "body": b"{}", "next_at": float(number)}
        for number, (_, url) in enumerate(wanted)
    ]
    with store._database.write() as connection:
        connection.execute(insert(tables.deliveries), rows)
    return store


def test_keys_take_turns_and_of_each_its_addresses(tmp_path: Path) -> None:
    wanted = [*[("key_a", DEAD)] * 20, ("key_a", WELL), ("key_b", DEAD), ("key_b", DEAD), ("key_c", WELL)]
    with closing(store_with(tmp_path / "jobs.sqlite", wanted)) as store:
        first = [(delivery.key_id, delivery.url) for delivery in store.due(99, 7)]
        assert first == [
            ("key_a", DEAD),
            ("key_b", DEAD),
            ("key_c", WELL),
            ("key_a", WELL),
            ("key_b", DEAD),
            ("key_a", DEAD),
            ("key_a", DEAD),
        ]
        everything = store.due(99, len(wanted))
        assert [delivery.id for delivery in everything] == [f"msg_{number}" for number in range(len(wanted))]


class Receivers:
    """Some hold what they are sent; which were sent something, and how much they had at once."""

    def __init__(self, holds: Callable[[str], bool]) -> None:
        self.holds = holds
        self.let_go = asyncio.Event()
        self.at_once: Counter[str] = Counter()
        self.answered: list[str] = []

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.at_once[url] += 1
        if self.holds(url):
            await self.let_go.wait()
        self.answered.append(url)
        return 200


async def until_answered(queue: webhooks.DeliveryQueue, receivers: Receivers, urls: set[str]) -> None:
    """Delivers until these were sent something."""
    stop = asyncio.Event()
    courier = Courier(queue, receivers, SECRET, clock=lambda: NOW)
    running = asyncio.create_task(courier.run(stop))
    async with asyncio.timeout(30):
        while not urls <= set(receivers.answered):
            await asyncio.sleep(0.005)
    stop.set()
    await running


@pytest.mark.parametrize("key_id", ["key_a", "key_b"])
def test_more_than_are_looked_at_wait_for_a_dead_receiver(tmp_path: Path, key_id: str) -> None:
    wanted = [*[("key_a", DEAD)] * (LOOK_AHEAD + 200), (key_id, WELL)]

    async def run() -> None:
        receivers = Receivers(lambda url: url == DEAD)
        with closing(store_with(tmp_path / "jobs.sqlite", wanted)) as store:
            await until_answered(store, receivers, {WELL})
        assert receivers.at_once[DEAD] == AT_ONCE_PER_RECEIVER

    asyncio.run(run())


def test_a_key_with_many_dead_receivers_holds_up_no_other() -> None:
    queue = Queue()
    for number in range(50):
        queue.add(f"dead_{number}", f"https://dead{number}.example/")
    queue.add("well", WELL, key_id="key_b")

    async def run() -> None:
        receivers = Receivers(lambda url: url != WELL)
        await until_answered(queue, receivers, {WELL})
        assert sum(receivers.at_once.values()) - 1 <= AT_ONCE_PER_KEY

    asyncio.run(run())


def test_a_receiver_is_one_however_its_name_is_written() -> None:
    queue = Queue()
    names = ("a.example", "A.Example", "a.example:443", "a.EXAMPLE:0443")
    for number, name in enumerate(itertools.chain(names, names)):
        queue.add(f"msg_{number}", f"https://{name}/{number}")
    queue.add("other", WELL)

    async def run() -> None:
        receivers = Receivers(lambda url: url != WELL)
        await until_answered(queue, receivers, {WELL})
        assert sum(receivers.at_once.values()) - 1 == AT_ONCE_PER_RECEIVER

    asyncio.run(run())
