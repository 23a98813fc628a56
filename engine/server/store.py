"""What the server must not lose: jobs, API keys, webhooks to deliver. One SQLite file; every change one transaction.

What a method returned is on the disk. Methods block, and may be called from any thread; two servers may not share a
file, but a command may change keys while one runs. Times are passed in as seconds since 1970. Every method raises
WriteError where the file can be read or written no longer (disk full): nothing is changed then, and the next call may
succeed. What it does is in `fantasyid_engine.server.database`, a function for each method here.
"""

from pathlib import Path
from typing import Any

from fantasyid_engine.server.database import api_keys, attempts, creating, deliveries, notes, queues, reading, turns
from fantasyid_engine.server.database.api_keys import ApiKey
from fantasyid_engine.server.database.connection import Database
from fantasyid_engine.server.database.creating import KeyReused, Limits, TooMany
from fantasyid_engine.server.jobs import Job, NewJob, Place, State, Taken
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.webhooks import Delivery

__all__ = ["ApiKey", "KeyReused", "Limits", "Store", "TooMany"]


class Store:
    """The store of one server."""

    def __init__(self, path: Path) -> None:
        """Opens a store, or makes it; raises ConfigError for a file that is none, or one of a newer version."""
        self._database = Database(path)
        with self._database.write() as connection:
            queues.count_anew(connection)

    def close(self) -> None:
        """Lets go of the file."""
        self._database.close()

    # Jobs as clients see them.

    def create(self, new: NewJob, *, now: float, limits: Limits) -> Taken:
        """Makes a job, or finds the one of the same key and idempotency key. Raises TooMany, KeyReused."""
        with self._database.write() as connection:
            job, made = creating.create(connection, new, now, limits)
            return Taken(job, made, turns.place(connection, job))

    def get(self, job_id: str, *, key_id: str | None = None) -> Job | None:
        """A job; None where there is none, or it is another key's."""
        with self._database.read() as connection:
            return reading.get(connection, job_id, key_id)

    def look(self, job_id: str, *, key_id: str | None = None) -> tuple[Job, Place | None] | None:
        """A job with its place in the queue; None as `get`. Faces in memory may change the place a little."""
        with self._database.read() as connection:
            job = reading.get(connection, job_id, key_id)
            return job and (job, turns.place(connection, job))

    def cancel(
        self, job_id: str, *, key_id: str | None, now: float, expires_at: float | None
    ) -> tuple[Job, State] | None:
        """Fails a job that waits or is under way, with the code `cancelled`; with its state before."""
        with self._database.write() as connection:
            return attempts.cancel(connection, job_id, key_id, now, expires_at)

    def delete(self, job_id: str, *, key_id: str | None) -> Job | None:
        """Removes a job in any state, with its deliveries; returns what it was."""
        with self._database.write() as connection:
            return attempts.remove(connection, job_id, key_id)

    # Attempts. A lease that was lost, cancelled or deleted changes nothing: False or None.

    def claim(self, worker: str, *, now: float, lease_s: float, last: Job | None) -> Job | None:
        """The next job, leased to a worker; `last`, its job before, prefers one of the same face."""
        with self._database.write() as connection:
            return turns.claim(connection, worker, now, lease_s, last)

    def extend(self, lease: str, *, until: float) -> bool:
        """Keeps a lease."""
        with self._database.write() as connection:
            return attempts.extend(connection, lease, until)

    def saved(self, lease: str, steps_done: int) -> bool:
        """Notes what the saved state has behind it; further than ever before, attempts count anew."""
        with self._database.write() as connection:
            return attempts.saved(connection, lease, steps_done)

    def complete(self, lease: str, result: dict[str, Any], *, now: float, expires_at: float | None) -> Job | None:
        """Ends a job well."""
        with self._database.write() as connection:
            return attempts.complete(connection, lease, result, now, expires_at)

    def fail(self, lease: str, code: str, message: str, *, now: float, expires_at: float | None) -> Job | None:
        """Ends a job badly."""
        with self._database.write() as connection:
            return attempts.fail(connection, lease, code, message, now, expires_at)

    def give_back(
        self, lease: str, *, died: bool, max_attempts: int, now: float, expires_at: float | None
    ) -> Job | None:
        """Queues a job again, in its old place; fails it when `max_attempts` workers died of it."""
        with self._database.write() as connection:
            return attempts.give_back(connection, lease, died, max_attempts, now, expires_at)

    def interrupt(self, lease: str, *, most: int = 10, now: float, expires_at: float | None) -> Job | None:
        """Queues a job again that the server itself was stopped under; fails it the `most`th time."""
        with self._database.write() as connection:
            return attempts.interrupt(connection, lease, most, now, expires_at)

    def waiting_for_others(self, model: str) -> list[Job]:
        """Jobs that wait for another model than this one."""
        with self._database.read() as connection:
            return reading.waiting_for_others(connection, model)

    def fail_others(self, model: str, *, now: float, expires_at: float | None) -> list[Job]:
        """Fails them, with the code `model_gone`."""
        with self._database.write() as connection:
            return attempts.fail_others(connection, model, now, expires_at)

    # All jobs.

    def counts(self) -> dict[State, int]:
        """How many jobs there are in each state."""
        with self._database.read() as connection:
            return reading.counts(connection)

    def leased(self) -> list[Job]:
        """Jobs under way."""
        with self._database.read() as connection:
            return reading.leased(connection)

    def next_expiring(self, now: float, limit: int) -> list[Job]:
        """Jobs whose time is over."""
        with self._database.read() as connection:
            return reading.next_expiring(connection, now, limit)

    def photo_in_use(self, sha256: str) -> bool:
        """Whether any job is of this photo."""
        with self._database.read() as connection:
            return reading.photo_in_use(connection, sha256)

    def photos(self) -> set[str]:
        """Digests of all photos in use."""
        with self._database.read() as connection:
            return reading.photos(connection)

    def job_ids(self, *states: State) -> set[str]:
        """Ids of all jobs, or of those in these states."""
        with self._database.read() as connection:
            return reading.job_ids(connection, *states)

    def of_subject(
        self, *, key_id: str | None, photo_sha256: str | None, consent_ref: str | None, before: float | None
    ) -> list[Job]:
        """Jobs of which all that is given holds: of a key, photo or consent, or made before a time."""
        with self._database.read() as connection:
            return reading.of_subject(connection, key_id, photo_sha256, consent_ref, before)

    def wipe(self) -> None:
        """Nothing of what was deleted is left in the file, nor beside it."""
        self._database.wipe()

    # The model, API keys and webhooks.

    def keep_facts(self, facts: Facts) -> None:
        """Keeps the facts of the model served."""
        with self._database.write() as connection:
            notes.keep_facts(connection, facts)

    def facts(self) -> Facts | None:
        """Those of the last model served."""
        with self._database.read() as connection:
            return notes.kept_facts(connection)

    def add_key(self, name: str, *, now: float, max_queued: int | None = None) -> tuple[ApiKey, str]:
        """Makes an API key; its token is told here alone. Raises InputError for a name that is none, or taken."""
        with self._database.write() as connection:
            return api_keys.add(connection, name, now, max_queued)

    def find_key(self, token: str) -> ApiKey | None:
        """The key of a token; None for one that is unknown or revoked."""
        with self._database.read() as connection:
            return api_keys.find(connection, token)

    def keys(self) -> list[ApiKey]:
        """All keys, revoked ones too."""
        with self._database.read() as connection:
            return api_keys.every(connection)

    def revoke_key(self, name_or_id: str, *, now: float) -> ApiKey | None:
        """Refuses a key from now on; None where there is no such key."""
        with self._database.write() as connection:
            return api_keys.revoke(connection, name_or_id, now)

    def due(self, now: float, limit: int) -> list[Delivery]:
        """Webhooks to deliver."""
        with self._database.read() as connection:
            return deliveries.due(connection, now, limit)

    def record(self, delivery_id: str, *, delivered: bool, next_at: float | None, outcome: str) -> None:
        """An attempt to deliver was made; without `next_at` it was the last."""
        with self._database.write() as connection:
            deliveries.record(connection, delivery_id, delivered, next_at, outcome)

    # Last: to annotations further down, `list` would be this method.
    def list(self, key_id: str, *, after: str | None, limit: int, newest_first: bool) -> tuple[list[Job], bool]:
        """Up to `limit` of a key's jobs after the job `after`, and whether more follow; LookupError for no such job."""
        with self._database.read() as connection:
            return reading.page(connection, key_id, after, limit, newest_first)
