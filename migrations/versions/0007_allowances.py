"""What was drawn of a day's allowances, such as that for exploring."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "allowances",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("start", COUNTER, autoincrement=False, nullable=False),
        sa.Column("drawn_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", "start", name="pk_allowances"),
    )


def downgrade() -> None:
    op.drop_table("allowances")
