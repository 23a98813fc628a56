"""The verbs of the server, between its routes and what keeps and renders jobs.

What a verb promises is on disk before it returns. Whoever asks sees jobs of their own key alone. The store and files
block, so they are called in threads.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Any

from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.server.access import Caller
from fantasyid_engine.server.checks import Checked, check
from fantasyid_engine.server.errors import bad, later, not_found
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub
from fantasyid_engine.server.jobs import FINAL, Job, NewJob, Place, State, Taken
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.metrics import Metrics
from fantasyid_engine.server.outbound import Outbound
from fantasyid_engine.server.photos import Photos
from fantasyid_engine.server.pool import Pool
from fantasyid_engine.server.removal import Remover
from fantasyid_engine.server.schemas import CreateVideo, RemixVideo, Video
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Limits, Store
from fantasyid_engine.server.uploads import Source, Uploads, is_job_id
from fantasyid_engine.server.views import eta_s, video

LOADING_S = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, under what idempotency key of the headers, and within which trace."""

    caller: Caller
    idempotency_key: str | None
    traceparent: str | None


class Service:
    """Everything that clients can do."""

    def __init__(
        self, settings: Settings, store: Store, files: Files, hub: Hub, pool: Pool, outbound: Outbound, metrics: Metrics
    ) -> None:
        self.settings, self.store, self.files, self.hub, self.pool = settings, store, files, hub, pool
        self.outbound, self.metrics = outbound, metrics
        self.uploads = Uploads(settings, outbound)
        self.photos = Photos(files, store, inf if settings.retention_hours is None else 3600 * settings.retention_hours)
        self.remover = Remover(store, files, hub, pool, self.photos)
        self.started_at = int(time.time())
        self.draining = False
        self.stopping = asyncio.Event()
        """Set when nothing will change any more: who watches a job is let go."""

    def facts(self) -> Facts:
        """Of the model.

        Raises:
            ApiError: jobs are not taken now.
        """
        if self.draining:
            raise later("draining", "this server is being stopped; try again when it is back")
        if self.pool.refusal is not None:
            raise later("model_refused", "no worker can start here; the server's log says why", 60)
        facts = self.pool.facts
        if facts is None:
            raise later("loading", "the model is loading for the first time; try again", LOADING_S)
        return facts

    async def create(self, asked: Asked, body: CreateVideo, source: Source) -> Taken:
        """A new job, or the one that was made by the same idempotency key.

        Raises:
            ApiError, InputError: the request cannot be served.
            TooMany, KeyReused: see `Store.create`.
        """
        checked = check(body, self.facts(), self.settings)
        self._check_webhook(body.webhook_url)
        if is_job_id(source):
            photo = await self._photo_of(await self.get(str(source), asked.caller))
        else:
            photo = await self.uploads.take(source, asked.caller.key_id)
        return await self._store(asked, body, checked, photo, None)

    async def remix(self, asked: Asked, job_id: str, body: RemixVideo) -> Taken:
        """A job with the face of another one, and its settings where no others are given; raises as `create`."""
        facts = self.facts()
        source = await self.get(job_id, asked.caller)
        checked = check(body, facts, self.settings, source=source.settings)
        self._check_webhook(body.webhook_url)
        return await self._store(asked, body, checked, await self._photo_of(source), source.id)

    async def _photo_of(self, job: Job) -> bytes:
        try:
            return await asyncio.to_thread(self.files.photo(job.photo_sha256).read_bytes)
        except FileNotFoundError:  # deleted in this moment
            raise not_found() from None

    async def _store(
        self, asked: Asked, body: CreateVideo | RemixVideo, checked: Checked, photo: bytes, remixed: str | None
    ) -> Taken:
        key = _one_key(asked.idempotency_key, body.idempotency_key)
        try:
            taken = await asyncio.to_thread(self._create, asked, body, checked, photo, remixed, key)
        except Exception:
            with suppress(OutputError):
                await asyncio.to_thread(self.photos.drop, hashlib.sha256(photo).hexdigest())
            raise
        if taken.made:
            self.metrics.job_created()
            self.pool.wake()
        return taken

    def _create(
        self,
        asked: Asked,
        body: CreateVideo | RemixVideo,
        checked: Checked,
        photo: bytes,
        remixed: str | None,
        idempotency_key: str | None,
    ) -> Taken:
        """Photo and job on the disk; blocks."""
        caller, settings = asked.caller, self.settings
        limits = Limits(
            max_queued=settings.max_queued,
            max_queued_per_key=caller.max_queued or settings.max_queued_per_key,
            max_creates_per_minute=settings.max_creates_per_minute,
        )
        with self.photos.holding(photo) as sha256:
            new = NewJob(
                key_id=caller.key_id,
                settings=checked.settings,
                photo_sha256=sha256,
                size=checked.size,
                num_frames=checked.num_frames,
                fps=checked.fps,
                model=checked.model,
                priority=body.priority,
                idempotency_key=idempotency_key,
                request_sha256=_digest(body, sha256, remixed),
                webhook_url=body.webhook_url,
                remixed_from=remixed,
                traceparent=asked.traceparent,
            )
            return self.store.create(new, now=time.time(), limits=limits)

    def _check_webhook(self, url: str | None) -> None:
        if url is None:
            return
        if self.settings.webhook_secret is None:
            raise bad("webhooks_off", "this server sends no webhooks: it has no webhook_secret", "webhook_url")
        try:
            self.outbound.check(url)
        except InputError as error:
            raise bad(error.code, str(error), "webhook_url") from None

    async def get(self, job_id: str, caller: Caller) -> Job:
        """Raises ApiError for one that is not there, or not the caller's."""
        job = await asyncio.to_thread(lambda: self.store.get(job_id, key_id=caller.key_id))
        if job is None:
            raise not_found()
        return job

    async def page(
        self, caller: Caller, *, after: str | None, limit: int, newest_first: bool
    ) -> tuple[Sequence[Job], bool]:
        """A page of the caller's jobs, and whether there are more.

        Raises:
            ApiError: there is no job `after`.
        """
        try:
            return await asyncio.to_thread(
                lambda: self.store.list(caller.key_id, after=after, limit=limit, newest_first=newest_first)
            )
        except LookupError:
            raise bad("after_unknown", "after names no video of yours; it may have been deleted", "after") from None

    async def cancel(self, job_id: str, caller: Caller) -> Job:
        """The job, failed by now with the code `cancelled` unless it was final before; raises as `get`."""
        now = time.time()
        found = await asyncio.to_thread(
            lambda: self.store.cancel(job_id, key_id=caller.key_id, now=now, expires_at=self._expiry(now))
        )
        if found is None:
            raise not_found()
        job, before = found
        if before == "in_progress":
            await self.pool.cancel(job_id)  # which counts it, and drops its files
        elif before == "queued":
            self.metrics.job_finished("failed", "cancelled", None, None)
            await asyncio.to_thread(self.files.state(job_id).unlink, missing_ok=True)
        if before not in FINAL:
            self.hub.changed(job_id)
        return job

    def show(self, job: Job, place: Place | None) -> Video:
        """A job as clients see it, with its place in the queue where it has one."""
        live = self.hub.progress(job.id)
        if place is None:
            return video(job, live)
        workers = sum(worker.state in ("idle", "busy") for worker in self.pool.workers())
        return video(job, live, place.position, eta_s(place.position, place.mean_render_s, workers))

    async def look(self, job_id: str, caller: Caller) -> tuple[Job, Video]:
        """A job, and how clients see it; raises as `get`."""
        found = await asyncio.to_thread(lambda: self.store.look(job_id, key_id=caller.key_id))
        if found is None:
            raise not_found()
        job, place = found
        return job, self.show(job, place)

    def show_page(self, jobs: Sequence[Job]) -> list[Video]:
        """Jobs as clients see them; their places in the queue would take too long to count."""
        return [video(job, self.hub.progress(job.id)) for job in jobs]

    async def counts(self) -> dict[State, int]:
        """How many jobs there are in each state, of all keys."""
        return await asyncio.to_thread(self.store.counts)

    async def drain(self) -> None:
        """Takes no more jobs, lets those under way end or be saved, and lets go of who watches."""
        self.draining = True
        await self.pool.drain()
        self.stopping.set()

    def _expiry(self, now: float) -> float | None:
        hours = self.settings.retention_hours
        return None if hours is None else now + hours * 3600


def _one_key(header: str | None, field: str | None) -> str | None:
    if header and field and header != field:
        raise bad("idempotency_key_twice", "the Idempotency-Key header and the field differ", "idempotency_key")
    return header or field


def _digest(body: CreateVideo | RemixVideo, sha256: str, remixed: str | None) -> str:
    """Of what was sent, however it was written down."""
    sent: dict[str, Any] = body.model_dump(exclude={"idempotency_key", "input_reference"}, exclude_none=True)
    return hashlib.sha256(json.dumps([sent, sha256, remixed], sort_keys=True).encode()).hexdigest()
