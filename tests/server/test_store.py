"""What the store is asked for: jobs, once each, as many as agreed, and only to whom they belong."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import pytest

from fantasyid_engine.server.database.notes import FACTS_NOTE, write_note
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.store import KeyReused, Limits, Store, TooMany
from tests.server.stores import NO_LIMITS, RESULT, claim, lease, make, mean_render_s, new_job, photo

FACTS = Facts(
    name="avatar-mini",
    trained=False,
    frame_counts=(1, 49),
    fps=8,
    width=512,
    height=512,
    num_inference_steps=50,
    guidance_scale=3.0,
    shape_names=("jaw",),
    one_face=False,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        yield store


def test_a_job_comes_back_as_it_was_asked_for(store: Store) -> None:
    new = new_job(
        settings={"prompt": "süß \ud800 \x00\n", "seed": 2**32 - 1, "shape": {"jaw": -1.5}, "consent_ref": None},
        priority=-100,
        idempotency_key="once",
        request_sha256=photo("request"),
        webhook_url="https://example.com/hook",
        remixed_from="video_" + 32 * "0",
        traceparent="00-" + 32 * "a" + "-" + 16 * "b" + "-01",
    )
    job, made, _ = store.create(new, now=1.25, limits=NO_LIMITS)
    assert made and asdict(job) | asdict(new) == asdict(job)
    assert (job.state, job.created_at, job.attempts, job.result) == ("queued", 1.25, 0, {})
    assert len(job.id) == 38 and job.id.startswith("video_")
    assert store.get(job.id) == job == store.get(job.id, key_id="key_a")


def test_nobody_sees_the_jobs_of_others(store: Store) -> None:
    job = make(store, "key_a")
    assert store.get(job.id, key_id="key_b") is None
    assert store.cancel(job.id, key_id="key_b", now=2, expires_at=None) is None
    assert store.delete(job.id, key_id="key_b") is None
    assert store.list("key_b", after=None, limit=10, newest_first=True) == ([], False)
    with pytest.raises(LookupError):
        store.list("key_b", after=job.id, limit=10, newest_first=True)
    assert store.get(job.id) == job


def test_one_key_one_job(store: Store) -> None:
    new = new_job(idempotency_key="once", request_sha256="x")
    with ThreadPoolExecutor(50) as threads:
        made = list(threads.map(lambda _: store.create(new, now=1, limits=NO_LIMITS), range(50)))
    assert len({job.id for job, *_ in made}) == 1
    assert sum(is_new for _, is_new, _ in made) == 1
    assert store.counts()["queued"] == 1


def test_one_key_of_each_client(store: Store) -> None:
    first, second = (make(store, key_id, idempotency_key="once") for key_id in ("key_a", "key_b"))
    assert first.id != second.id


def test_a_key_for_another_request(store: Store) -> None:
    first = make(store, idempotency_key="once", request_sha256="x")
    with pytest.raises(KeyReused):
        store.create(new_job(idempotency_key="once", request_sha256="y"), now=2, limits=NO_LIMITS)
    again = new_job(idempotency_key="once", request_sha256="x")
    no_room = Limits(max_queued=0, max_queued_per_key=0, max_creates_per_minute=0)
    assert store.create(again, now=2, limits=no_room)[:2] == (first, False), "what was made counts against no limit"
    store.delete(first.id, key_id=None)
    assert store.create(again, now=3, limits=NO_LIMITS)[1], "a job that is gone holds no key"


def test_pages_stay_while_jobs_come_and_go(store: Store) -> None:
    jobs = [make(store, now=5.0 - i) for i in range(7)]  # their times run backwards
    make(store, "key_b")
    newest, more = store.list("key_a", after=None, limit=3, newest_first=True)
    assert [job.id for job in newest] == [job.id for job in jobs[:3:-1]] and more
    store.delete(jobs[5].id, key_id="key_a")
    store.delete(jobs[3].id, key_id="key_a")
    make(store)
    rest, more = store.list("key_a", after=newest[-1].id, limit=3, newest_first=True)
    assert [job.id for job in rest] == [jobs[2].id, jobs[1].id, jobs[0].id] and not more
    oldest, more = store.list("key_a", after=jobs[2].id, limit=1, newest_first=False)
    assert [job.id for job in oldest] == [jobs[4].id] and more
    with pytest.raises(LookupError, match="there is no job"):
        store.list("key_a", after=jobs[3].id, limit=3, newest_first=True)


def test_a_deleted_jobs_number_is_not_given_again(store: Store) -> None:
    last = make(store)
    store.delete(last.id, key_id=None)
    assert make(store).sequence > last.sequence


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        pytest.param(Limits(3, 99, None), "3 videos are waiting", id="all"),
        pytest.param(Limits(99, 2, None), "2 videos of this key are waiting", id="of-a-key"),
    ],
)
def test_no_more_than_agreed(store: Store, limits: Limits, says: str) -> None:
    for key_id in ("key_b", "key_a", "key_a"):
        store.create(new_job(key_id), now=1, limits=limits)
    with pytest.raises(TooMany, match=says) as refused:
        store.create(new_job("key_a"), now=1, limits=limits)
    assert f"try again in {refused.value.retry_after_s:.0f} s" in refused.value.message
    claim(store)
    claim(store)
    store.create(new_job("key_a"), now=1, limits=limits)


def test_when_to_try_again(store: Store) -> None:
    """A render takes 4 s; as many go on at once as jobs are under way; a key's turn comes after those of the others."""
    full, key_full = Limits(0, 99, None), Limits(99, 2, None)
    assert _refused(store, full) == 30, "nothing was measured"
    for _ in range(2):
        make(store)
        store.complete(lease(claim(store)), RESULT, now=3, expires_at=None)
    make(store)
    store.complete(lease(claim(store)), {"notes": []}, now=4, expires_at=None)  # a render that tells nothing
    assert mean_render_s(store) == 4
    assert _refused(store, full) == 4
    for key_id in ("key_a", "key_a", "key_b", "key_c"):
        make(store, key_id)
    assert _refused(store, key_full) == 12
    for _ in range(2):
        make(store, "key_d", priority=9)
        claim(store)
    assert _refused(store, full) == 2


