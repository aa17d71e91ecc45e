"""What decisions were taken by: the catalogue and the policy's settings, as part of the log."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "regimes",
        sa.Column("seq", COUNTER, autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("catalog_version", sa.String(64), nullable=False),
        sa.Column("policy_version", sa.String(64), nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("models", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_regimes"),
    )
    op.create_index("ix_regimes_catalog_version_policy_version", "regimes", ["catalog_version", "policy_version"])


def downgrade() -> None:
    op.drop_table("regimes")
