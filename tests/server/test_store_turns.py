"""Whose job is next: keys take turns, nobody starves, and the place that a job was told is the place it has."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fantasyid_engine.server.database import turns
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.store import Store
from tests.server.stores import claim, lease, make, make_at_once, new_job, photo, position, positions


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        yield store


def test_no_jobs(store: Store) -> None:
    assert store.claim("w0", now=1, lease_s=30, last=None) is None
    job = make(store)
    assert claim(store).id == job.id
    assert store.claim("w0", now=1, lease_s=30, last=None) is None


def test_a_claim(store: Store) -> None:
    make(store)
    job = claim(store, now=7, worker="w3")
    assert (job.worker, job.started_at, job.lease_until) == ("w3", 7, 37)
    assert len(lease(job)) == 32 and int(lease(job), 16)
    assert store.get(job.id) == job and store.leased() == [job] and store.look(job.id) == (store.get(job.id), None)


def test_the_highest_priority_then_the_oldest(store: Store) -> None:
    jobs = [make(store, priority=priority) for priority in (0, 5, 0, 5, -1)]
    assert [claim(store).id for _ in jobs] == [jobs[i].id for i in (1, 3, 0, 2, 4)]


def test_a_priority_is_among_ones_own(store: Store) -> None:
    first = make(store, "key_a", priority=-100)
    make(store, "key_b", priority=100)
    assert claim(store).id == first.id


def test_a_new_key_comes_before_those_that_had_a_turn(store: Store) -> None:
    for _ in range(3):
        make(store, "key_a")
    claim(store)
    new = make(store, "key_b")
    assert position(store, new) == 1 and claim(store).id == new.id


def test_ten_thousand_jobs_of_three_keys(tmp_path: Path) -> None:
    """One has nearly all of them and came first; the places of all are those in which they are claimed."""
    path = tmp_path / "jobs.sqlite"
    chance = random.Random(5)
    owners = ["key_a"] * 9_800 + ["key_b"] * 150 + ["key_c"] * 50
    make_at_once(path, [new_job(owner, priority=chance.choice((0, 0, 0, 10, -10))) for owner in owners])
    with closing(Store(path)) as store:
        claimed: list[Job] = []
        with store._database.write() as connection:  # one transaction: it is not the disk that is tested
            while len(claimed) < 500:
                job = turns.claim(connection, "w0", 2.0, 30.0, None)
                assert job is not None
                claimed.append(job)
            connection.rollback()
        assert positions(store, claimed) == {job.id: place for place, job in enumerate(claimed, start=1)}
        assert [position(store, job) for job in claimed[99::100]] == [100, 200, 300, 400, 500]
        last, _ = store.list("key_a", after=None, limit=100, newest_first=True)
        places = positions(store, last).values()
        assert len(set(places)) == 100 and max(places) <= 10_000

    whose = [job.key_id for job in claimed]
    assert Counter(whose[:150]) == {"key_a": 50, "key_b": 50, "key_c": 50}, "all have their turns"
    assert Counter(whose[150:350]) == {"key_a": 100, "key_b": 100}
    assert Counter(whose[350:]) == {"key_a": 150}


def test_places_move_up(store: Store) -> None:
    mine = [make(store, "key_a") for _ in range(3)]
    for _ in range(4):
        make(store, "key_b")
    assert [position(store, job) for job in mine] == [1, 3, 5]
    claim(store)
    assert positions(store, mine) == {mine[1].id: 2, mine[2].id: 4}
    store.cancel(mine[1].id, key_id=None, now=3, expires_at=None)
    assert position(store, mine[2]) == 2
    store.delete(mine[2].id, key_id=None)
    assert position(store, mine[2]) == 0
    assert positions(store, []) == {}


def test_given_back_keeps_its_place(store: Store) -> None:
    jobs = [make(store) for _ in range(3)]
    first = claim(store)
    back = store.give_back(lease(first), died=False, max_attempts=3, now=3, expires_at=None)
    assert back is not None and (back.state, back.lease, back.attempts) == ("queued", None, 0)
    assert [position(store, job) for job in jobs] == [1, 2, 3]
    again = claim(store, now=9)
    assert again.id == first.id and again.lease != first.lease and again.started_at == first.started_at


def test_a_face_in_memory_goes_before_another(store: Store) -> None:
    ann, bob = photo("ann"), photo("bob")
    first = make(store, photo_sha256=ann)
    other = make(store, photo_sha256=bob)
    longer = make(store, photo_sha256=ann, num_frames=97)
    same = make(store, photo_sha256=ann)
    higher = make(store, photo_sha256=bob, priority=1)
    order, last = [], first
    for _ in range(5):
        last = claim(store, last=last)
        order.append(last.id)
    assert order == [higher.id, other.id, first.id, same.id, longer.id]


def test_a_face_in_memory_does_not_starve_another(store: Store) -> None:
    ann = [make(store, photo_sha256=photo("ann"))]
    bob = make(store, photo_sha256=photo("bob"))
    ann += [make(store, photo_sha256=photo("ann")) for _ in range(30)]
    order: list[Job] = []
    while len(order) < 32:
        order.append(claim(store, last=order[-1] if order else None))
    assert [job.id for job in order].index(bob.id) == 1 + turns.MOST_PASSED
    assert [job.id for job in order if job.id != bob.id] == [job.id for job in ann]


def test_a_face_in_memory_takes_nobody_elses_turn(store: Store) -> None:
    make(store, "key_a", photo_sha256=photo("ann"))
    last = claim(store)
    make(store, "key_a", photo_sha256=photo("ann"))
    other = make(store, "key_b", photo_sha256=photo("bob"))
    assert claim(store, last=last).id == other.id
