"""The log (decisions, attempts, outcomes, feedback), the catalogue's changes, the snapshots."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def log_table(name: str, *columns: sa.Column, references: tuple[str, ...] = (), unique: tuple[tuple[str, ...], ...] = ()) -> None:
    """A table of the log. On PostgreSQL it is partitioned by ``seq``; what is unique is kept so by the log's lock, and only indexed."""
    key = sa.PrimaryKeyConstraint("seq", name=f"pk_{name}")
    if op.get_context().dialect.name == "postgresql":
        op.create_table(name, *columns, key, postgresql_partition_by="RANGE (seq)")
        for index in dict.fromkeys([*references, *(parts[0] for parts in unique)]):
            some = sa.text("idempotency_key IS NOT NULL") if index == "idempotency_key" else None
            op.create_index(f"ix_{name}_{index}", name, [index], postgresql_where=some)
        return
    foreign = [sa.ForeignKeyConstraint([own], ["decisions.seq"], name=f"fk_{name}_{own}") for own in references]
    single = [sa.UniqueConstraint(*parts, name=f"uq_{name}_{'_'.join(parts)}") for parts in unique]
    op.create_table(name, *columns, key, *foreign, *single)


def upgrade() -> None:
    log_table(
        "decisions",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("task_type", sa.String(200), nullable=False),
        sa.Column("features_schema", sa.Integer(), nullable=False),
        sa.Column("features", sa.LargeBinary(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("eligible", sa.Text(), nullable=False),
        sa.Column("propensities_q24", sa.Text(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("propensity_q24", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("policy", sa.String(100), nullable=False),
        sa.Column("policy_version", sa.String(64), nullable=False),
        sa.Column("policy_seq", COUNTER, nullable=False),
        sa.Column("catalog_version", sa.String(64), nullable=False),
        sa.Column("fallback", sa.Boolean(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("episode_id", sa.String(200)),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("excluded", sa.Text(), nullable=False),
        sa.Column("expected", sa.Text()),
        unique=(("id",),),
    )
    op.create_index("ix_decisions_task_type_seq", "decisions", ["task_type", "seq"])
    op.create_index("ix_decisions_model_seq", "decisions", ["model", "seq"])
    in_episode = sa.text("episode_id IS NOT NULL")
    op.create_index(
        "ix_decisions_episode_id_seq", "decisions", ["episode_id", "seq"], sqlite_where=in_episode, postgresql_where=in_episode
    )
    log_table(
        "attempts",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("decision_seq", COUNTER, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("last", sa.Boolean(), nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("http_status", sa.Integer()),
        sa.Column("latency_s", sa.Double()),
        sa.Column("ttft_s", sa.Double()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("cached_input_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("request_id", sa.String(128)),
        references=("decision_seq",),
        unique=(("decision_seq", "number"),),
    )
    log_table(
        "outcomes",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("decision_seq", COUNTER, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("model", sa.String(200)),
        sa.Column("latency_s", sa.Double()),
        sa.Column("ttft_s", sa.Double()),
        sa.Column("input_tokens", sa.BigInteger()),
        sa.Column("output_tokens", sa.BigInteger()),
        sa.Column("cost_usd", sa.Double()),
        sa.Column("cost_source", sa.String(16)),
        sa.Column("cached_input_tokens", sa.BigInteger()),
        sa.Column("cache_write_tokens", sa.BigInteger()),
        sa.Column("reasoning_tokens", sa.BigInteger()),
        sa.Column("images", sa.BigInteger()),
        sa.Column("hardware_s", sa.Double()),
        references=("decision_seq",),
        unique=(("decision_seq",),),
    )
    log_table(
        "cost_changes",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("decision_seq", COUNTER, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("before_usd", sa.Double()),
        sa.Column("cost_usd", sa.Double()),
        references=("decision_seq",),
        unique=(("decision_seq", "revision"),),
    )
    log_table(
        "feedback",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("feedback_id", sa.String(64), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("decision_seq", COUNTER, nullable=False),
        sa.Column("judge", sa.String(200), nullable=False),
        sa.Column("metric", sa.String(200), nullable=False),
        sa.Column("score", sa.Double()),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("before_score", sa.Double()),
        sa.Column("before_weight", sa.Double()),
        sa.Column("others", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.String(300)),
        sa.Column("comment", sa.Text()),
        sa.Column("source", sa.String(64), nullable=False),
        references=("decision_seq",),
        unique=(("feedback_id", "revision"), ("decision_seq", "judge", "metric", "revision"), ("idempotency_key", "source"),),
    )
    if op.get_context().dialect.name == "postgresql":
        op.create_table(
            "log_head",
            sa.Column("seq", sa.BigInteger(), nullable=False),
            sa.Column("oldest", sa.BigInteger(), nullable=False),
            sa.Column("partitioned_to", sa.BigInteger(), nullable=False),
        )
        op.execute("INSERT INTO log_head VALUES (0, 1, 1)")
    op.create_table(
        "models",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_model_id_id", "models", ["model_id", "id"])
    op.create_table(
        "snapshots",
        sa.Column("id", COUNTER, nullable=False),
        sa.Column("seq", COUNTER, nullable=False),
        sa.Column("features_schema", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(128), nullable=False),
        sa.Column("state", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_snapshots"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double()),
        sa.Column("revoked_at", sa.Double()),
        sa.Column("rate_count", sa.Integer()),
        sa.Column("rate_period_s", sa.Integer()),
        sa.Column("budget_usd", sa.Double()),
        sa.Column("budget_period", sa.String(16)),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("digest", name="uq_api_keys_digest"),
    )
    op.create_table(
        "key_spend",
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("start", COUNTER, autoincrement=False, nullable=False),
        sa.Column("drawn_nano_usd", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "start", name="pk_key_spend"),
        sa.ForeignKeyConstraint(["key_id"], ["api_keys.id"], name="fk_key_spend_key_id"),
    )


def downgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_table("log_head")
    for table in ("key_spend", "api_keys", "snapshots", "models", "feedback", "cost_changes", "outcomes", "attempts", "decisions"):
        op.drop_table(table)
