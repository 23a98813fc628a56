"""The life of jobs against a model in memory: whatever happens, in whatever order, the store says the same."""

import tempfile
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from fantasyid_engine.server.database.turns import MOST_PASSED
from fantasyid_engine.server.jobs import FINAL, Job, NewJob
from fantasyid_engine.server.store import KeyReused, Store
from tests.server.stores import NO_LIMITS, RESULT, new_job, photo, positions

KEYS = ("key_a", "key_b", "key_c")
MOST_ATTEMPTS, MOST_INTERRUPTIONS = 3, 2
URL = "https://example.com/hook"


@dataclass
class Model:
    """Jobs as they were made; keys as they had their turns; how often the first of each was passed over."""

    jobs: dict[str, Job] = field(default_factory=dict)
    turns: list[str] = field(default_factory=list)
    passed_over: dict[str, int] = field(default_factory=dict)
    furthest: dict[str, int] = field(default_factory=dict)

    def waiting(self, key_id: str) -> list[Job]:
        mine = [job for job in self.jobs.values() if (job.key_id, job.state) == (key_id, "queued")]
        return sorted(mine, key=lambda job: -job.priority)

    def claim(self, last: Job | None) -> str | None:
        """The id of the job that is next; it has its turn."""
        # Those that had none come first, in the order of their names.
        keys = sorted(KEYS, key=lambda key: (self.turns.index(key) if key in self.turns else -1, key))
        for key_id in keys:
            waiting = self.waiting(key_id)
            if waiting:
                break
        else:
            return None
        chosen = waiting[0]
        if last is not None and self.passed_over.get(key_id, 0) < MOST_PASSED:
            same = (chosen.priority, last.photo_sha256, last.num_frames)
            alike = [job for job in waiting if (job.priority, job.photo_sha256, job.num_frames) == same]
            chosen = alike[0] if alike else chosen
        self.passed_over[key_id] = 0 if chosen == waiting[0] else self.passed_over.get(key_id, 0) + 1
        self.turns = [key for key in self.turns if key != key_id] + [key_id]
        return chosen.id

    def places(self) -> dict[str, int]:
        """In which order the jobs would be claimed by workers that have done nothing before."""
        future, places = deepcopy(self), {}
        while job_id := future.claim(None):
            future.jobs[job_id] = replace(future.jobs[job_id], state="in_progress")
            places[job_id] = len(places) + 1
        return places


