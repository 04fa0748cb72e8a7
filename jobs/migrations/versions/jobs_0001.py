"""Add the tables stock_release (stock given back) and refund (money owed)."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "jobs_0001"
down_revision = None
branch_labels = ("jobs",)

AWARE = TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "stock_release",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("product_id", sa.Text, primary_key=True),
        sa.Column("quantity", sa.Integer, nullable=False),
        sa.Column("at", AWARE, nullable=False),
        schema="sweeper",
    )
    op.create_table(
        "refund",
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("order_code", sa.Text),
        sa.Column("amount", sa.Integer, nullable=False),
        sa.Column("buyer_name", sa.Text),
        sa.Column("buyer_phone", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("at", AWARE, nullable=False),
        sa.Column("settled_at", AWARE),
        sa.Column("reference", sa.Text),
        schema="sweeper",
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("refund", schema="sweeper")
    op.drop_table("stock_release", schema="sweeper")
