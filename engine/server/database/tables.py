"""The store's tables.

    jobs 1 --- n deliveries      queues: a row for each key, whose turn it is      api_keys      meta: name -> JSON

Times are seconds since 1970. `sequence` is never given twice, even when the newest job is deleted. Indexes are named
after the question that they answer.
"""

from sqlalchemy import JSON, BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

SCHEMA = 1
"""Goes up with every change of the tables; `Database` refuses stores of a higher one."""

metadata = MetaData()

meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSON, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", Text, nullable=False),
    Column("settings", JSON, nullable=False),
    Column("photo_sha256", Text, nullable=False),
    Column("size", Text, nullable=False),
    Column("num_frames", Integer, nullable=False),
    Column("fps", Integer, nullable=False),
    Column("model", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("idempotency_key", Text),
    Column("request_sha256", Text, nullable=False),
    Column("webhook_url", Text),
    Column("remixed_from", Text),
    Column("traceparent", Text),
    Column("state", Text, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("expires_at", Double),
    Column("attempts", Integer, nullable=False, default=0),
    Column("interruptions", Integer, nullable=False, default=0),
    Column("lease", Text),
    Column("lease_until", Double),
    Column("worker", Text),
    Column("steps_saved", Integer, nullable=False, default=0),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("result", JSON, nullable=False, default=dict),
    # Beyond what `Job` tells: of the settings, to find a person's jobs; the most that `steps_saved` ever was.
    Column("consent_ref", Text),
    Column("steps_reached", Integer, nullable=False, default=0),
    sqlite_autoincrement=True,
)
Index("jobs_of_key", jobs.c.key_id, jobs.c.sequence)
Index("jobs_next_of_key", jobs.c.state, jobs.c.key_id, jobs.c.priority.desc(), jobs.c.sequence)
Index(
    "jobs_alike",
    jobs.c.photo_sha256,
    jobs.c.state,
    jobs.c.key_id,
    jobs.c.priority,
    jobs.c.num_frames,
    jobs.c.sequence,
)
Index("jobs_idempotent", jobs.c.key_id, jobs.c.idempotency_key, unique=True)
Index("jobs_lease", jobs.c.lease, unique=True)
Index("jobs_finished", jobs.c.state, jobs.c.finished_at)
Index("jobs_expiring", jobs.c.expires_at)
Index("jobs_consent", jobs.c.consent_ref)

queues = Table(
    "queues",
    metadata,
    Column("key_id", Text, primary_key=True),
    # Turns are numbered as they are taken; 0 for a key that had none.
    Column("last_turn", BigInteger, nullable=False, default=0),
    Column("passed_over", Integer, nullable=False, default=0),
    # How many jobs of the key are queued: kept with every change, as counting thousands takes long.
    Column("waiting", Integer, nullable=False, default=0),
    Column("minute_from", Double, nullable=False, default=0.0),
    Column("made_in_minute", Integer, nullable=False, default=0),
)
Index("queues_turn", queues.c.last_turn, queues.c.key_id)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("job_id", Text, ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    Column("url", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("attempt", Integer, nullable=False, default=0),
    Column("next_at", Double),
    Column("delivered", Integer, nullable=False, default=0),
    Column("outcome", Text),
)
Index("deliveries_due", deliveries.c.next_at)
Index("deliveries_of_job", deliveries.c.job_id)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("revoked_at", Double),
    Column("max_queued", Integer),
)
