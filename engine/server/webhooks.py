"""Webhooks: who asked for it is told when a video is done, signed, and told again until it was heard.

    due deliveries -> signed -> posted -> 2xx ends it, 410 ends it, anything else: later again

The queue is on disk and not here; a server that stops in between delivers again, under the same id. Events are thin:
they say what happened to which job, and the receiver asks for the rest. Source: Standard Webhooks 1.0.
"""

import asyncio
import base64
import binascii
import json
import random
import time
from asyncio import Semaphore
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from weakref import WeakValueDictionary

from standardwebhooks import Webhook

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.server.addresses import RefusedAddress, parse_url
from fantasyid_engine.server.logs import get_log
from fantasyid_engine.server.outbound import OutboundFailed

SCHEDULE_S = (0.0, 5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0)
"""Before each attempt, from when the one before it failed: 17 and a half hours in all."""
JITTER = 0.2
"""Waits are up to this much longer, so that what failed together does not come back together."""
AT_ONCE = 16
AT_ONCE_PER_KEY, AT_ONCE_PER_RECEIVER = 8, 2
"""A receiver that is slow holds up no other, and a key with many of them no other key."""
LOOK_AHEAD = 1_000
"""Deliveries that are taken up at a time; more than go out at once, to find other receivers behind a slow one."""
POLL_S = 1.0
RECORD_AGAIN_S = 30.0
GONE = 410
SECRET_PREFIX = "whsec_"
SECRET_BYTES = (24, 64)
"""Least and most, as the specification has it."""

