"""What is asked all the time is answered from indexes, however many jobs there are."""

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from sqlalchemy import event

from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.store import Limits, Store
from tests.server.stores import RESULT, lease, make, make_at_once, new_job, positions

QUESTIONS: dict[str, Callable[[Store, Job], object]] = {
    "create": lambda store, job: store.create(new_job(idempotency_key="x"), now=1, limits=Limits(10**6, 10**6, 999)),
    "get": lambda store, job: store.get(job.id, key_id="key_a"),
    "list-newest": lambda store, job: store.list("key_a", after=job.id, limit=20, newest_first=True),
    "list-oldest": lambda store, job: store.list("key_a", after=job.id, limit=20, newest_first=False),
    "look": lambda store, job: store.look(job.id),
    "positions": lambda store, job: positions(store, [job] * 100),
    "claim": lambda store, job: store.claim("w0", now=1, lease_s=9, last=job),
    "extend": lambda store, job: store.extend(lease(job), until=9),
    "saved": lambda store, job: store.saved(lease(job), 5),
    "complete": lambda store, job: store.complete(lease(job), RESULT, now=5, expires_at=9),
    "leased": lambda store, job: store.leased(),
    "expiring": lambda store, job: store.next_expiring(9, 9),
    "photo": lambda store, job: store.photo_in_use(job.photo_sha256),
    "key": lambda store, job: store.find_key("fid_" + 43 * "A"),
    "due": lambda store, job: store.due(9, 9),
    "delete": lambda store, job: store.delete(job.id, key_id="key_a"),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Job]]:
    path = tmp_path_factory.mktemp("store") / "jobs.sqlite"
    make_at_once(path, [new_job(f"key_{'abc'[i % 3]}") for i in range(300)])
    with closing(Store(path)) as store:
        make(store, webhook_url="https://example.com/hook", priority=100)
        job = store.claim("w0", now=1, lease_s=9, last=None)
        assert job is not None
        yield store, job


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_table_of_jobs_is_read_through(filled: tuple[Store, Job], question: str) -> None:
    store, job = filled
    plans: list[str] = []

    def explain(connection: object, cursor: object, statement: str, parameters: tuple, context, many: bool) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            driver = context.root_connection.connection.driver_connection
            rows = driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(f"{row[3]}  <-  {statement}" for row in rows)

    engine = store._database._reading
    event.listen(engine, "before_cursor_execute", explain)
    try:
        QUESTIONS[question](store, job)
    finally:
        event.remove(engine, "before_cursor_execute", explain)
    assert any(plan.startswith("SEARCH ") for plan in plans), plans
    few = ("SCAN queues", "SCAN CONSTANT ROW ")  # queues are one a key
    scans = [plan for plan in plans if plan.startswith("SCAN ") and not plan.startswith(few)]
    assert scans == []
