"""When each model became known, as a fact of the log."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "arrivals",
        sa.Column("model_id", sa.String(200), nullable=False),
        sa.Column("seq", COUNTER, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("model_id", name="pk_arrivals"),
    )
    op.create_index("ix_arrivals_seq", "arrivals", ["seq"])


def downgrade() -> None:
    op.drop_table("arrivals")