Outcome = Literal["delivered", "again", "gone", "given_up"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way.

    Attributes:
        id: the event's, the same in every attempt; receivers know repetitions by it. No full stops.
        url: of the receiver.
        body: as it is signed and sent.
        attempt: attempts made before, 0 at first.
        key_id: whose job it is about.
    """

    id: str
    url: str
    body: bytes
    attempt: int
    key_id: str


class DeliveryQueue(Protocol):
    """Deliveries on disk. Both methods block."""

    def due(self, now: float, limit: int) -> list[Delivery]:
        """Up to `limit` deliveries whose time has come, of every key some, those that wait longest first."""
        ...

    def record(self, delivery_id: str, *, delivered: bool, next_at: float | None, outcome: str) -> None:
        """One attempt more was made; without `next_at` it was the last. `outcome` is one line for an operator."""
        ...


class Post(Protocol):
    """What is needed of `Outbound`."""

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """See `Outbound.post`."""
        ...


def event_body(job_id: str, status: Literal["completed", "failed"], error_code: str | None, at: float) -> bytes:
    """The event that a job has ended, as JSON; `at` in seconds since 1970."""
    event = {
        "type": f"video.{status}",
        "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "data": {"id": job_id, "status": status, "error_code": error_code},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def read_secret(secret: str) -> Webhook:
    """What signs, from `whsec_` and 24 to 64 bytes in base64.

    Raises:
        ConfigError: it is something else; the message does not repeat it.
    """
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    least, most = SECRET_BYTES
    if not secret.startswith(SECRET_PREFIX) or not least <= len(key) <= most:
        raise ConfigError(
            f"webhook_secret is not {SECRET_PREFIX} and {least} to {most} bytes in base64; "
            f"make one: echo {SECRET_PREFIX}$(openssl rand -base64 32)"
        )
    return Webhook(key)


class Courier:
    """Delivers what is due."""

    def __init__(
        self,
        queue: DeliveryQueue,
        outbound: Post,
        secret: str,
        *,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    ) -> None:
        """Delivers from `queue` through `outbound`.

        Args:
            queue: what is to be delivered.
            outbound: posts; see `Outbound`.
            secret: see `read_secret`, which also tells what is raised.
            clock: seconds since 1970.
            jitter: 0 to 1, anew each time.
            on_outcome: told of each attempt's, for metrics.
        """
        self._queue, self._outbound, self._signer = queue, outbound, read_secret(secret)
        self._clock, self._jitter, self._on_outcome = clock, jitter, on_outcome
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._slots = Semaphore(AT_ONCE)
        self._keys: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()
        self._receivers: WeakValueDictionary[tuple[str, str, int], Semaphore] = WeakValueDictionary()

    async def deliver_due(self, now: float) -> int:
        """Makes one attempt for each delivery that is due, and waits for their ends; how many that were."""
        tasks = await self._start(now)
        await asyncio.gather(*tasks)
        return len(tasks)

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers what comes due until `stop`; what is under way then is broken off and comes again later."""
        try:
            while not stop.is_set():
                try:
                    await self._start(self._clock())
                except Exception:  # the store may be well again later; deliveries must not end until then
                    get_log().exception("webhooks_unread")
                await _wait(stop, POLL_S)
        finally:
            tasks = list(self._under_way.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _start(self, now: float) -> list[asyncio.Task[None]]:
        """Takes up what is due and not under way."""
        # Also what is under way now: it may end while the queue is read, which may have seen it as due.
        busy = set(self._under_way)
        due = await asyncio.to_thread(self._queue.due, now, LOOK_AHEAD)
        started = []
        for delivery in due:
            if delivery.id not in busy and delivery.id not in self._under_way:
                task = asyncio.create_task(self._deliver(delivery))
                self._under_way[delivery.id] = task
                task.add_done_callback(lambda _, name=delivery.id: self._under_way.pop(name))
                started.append(task)
        return started

    async def _deliver(self, delivery: Delivery) -> None:
        """One attempt, when it is its turn, and what is written down of it."""
        key = self._keys.setdefault(delivery.key_id, Semaphore(AT_ONCE_PER_KEY))
        receiver = self._receivers.setdefault(_receiver(delivery.url), Semaphore(AT_ONCE_PER_RECEIVER))
        async with receiver, key, self._slots:
            heard, detail = await self._attempt(delivery)
        outcome, next_at = heard, None
        if heard == "again":
            if delivery.attempt + 1 < len(SCHEDULE_S):
                next_at = self._clock() + SCHEDULE_S[delivery.attempt + 1] * (1 + JITTER * self._jitter())
            else:
                outcome = "given_up"
        self._on_outcome(outcome)
        get_log().info("webhook", delivery_id=delivery.id, outcome=outcome, detail=detail, attempt=delivery.attempt)
        await self._record(delivery, outcome, next_at, f"{outcome}: {detail}")

    async def _attempt(self, delivery: Delivery) -> tuple[Outcome, str]:
        at = int(self._clock())
        headers = {
            "content-type": "application/json",
            "webhook-id": delivery.id,
            "webhook-timestamp": str(at),
            "webhook-signature": self._signer.sign(
                delivery.id, datetime.fromtimestamp(at, UTC), delivery.body.decode()
            ),
        }
        try:
            status = await self._outbound.post(delivery.url, delivery.body, headers)
        except (RefusedAddress, OutboundFailed) as error:
            return "again", str(error)
        except Exception as error:  # whatever it is, without a next time it would be tried each second
            get_log().exception("webhook_broken", delivery_id=delivery.id)
            return "again", type(error).__name__
        outcome = "delivered" if 200 <= status < 300 else "gone" if status == GONE else "again"
        return outcome, f"status {status}"

    async def _record(self, delivery: Delivery, outcome: Outcome, next_at: float | None, text: str) -> None:
        """Writes an attempt down, however long it takes: until then it is under way, and not made again."""
        while True:
            try:
                await _to_its_end(
                    self._queue.record, delivery.id, delivered=outcome == "delivered", next_at=next_at, outcome=text
                )
                return
            except Exception:  # a full disk, a locked store
                get_log().exception("webhook_unrecorded", delivery_id=delivery.id)
                await asyncio.sleep(RECORD_AGAIN_S)


def _receiver(url: str) -> tuple[str, str, int]:
    """Scheme, host and port, however they are written; all that are refused are one."""
    try:
        target = parse_url(url, http=True)
    except RefusedAddress:
        return "", "", 0
    return target.scheme, target.host, target.port


async def _to_its_end(call: Callable[..., None], *arguments: Any, **named: Any) -> None:
    """Calls in a thread and waits for it, also when cancelled: the store must not be closed under it."""
    task = asyncio.create_task(asyncio.to_thread(call, *arguments, **named))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
