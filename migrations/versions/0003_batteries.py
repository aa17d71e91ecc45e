"""Runs of test batteries and their cells."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "battery_runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("baseline", sa.String(200), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("ended_at", sa.Double()),
        sa.Column("judge_usd", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_battery_runs"),
    )
    op.create_table(
        "battery_cells",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("task_type", sa.String(200), nullable=False),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("agents", sa.Integer(), nullable=False),
        sa.Column("skipped", sa.Text()),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_battery_cells"),
        sa.ForeignKeyConstraint(["run_id"], ["battery_runs.id"], name="fk_battery_cells_run_id"),
    )


def downgrade() -> None:
    for table in ("battery_cells", "battery_runs"):
        op.drop_table(table)
