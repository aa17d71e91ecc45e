"""What judging cost and with which probability an answer was drawn to be judged, with the score."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("feedback", sa.Column("cost_usd", sa.Double(), nullable=True))
    op.add_column("feedback", sa.Column("sampling", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("feedback", "sampling")
    op.drop_column("feedback", "cost_usd")
