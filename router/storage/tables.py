"""The tables. ``decisions``, ``attempts``, ``outcomes``, ``cost_changes``, ``feedback``, ``arrivals`` and ``regimes`` are the log: rows are
only added.

Their ``seq`` is one counter in commit order: the writing transaction reads the highest one under the write lock and counts on.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

Counter = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; only INTEGER makes a primary key SQLite's row id."""

decisions = Table(
    "decisions",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False, unique=True),
    Column("at", Double, nullable=False),
    Column("task_type", String(200), nullable=False),
    Column("features_schema", Integer, nullable=False),
    Column("features", LargeBinary, nullable=False),
    Column("request", Text, nullable=False),
    Column("eligible", Text, nullable=False),
    Column("propensities_q24", Text, nullable=False),  # numerators over 2**24: exact, and shorter than decimals
    Column("model", String(200), nullable=False),
    Column("propensity_q24", Integer, nullable=False),
    Column("confidence", Double, nullable=False),
    Column("reason", Text, nullable=False),
    Column("policy", String(100), nullable=False),
    Column("policy_version", String(64), nullable=False),
    Column("policy_seq", Counter, nullable=False),
    Column("catalog_version", String(64), nullable=False),
    Column("fallback", Boolean, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("episode_id", String(200)),
    Column("tags", Text, nullable=False),
    Column("excluded", Text, nullable=False),
    Column("expected", Text),
)
Index(None, decisions.c.task_type, decisions.c.seq)
Index(None, decisions.c.model, decisions.c.seq)
Index(
    None,
    decisions.c.episode_id,
    decisions.c.seq,
    sqlite_where=decisions.c.episode_id.is_not(None),
    postgresql_where=decisions.c.episode_id.is_not(None),
)

