"""Indexes on refunds: those that are due, all by their time, and by the order's code."""

from alembic import op

revision = "jobs_0002"
down_revision = "jobs_0001"


def upgrade() -> None:
    """Create the indexes; rejections wait meanwhile, for about a second for a million refunds."""
    op.execute(
        "create index refund_due on sweeper.refund (at, order_id) include (amount)"
        " where state = 'due'"
    )
    op.create_index("refund_at", "refund", ["at", "order_id"], schema="sweeper")
    op.create_index("refund_order_code", "refund", ["order_code"], schema="sweeper")


def downgrade() -> None:
    """Drop the indexes."""
    for name in ("refund_due", "refund_at", "refund_order_code"):
        op.drop_index(name, "refund", schema="sweeper")
