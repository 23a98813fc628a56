"""When attempts are too many: of one place in a render, whatever else happened before."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.store import Store
from tests.server.stores import claim, lease, make

AGAIN = 7
"""How often a worker may die in these tests before a job that it dies of must have failed."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        yield store


def die(store: Store, *saved: int) -> Job:
    """A worker takes the job, saves these states, and dies."""
    job = claim(store)
    for steps_done in saved:
        assert store.saved(lease(job), steps_done)
    after = store.give_back(lease(job), died=True, max_attempts=3, now=5, expires_at=9)
    assert after is not None
    return after


def test_a_job_that_kills_its_worker_each_time(store: Store) -> None:
    make(store)
    assert [die(store).attempts for _ in range(2)] == [1, 2]
    failed = die(store)
    assert (failed.state, failed.error_code, failed.attempts) == ("failed", "worker_died", 3)
    assert failed.error_message == "the worker died 3 times while rendering this; change the photo or the settings"
    assert (failed.finished_at, failed.expires_at) == (5, 9)


def test_whoever_gets_further_has_all_attempts_again(store: Store) -> None:
    make(store)
    assert [die(store, 5).attempts, die(store).attempts] == [1, 2]
    assert [die(store, 10).attempts, die(store, 15).attempts] == [1, 1]
    assert (die(store).attempts, die(store).state) == (2, "failed")


@pytest.mark.parametrize(
    "saved", [pytest.param((5,), id="the-same-place"), pytest.param((5, 10), id="its-state-is-lost-each-time")]
)
def test_no_job_kills_workers_for_ever(store: Store, saved: tuple[int, ...]) -> None:
    make(store)
    ends = []
    while len(ends) < AGAIN and "failed" not in ends:
        ends.append(die(store, *saved).state)
    assert ends == ["queued", "queued", "failed"]


def test_a_state_is_told_as_it_is(store: Store) -> None:
    """Even where an earlier one had more behind it."""
    make(store)
    die(store, 15)
    job = die(store, 5)
    assert (job.steps_saved, job.attempts) == (5, 2)


def test_a_server_that_stops_under_a_job(store: Store) -> None:
    make(store)
    for times in (1, 2):
        after = store.interrupt(lease(claim(store)), most=3, now=5, expires_at=9)
        assert after is not None and (after.state, after.interruptions, after.attempts) == ("queued", times, 0)
    job = claim(store)
    store.saved(lease(job), 5)
    after = store.interrupt(lease(job), most=3, now=5, expires_at=9)
    assert after is not None and (after.state, after.interruptions) == ("queued", 1)


def test_a_late_message_changes_nothing(store: Store) -> None:
    """The first worker was taken for dead, and wakes up while the second one renders."""
    make(store)
    first = claim(store)
    store.give_back(lease(first), died=True, max_attempts=3, now=5, expires_at=None)
    second = claim(store, worker="w1")
    late = lease(first)
    assert not store.extend(late, until=99)
    assert not store.saved(late, 15)
    assert store.complete(late, {}, now=6, expires_at=None) is None
    assert store.fail(late, "x", "y", now=6, expires_at=None) is None
    assert store.give_back(late, died=True, max_attempts=1, now=6, expires_at=None) is None
    assert store.interrupt(late, now=6, expires_at=None) is None
    assert store.get(second.id) == second


def test_a_lease_is_extended_and_forgotten_with_the_attempt(store: Store) -> None:
    make(store)
    job = claim(store)
    assert store.extend(lease(job), until=60)
    found = store.get(job.id)
    assert found is not None and found.lease_until == 60
    back = store.give_back(lease(job), died=False, max_attempts=3, now=5, expires_at=None)
    assert back is not None and (back.lease, back.lease_until) == (None, None)


def test_cancelled(store: Store) -> None:
    waiting, under_way = make(store, priority=-1), claim_of(store)
    for job in (waiting, under_way):
        found = store.cancel(job.id, key_id="key_a", now=7, expires_at=9)
        assert found is not None
        after, before = found
        assert before == job.state and (after.state, after.error_code) == ("failed", "cancelled")
        assert (after.error_message, after.finished_at) == ("cancelled by the client", 7)
        assert store.cancel(job.id, key_id="key_a", now=8, expires_at=None) == (after, "failed"), "it was final already"
    assert not store.extend(lease(under_way), until=99)
    assert store.claim("w0", now=9, lease_s=30, last=None) is None


def claim_of(store: Store) -> Job:
    """A job under way."""
    make(store)
    return claim(store)