attempts = Table(
    "attempts",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("decision_seq", Counter, ForeignKey(decisions.c.seq), nullable=False),
    Column("number", Integer, nullable=False),
    Column("model", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("last", Boolean, nullable=False),
    Column("error", String(64)),
    Column("http_status", Integer),
    Column("latency_s", Double),
    Column("ttft_s", Double),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cached_input_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("estimated", Boolean, nullable=False),
    Column("request_id", String(128)),
    UniqueConstraint("decision_seq", "number"),
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("decision_seq", Counter, ForeignKey(decisions.c.seq), nullable=False, unique=True),
    Column("status", String(16), nullable=False),
    Column("at", Double, nullable=False),
    Column("model", String(200)),
    Column("latency_s", Double),
    Column("ttft_s", Double),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("cost_usd", Double),
    Column("cost_source", String(16)),
    Column("cached_input_tokens", BigInteger),
    Column("cache_write_tokens", BigInteger),
    Column("reasoning_tokens", BigInteger),
    Column("images", BigInteger),
    Column("hardware_s", Double),
)

feedback = Table(
    "feedback",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("feedback_id", String(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("decision_seq", Counter, ForeignKey(decisions.c.seq), nullable=False),
    Column("judge", String(200), nullable=False),
    Column("metric", String(200), nullable=False),
    Column("score", Double),  # NULL: retracted
    Column("weight", Double, nullable=False),
    Column("at", Double, nullable=False),
    Column("model", String(200), nullable=False),  # the one that served, settled by the decision's first feedback
    Column("before_score", Double),  # what this revision replaces; NULL: nothing
    Column("before_weight", Double),
    Column("others", Text, nullable=False),  # the decision's other active scores, so that a reader looks nothing up
    Column("idempotency_key", String(300)),
    Column("comment", Text),
    Column("source", String(64), nullable=False),  # "": no key; not NULL, which a unique constraint takes for a new value each time
    Column("cost_usd", Double),  # of judging
    Column("sampling", Double),  # probability of having been drawn to be judged
    UniqueConstraint("feedback_id", "revision"),
    UniqueConstraint("decision_seq", "judge", "metric", "revision"),
    UniqueConstraint("idempotency_key", "source"),
)

cost_changes = Table(
    "cost_changes",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("decision_seq", Counter, ForeignKey(decisions.c.seq), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", Double, nullable=False),
    Column("before_usd", Double),  # NULL: unknown
    Column("cost_usd", Double),
    UniqueConstraint("decision_seq", "revision"),
)

arrivals = Table(
    "arrivals",
    metadata,
    Column("model_id", String(200), primary_key=True),
    Column("seq", Counter, nullable=False, index=True),  # 0: known since before the log began
    Column("at", Double, nullable=False),
)
"""When a model became known: the fold's newcomers, whoever folds and whenever."""

regimes = Table(
    "regimes",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("catalog_version", String(64), nullable=False),
    Column("policy_version", String(64), nullable=False),
    Column("policy", Text, nullable=False),
    Column("models", LargeBinary, nullable=False),  # the whole catalogue, compressed
)
Index(None, regimes.c.catalog_version, regimes.c.policy_version)

RECORDS = (decisions, attempts, outcomes, cost_changes, feedback)
LOG = (*RECORDS, arrivals, regimes)
PARTITIONED = RECORDS
"""On PostgreSQL, by ``seq``; there the log's lock keeps ids and keys unique, and the partitions have plain indexes."""

server = MetaData()
"""What only a database server needs."""
log_head = Table(
    "log_head",
    server,
    Column("seq", BigInteger, nullable=False),  # the last committed position; whoever commits locks the one row
    Column("oldest", BigInteger, nullable=False),  # the first position that retention has left
    Column("partitioned_to", BigInteger, nullable=False),  # the position before which there are partitions
)

models = Table(
    "models",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("model_id", String(200), nullable=False),
    Column("at", Double, nullable=False),
    Column("facts", Text, nullable=False),
)
Index(None, models.c.model_id, models.c.id)

snapshots = Table(
    "snapshots",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("seq", Counter, nullable=False),
    Column("features_schema", Integer, nullable=False),
    Column("digest", String(128), nullable=False),
    Column("state", LargeBinary, nullable=False),
    Column("at", Double, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("scopes", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("revoked_at", Double),
    Column("rate_count", Integer),
    Column("rate_period_s", Integer),
    Column("budget_usd", Double),
    Column("budget_period", String(16)),
)

key_spend = Table(
    "key_spend",
    metadata,
    Column("key_id", String(64), ForeignKey(api_keys.c.id), primary_key=True),
    Column("start", Counter, primary_key=True, autoincrement=False),  # Unix time of the period's first second
    Column("drawn_nano_usd", BigInteger, nullable=False),  # spent, or held by a service that may spend it
)

allowances = Table(
    "allowances",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("start", Counter, primary_key=True, autoincrement=False),  # Unix time of the period's first second
    Column("drawn_nano", BigInteger, nullable=False),  # billionths used, or held by a service that may use them
)

overrides = Table(
    "overrides",
    metadata,
    Column("id", Counter, primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(200), nullable=False),
    Column("value", Text),  # JSON; NULL: lifted
    Column("at", Double, nullable=False),
    Column("key_id", String(64)),
)
"""What operators set while services run: rows are only added, and the last one of a kind and name holds."""

set_aside = Table(
    "set_aside",
    metadata,
    Column("seq", Counter, primary_key=True, autoincrement=False),
    Column("decision_seq", Counter, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("error", String(64), nullable=False),
    Column("at", Double, nullable=False),
)

tallies = Table(
    "tallies",
    metadata,
    Column("span_s", Integer, primary_key=True, autoincrement=False),
    Column("start", Counter, primary_key=True, autoincrement=False),
    Column("task_type", String(200), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("decisions", BigInteger, nullable=False),
    Column("fallbacks", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    Column("failed", BigInteger, nullable=False),
    Column("cost_usd", Double, nullable=False),
    Column("costed", BigInteger, nullable=False),
    Column("latency_s", Double, nullable=False),
    Column("timed", BigInteger, nullable=False),
    Column("score", Double, nullable=False),
    Column("weight", Double, nullable=False),
    sqlite_with_rowid=False,  # kept in the order in which they are read
)

judge_tallies = Table(
    "judge_tallies",
    metadata,
    Column("judge", String(200), primary_key=True),
    Column("metric", String(200), primary_key=True),
    Column("model", String(200), primary_key=True),
    Column("scores", BigInteger, nullable=False),
    Column("total", Double, nullable=False),
    Column("squares", Double, nullable=False),
)

tallied = Table(
    "tallied",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),  # one row
    Column("seq", Counter, nullable=False),  # the log position up to which the tallies count
)

battery_runs = Table(
    "battery_runs",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("baseline", String(200), nullable=False),
    Column("started_at", Double, nullable=False),
    Column("status", String(16), nullable=False),
    Column("ended_at", Double),
    Column("judge_usd", Double, nullable=False),
)

battery_cells = Table(
    "battery_cells",
    metadata,
    Column("run_id", String(64), ForeignKey(battery_runs.c.id), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("task_type", String(200), nullable=False),
    Column("model", String(200), nullable=False),
    Column("calls", Integer, nullable=False),
    Column("agents", Integer, nullable=False),
    Column("skipped", Text),
)