def _refused(store: Store, limits: Limits) -> float:
    with pytest.raises(TooMany) as refused:
        store.create(new_job("key_a"), now=9, limits=limits)
    return refused.value.retry_after_s


def test_the_mean_is_of_the_last_renders(store: Store) -> None:
    assert mean_render_s(store) is None
    for i in range(25):
        make(store)
        store.complete(lease(claim(store)), {"render_s": 100.0 if i < 5 else 2.0}, now=10 + i, expires_at=None)
    assert mean_render_s(store) == 2


def test_so_many_a_minute(store: Store) -> None:
    limits = Limits(99, 99, 2)

    def create(now: float, key_id: str = "key_a") -> None:
        job, *_ = store.create(new_job(key_id), now=now, limits=limits)
        store.delete(job.id, key_id=None)  # those that are gone count too

    create(100)
    create(130)
    with pytest.raises(TooMany, match="2 videos within a minute") as refused:
        create(140)
    assert refused.value.retry_after_s == 20
    create(140, "key_b")
    create(160)
    create(50)  # the clock was set back


def test_what_is_refused_counts_for_nothing(store: Store) -> None:
    limits = Limits(99, 1, 2)
    store.create(new_job(), now=1, limits=limits)
    for _ in range(5):
        with pytest.raises(TooMany, match="are waiting"):
            store.create(new_job(), now=1, limits=limits)
    claim(store)
    store.create(new_job(), now=1, limits=limits)


def test_jobs_of_a_person(store: Store) -> None:
    consent = {"prompt": "x", "consent_ref": "contract 7"}
    first = make(store, "key_a", now=1, photo_sha256=photo("ann"), settings=consent)
    second = make(store, "key_a", now=2, photo_sha256=photo("ann"))
    third = make(store, "key_b", now=3, photo_sha256=photo("bob"), settings=consent)

    def found(
        key_id: str | None = None, face: str | None = None, consent_ref: str | None = None, before: float | None = None
    ) -> list[str]:
        sha256 = None if face is None else photo(face)
        return [
            job.id
            for job in store.of_subject(key_id=key_id, photo_sha256=sha256, consent_ref=consent_ref, before=before)
        ]

    assert found(face="ann") == [first.id, second.id]
    assert found(consent_ref="contract 7") == [first.id, third.id]
    assert found(consent_ref="contract 7", key_id="key_b") == [third.id]
    assert found(before=3.0) == [first.id, second.id]
    assert found(face="ann", consent_ref="contract 8") == []
    assert found() == [first.id, second.id, third.id]
    assert store.photos() == {photo("ann"), photo("bob")} and store.job_ids() == set(found())
    store.delete(third.id, key_id=None)
    assert store.photo_in_use(photo("ann")) and not store.photo_in_use(photo("bob"))


def test_jobs_whose_time_is_over(store: Store) -> None:
    for ends in (30.0, 10.0, None, 20.0):
        make(store)
        store.complete(lease(claim(store)), RESULT, now=5, expires_at=ends)
    make(store)
    assert [job.expires_at for job in store.next_expiring(20, 9)] == [10, 20]
    assert [job.expires_at for job in store.next_expiring(20, 1)] == [10]


def test_facts_of_the_last_model(store: Store, tmp_path: Path) -> None:
    assert store.facts() is None
    store.keep_facts(FACTS)
    store.close()
    with closing(Store(tmp_path / "jobs.sqlite")) as again:
        assert again.facts() == FACTS
        with again._database.write() as connection:
            write_note(connection, FACTS_NOTE, {"name": "of another version"})
        assert again.facts() is None
