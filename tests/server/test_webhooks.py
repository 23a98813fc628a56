"""Events arrive signed, are sent again until they are heard, and a slow receiver holds up nobody else."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.server import webhooks
from fantasyid_engine.server.outbound import Outbound, OutboundFailed, RefusedAddress
from fantasyid_engine.server.webhooks import AT_ONCE, SCHEDULE_S, Courier, Delivery, event_body, read_secret
from tests.server.receiver import Answer, receiver

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NOW = 1_800_000_000.0


@dataclass
class Queue:
    """Deliveries in memory, as the store keeps them."""

    rows: dict[str, tuple[Delivery, float | None]] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)
    read: threading.Event = field(default_factory=threading.Event)
    fails: int = 0

    def add(self, name: str, url: str, at: float = 0.0, key_id: str = "key_a") -> None:
        self.rows[name] = (Delivery(name, url, event_body(name, "completed", None, NOW), 0, key_id), at)

    def due(self, now: float, limit: int) -> list[Delivery]:
        self.read.set()
        return [row for row, at in self.rows.values() if at is not None and at <= now][:limit]

    def record(self, delivery_id: str, *, delivered: bool, next_at: float | None, outcome: str) -> None:
        if self.fails:
            self.fails -= 1
            raise OSError("no space left on device")
        assert not delivered or next_at is None
        delivery, _ = self.rows[delivery_id]
        self.rows[delivery_id] = (replace(delivery, attempt=delivery.attempt + 1), next_at)
        self.outcomes.append(outcome)

    def next_at(self, name: str) -> float | None:
        return self.rows[name][1]


@dataclass
class Answers:
    """Posts to nowhere: each call takes the next status or error."""

    said: list[int | Exception] = field(default_factory=list)
    sent: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        self.sent.append((url, body, dict(headers)))
        answer = self.said.pop(0) if self.said else 200
        if isinstance(answer, Exception):
            raise answer
        return answer


def courier(
    queue: Queue,
    post: webhooks.Post,
    clock: Callable[[], float] = lambda: NOW,
    jitter: Callable[[], float] = lambda: 0.0,
) -> Courier:
    return Courier(queue, post, SECRET, clock=clock, jitter=jitter)


def deliver(queue: Queue, post: webhooks.Post, now: float = NOW) -> int:
    return asyncio.run(courier(queue, post).deliver_due(now))


def local_outbound() -> Outbound:
    return Outbound(http=True, allowed_networks=(ip_network("127.0.0.0/8"),))


def test_a_receiver_verifies_what_arrives_with_the_public_library() -> None:
    queue = Queue()
    with receiver() as hooks:
        queue.add("msg_1", f"http://127.0.0.1:{hooks.port}/hook")
        assert asyncio.run(courier(queue, local_outbound(), clock=time.time).deliver_due(NOW)) == 1
        seen = hooks.requests[0]
        event = Webhook(SECRET).verify(seen.body, seen.headers)
        for forged in (
            replace(seen, body=seen.body + b" "),
            replace(seen, headers={**seen.headers, "webhook-id": "x"}),
        ):
            with pytest.raises(WebhookVerificationError):
                Webhook(SECRET).verify(forged.body, forged.headers)
    assert event["type"] == "video.completed"
    assert event["data"] == {"id": "msg_1", "status": "completed", "error_code": None}
    assert seen.headers["webhook-id"] == "msg_1" and seen.headers["content-type"] == "application/json"
    assert queue.outcomes == ["delivered: status 200"] and queue.next_at("msg_1") is None


def test_the_signature_is_that_of_the_specification() -> None:
    posts, queue = Answers(), Queue()
    queue.add("msg_1", "https://hooks.example/")
    deliver(queue, posts)
    _, body, headers = posts.sent[0]
    assert headers["webhook-timestamp"] == "1800000000"
    # HMAC-SHA256 over id, timestamp and body, computed apart from the library.
    digest = hmac.new(bytes(range(32)), b"msg_1.1800000000." + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_an_event_is_thin() -> None:
    assert json.loads(event_body("video_1", "failed", "out_of_memory", NOW)) == {
        "type": "video.failed",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {"id": "video_1", "status": "failed", "error_code": "out_of_memory"},
    }


def test_what_is_not_heard_is_sent_again_on_schedule_and_then_given_up() -> None:
    queue, posts = Queue(), Answers([500, 302, 429, OutboundFailed("no"), RefusedAddress("no"), 404, 503])
    queue.add("msg_1", "https://hooks.example/", at=NOW)
    waits = []
    while (at := queue.next_at("msg_1")) is not None:
        waits.append(at - NOW)
        assert deliver(queue, posts, at - 0.001) == 0
        assert deliver(queue, posts, at) == 1
    assert tuple(waits) == SCHEDULE_S
    assert len(posts.sent) == len(SCHEDULE_S) == 7
    assert {headers["webhook-id"] for _, _, headers in posts.sent} == {"msg_1"}
    assert len({body for _, body, _ in posts.sent}) == 1
    assert queue.outcomes[0] == "again: status 500" and queue.outcomes[-1] == "given_up: status 503"
    assert all("\n" not in outcome for outcome in queue.outcomes)


def test_waits_are_spread_but_never_shorter() -> None:
    queue, posts = Queue(), Answers([500])
    queue.add("msg_1", "https://hooks.example/")
    asyncio.run(courier(queue, posts, jitter=lambda: 1.0).deliver_due(NOW))
    assert queue.next_at("msg_1") == NOW + SCHEDULE_S[1] * 1.2


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, "delivered"), (204, "delivered"), (299, "delivered"), (410, "gone")]
)
def test_2xx_and_410_end_it(status: int, outcome: str) -> None:
    queue, told = Queue(), []
    queue.add("msg_1", "https://hooks.example/")
    made = Courier(queue, Answers([status]), SECRET, clock=lambda: NOW, on_outcome=told.append)
    asyncio.run(made.deliver_due(NOW))
    assert queue.next_at("msg_1") is None
    assert queue.outcomes == [f"{outcome}: status {status}"] and told == [outcome]


def test_an_error_that_nobody_thought_of_waits_like_any_other() -> None:
    queue = Queue()
    queue.add("msg_1", "https://hooks.example/")
    deliver(queue, Answers([RuntimeError("a secret\nof ours")]))
    assert queue.outcomes == ["again: RuntimeError"] and queue.next_at("msg_1") == NOW + SCHEDULE_S[1]


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)


def test_a_slow_receiver_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "POLL_S", 0.01)
    queue = Queue()
    with receiver("127.0.0.2") as slow, receiver() as quick:
        slow.answers.extend(Answer(held=True) for _ in range(50))
        for number in range(50):
            queue.add(f"slow_{number}", f"http://127.0.0.2:{slow.port}/")
        for number in range(20):
            queue.add(f"quick_{number}", f"http://127.0.0.1:{quick.port}/")

        async def run() -> None:
            stop = asyncio.Event()
            running = asyncio.create_task(courier(queue, local_outbound()).run(stop))
            await _until(lambda: len(queue.outcomes) == 20)
            stop.set()
            await running

        asyncio.run(run())
        assert queue.outcomes == ["delivered: status 200"] * 20
        assert len(quick.requests) == 20
        assert 1 <= slow.connections <= webhooks.AT_ONCE_PER_RECEIVER
    assert all(at is not None for name, (_, at) in queue.rows.items() if name.startswith("slow"))


def test_no_more_than_sixteen_go_out_at_once_and_none_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "POLL_S", 0.001)
    queue = Queue()
    for number in range(60):
        queue.add(f"msg_{number}", f"https://hooks{number}.example/", key_id=f"key_{number % 3}")
    under_way, most, posted = 0, 0, []

    class Counting:
        async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            posted.append(headers["webhook-id"])
            await asyncio.sleep(0.01)
            under_way -= 1
            return 200

    async def run() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(courier(queue, Counting()).run(stop))
        await _until(lambda: len(queue.outcomes) >= 60)
        stop.set()
        await running

    asyncio.run(run())
    assert most == AT_ONCE == 16 and sorted(posted) == sorted(queue.rows)


def test_what_ends_while_the_queue_is_read_is_not_sent_again() -> None:
    posts, queue = Answers(), Queue()
    queue.add("msg_1", "https://hooks.example/")
    recorded = threading.Event()

    class Late(Queue):
        """Tells what was due before the first delivery was recorded, after it was."""

        reads = 0

        def due(self, now: float, limit: int) -> list[Delivery]:
            self.reads += 1
            found = queue.due(now, limit)
            if self.reads == 2:
                held.set()
                recorded.wait(20)
            return found

        def record(self, delivery_id: str, *, delivered: bool, next_at: float | None, outcome: str) -> None:
            held.wait(20)
            queue.record(delivery_id, delivered=delivered, next_at=next_at, outcome=outcome)

    held = threading.Event()

    async def run() -> None:
        made = courier(Late(), posts)
        first = asyncio.create_task(made.deliver_due(NOW))
        await _until(lambda: len(posts.sent) == 1)
        second = asyncio.create_task(made.deliver_due(NOW))
        assert await first == 1
        recorded.set()
        assert await second == 0

    asyncio.run(run())
    assert len(posts.sent) == 1 and queue.outcomes == ["delivered: status 200"]


def test_what_cannot_be_written_down_is_not_sent_again_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "RECORD_AGAIN_S", 0.01)
    posts, queue = Answers(), Queue(fails=3)
    queue.add("msg_1", "https://hooks.example/")
    assert deliver(queue, posts) == 1
    assert len(posts.sent) == 1 and queue.outcomes == ["delivered: status 200"]


def test_a_queue_that_cannot_be_read_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "POLL_S", 0.01)

    class Sick(Queue):
        reads = 0

        def due(self, now: float, limit: int) -> list[Delivery]:
            self.reads += 1
            if self.reads < 3:
                raise OSError("database is locked")
            return super().due(now, limit)

    queue = Sick()
    queue.add("msg_1", "https://hooks.example/")

    async def run() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(courier(queue, Answers()).run(stop))
        await _until(lambda: bool(queue.outcomes))
        stop.set()
        await running

    asyncio.run(run())
    assert queue.outcomes == ["delivered: status 200"]


@pytest.mark.parametrize(
    "secret",
    ["", "whsec_", "whsec_!!!!", "whsec_" + base64.b64encode(b"short").decode(), SECRET.removeprefix("whsec_")],
)
def test_a_secret_that_is_none_is_refused_without_being_told(secret: str) -> None:
    with pytest.raises(ConfigError, match="webhook_secret is not whsec_ and 24 to 64 bytes") as error:
        read_secret(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(error.value)
