"""Records that the fold leaves out, since they can never be folded."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "set_aside",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("decision_seq", COUNTER, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("error", sa.String(64), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_set_aside"),
    )


def downgrade() -> None:
    op.drop_table("set_aside")