class JobLife(RuleBasedStateMachine):
    """Leases stay in their bundle when they no longer count, so that late messages come all the time."""

    ids = Bundle("ids")
    leases = Bundle("leases")

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "jobs.sqlite"
        self.store, self.model, self.now = Store(self.path), Model(), 1.0
        self.last: Job | None = None
        self.told: list[tuple[str, str]] = []

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()

    @rule(
        target=ids,
        key_id=st.sampled_from(KEYS),
        priority=st.sampled_from((0, 0, 3)),
        face=st.sampled_from(("ann", "bob")),
        once=st.sampled_from((None, None, "x", "y")),
        tell=st.booleans(),
    )
    def create(self, key_id: str, priority: int, face: str, once: str | None, tell: bool) -> Any:
        self.now += 1
        url = URL if tell else None
        new = new_job(
            key_id,
            priority=priority,
            photo_sha256=photo(face),
            idempotency_key=once,
            request_sha256=f"{priority}{face}",
            webhook_url=url,
        )
        earlier = self.earlier(new)
        try:
            job, made, _ = self.store.create(new, now=self.now, limits=NO_LIMITS)
        except KeyReused:
            assert earlier is not None and earlier.request_sha256 != new.request_sha256
            return multiple()
        assert made == (earlier is None)
        if earlier is not None:
            assert job == earlier
            return multiple()
        assert (job.state, job.created_at) == ("queued", self.now)
        self.model.jobs[job.id] = job
        return job.id

    def earlier(self, new: NewJob) -> Job | None:
        same = (new.key_id, new.idempotency_key)
        found = [job for job in self.model.jobs.values() if (job.key_id, job.idempotency_key) == same]
        return found[0] if found and new.idempotency_key is not None else None

    @rule(target=leases, remembers=st.booleans())
    def claim(self, remembers: bool) -> Any:
        self.now += 1
        last = self.last if remembers else None
        job = self.store.claim("w0", now=self.now, lease_s=30, last=last)
        expected = self.model.claim(last)
        assert (job and job.id) == expected
        if job is None or job.lease is None:
            return multiple()
        before = self.model.jobs[job.id]
        begun = self.now if before.started_at is None else before.started_at
        attempt = {"lease": job.lease, "lease_until": self.now + 30, "worker": "w0", "started_at": begun}
        self.model.jobs[job.id] = replace(before, state="in_progress", **attempt)
        self.last = job
        return job.lease

    def under(self, lease: str) -> Job | None:
        return next((job for job in self.model.jobs.values() if job.lease == lease), None)

    @rule(lease=leases)
    def extend(self, lease: str) -> None:
        self.now += 1
        job = self.under(lease)
        assert self.store.extend(lease, until=self.now) == (job is not None)
        if job is not None:
            self.model.jobs[job.id] = replace(job, lease_until=self.now)

    @rule(lease=leases, steps_done=st.integers(1, 4))
    def saved(self, lease: str, steps_done: int) -> None:
        job = self.under(lease)
        assert self.store.saved(lease, steps_done) == (job is not None)
        if job is not None:
            further = {"attempts": 0, "interruptions": 0} if steps_done > self.model.furthest.get(job.id, 0) else {}
            self.model.furthest[job.id] = max(steps_done, self.model.furthest.get(job.id, 0))
            self.model.jobs[job.id] = replace(job, steps_saved=steps_done, **further)

    @rule(lease=leases)
    def complete(self, lease: str) -> None:
        job = self.under(lease)
        ended = self.store.complete(lease, RESULT, now=self.now, expires_at=self.now + 9)
        self.end(job, ended, state="completed", result=RESULT)

    @rule(lease=leases)
    def fail(self, lease: str) -> None:
        job = self.under(lease)
        ended = self.store.fail(lease, "face_not_found", "no\nface", now=self.now, expires_at=self.now + 9)
        self.end(job, ended, error_code="face_not_found", error_message="no\\nface")

    @rule(lease=leases, died=st.booleans())
    def give_back(self, lease: str, died: bool) -> None:
        job = self.under(lease)
        after = self.store.give_back(
            lease, died=died, max_attempts=MOST_ATTEMPTS, now=self.now, expires_at=self.now + 9
        )
        if job is not None and died and job.attempts + 1 == MOST_ATTEMPTS:
            message = "the worker died 3 times while rendering this; change the photo or the settings"
            self.end(job, after, error_code="worker_died", error_message=message, attempts=MOST_ATTEMPTS)
        else:
            self.queue_again(job, after, attempts=job.attempts + died if job else 0)

    @rule(lease=leases)
    def interrupt(self, lease: str) -> None:
        job = self.under(lease)
        after = self.store.interrupt(lease, most=MOST_INTERRUPTIONS, now=self.now, expires_at=self.now + 9)
        if job is not None and job.interruptions + 1 == MOST_INTERRUPTIONS:
            message = "the server stopped 2 times while rendering this; ask for it again"
            self.end(job, after, error_code="interrupted", error_message=message, interruptions=MOST_INTERRUPTIONS)
        else:
            self.queue_again(job, after, interruptions=job.interruptions + 1 if job else 0)

    @rule(job_id=ids, key_id=st.sampled_from((None, *KEYS)))
    def cancel(self, job_id: str, key_id: str | None) -> None:
        job = self.model.jobs.get(job_id)
        found = self.store.cancel(job_id, key_id=key_id, now=self.now, expires_at=self.now + 9)
        if job is None or key_id not in (None, job.key_id):
            assert found is None
            return
        assert found is not None and found[1] == job.state
        if job.state in FINAL:
            assert found[0] == job
        else:
            self.end(job, found[0], error_code="cancelled", error_message="cancelled by the client")

    @rule(model=st.sampled_from(("avatar-mini", "other")))
    def fail_others(self, model: str) -> None:
        others = [job for job in self.model.jobs.values() if job.state == "queued" and job.model != model]
        assert self.store.waiting_for_others(model) == others
        ended = self.store.fail_others(model, now=self.now, expires_at=self.now + 9)
        for job, after in zip(others, ended, strict=True):
            message = f"this server renders with {model} now; ask for the video again"
            self.end(job, after, error_code="model_gone", error_message=message)

    @rule(job_id=consumes(ids))
    def delete(self, job_id: str) -> None:
        job = self.model.jobs.pop(job_id, None)
        assert self.store.delete(job_id, key_id=None) == job
        self.told = [(told_id, state) for told_id, state in self.told if told_id != job_id]
        self.model.furthest.pop(job_id, None)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store(self.path)

    def end(self, job: Job | None, after: Job | None, **values: Any) -> None:
        if job is None:
            assert after is None
            return
        times = {"finished_at": self.now, "expires_at": self.now + 9, "lease": None, "lease_until": None}
        self.model.jobs[job.id] = replace(job, **({"state": "failed"} | times | values))
        assert after == self.model.jobs[job.id]
        if job.webhook_url is not None:
            self.told.append((job.id, after.state))

    def queue_again(self, job: Job | None, after: Job | None, **values: Any) -> None:
        if job is None:
            assert after is None
            return
        forgotten = {"lease": None, "lease_until": None}
        self.model.jobs[job.id] = replace(job, state="queued", **forgotten, **values)
        assert after == self.model.jobs[job.id]

    @invariant()
    def says_what_the_model_says(self) -> None:
        if not hasattr(self, "store"):
            return
        everyone = self.store.of_subject(key_id=None, photo_sha256=None, consent_ref=None, before=None)
        assert everyone == list(self.model.jobs.values())
        assert positions(self.store, everyone) == self.model.places()
        assert self.store.leased() == [job for job in everyone if job.state == "in_progress"]
        told = [(delivery.id, delivery.body.decode()) for delivery in self.store.due(self.now, 999)]
        assert len(told) == len(self.told)
        assert all(any(job_id in body and state in body for _, body in told) for job_id, state in self.told)


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(max_examples=20, stateful_step_count=40, deadline=None)
