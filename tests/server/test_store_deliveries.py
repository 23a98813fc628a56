"""Webhooks: made with the end of a job, in one transaction; delivered until they were heard."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.store import Store
from tests.server.stores import RESULT, claim, lease, make

URL = "https://example.com/hook"
ENDS: dict[str, Callable[[Store, Job], Job | None]] = {
    "completed": lambda store, job: store.complete(lease(job), RESULT, now=5, expires_at=9),
    "failed": lambda store, job: store.fail(lease(job), "out_of_memory", "no\nroom", now=5, expires_at=9),
    "cancelled": lambda store, job: (store.cancel(job.id, key_id="key_a", now=5, expires_at=9) or [None])[0],
    "worker_died": lambda store, job: store.give_back(lease(job), died=True, max_attempts=1, now=5, expires_at=9),
    "interrupted": lambda store, job: store.interrupt(lease(job), most=1, now=5, expires_at=9),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        yield store


@pytest.mark.parametrize("how", ENDS)
def test_every_end_is_told_once(store: Store, how: str) -> None:
    make(store, webhook_url=URL)
    job = claim(store)
    ended = ENDS[how](store, job)
    assert ended is not None and (ended.lease, ended.finished_at, ended.expires_at) == (None, 5, 9)
    code = {"completed": None, "failed": "out_of_memory"}.get(how, how)
    status = "completed" if how == "completed" else "failed"
    assert (ended.state, ended.error_code) == (status, code)
    (delivery,) = store.due(5, 9)
    assert (delivery.url, delivery.attempt) == (URL, 0) and "." not in delivery.id
    assert json.loads(delivery.body) == {
        "type": f"video.{status}",
        "timestamp": "1970-01-01T00:00:05.000Z",
        "data": {"id": job.id, "status": status, "error_code": code},
    }
    for end in ENDS.values():
        end(store, job)
    assert store.due(99, 9) == [delivery], "what comes late tells nothing"
    assert store.due(4, 9) == []


def test_jobs_without_a_receiver_tell_nobody(store: Store) -> None:
    make(store)
    store.complete(lease(claim(store)), RESULT, now=5, expires_at=None)
    assert store.due(9, 9) == []


def test_jobs_that_are_queued_again_tell_nobody(store: Store) -> None:
    make(store, webhook_url=URL)
    store.give_back(lease(claim(store)), died=True, max_attempts=3, now=5, expires_at=None)
    store.interrupt(lease(claim(store)), now=5, expires_at=None)
    store.give_back(lease(claim(store)), died=False, max_attempts=1, now=5, expires_at=None)
    assert store.due(9, 9) == []


def test_again_until_it_was_heard(store: Store) -> None:
    for _ in range(3):
        make(store, webhook_url=URL)
        store.complete(lease(claim(store)), RESULT, now=5, expires_at=None)
    first, second, third = store.due(5, 9)
    store.record(first.id, delivered=False, next_at=20, outcome="500\nfrom there")
    store.record(second.id, delivered=True, next_at=None, outcome="200")
    assert store.due(19, 9) == [third]
    store.record(third.id, delivered=False, next_at=None, outcome="410")
    assert store.due(19, 9) == []
    (again,) = store.due(20, 9)
    assert (again.id, again.body, again.attempt) == (first.id, first.body, 1)


def test_those_that_wait_longest_come_first(store: Store) -> None:
    for now in (30, 10, 20):
        make(store, webhook_url=f"{URL}/{now}")
        store.complete(lease(claim(store)), RESULT, now=now, expires_at=None)
    assert [delivery.url[-2:] for delivery in store.due(99, 2)] == ["10", "20"]


def test_a_deleted_job_takes_them_along(store: Store) -> None:
    job = make(store, webhook_url=URL)
    store.cancel(job.id, key_id=None, now=5, expires_at=None)
    (delivery,) = store.due(9, 9)
    store.delete(job.id, key_id=None)
    assert store.due(9, 9) == []
    store.record(delivery.id, delivered=False, next_at=6, outcome="it was under way")
    assert store.due(9, 9) == []
