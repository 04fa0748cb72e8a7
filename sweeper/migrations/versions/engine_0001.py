"""The books: sweeps and the history of jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP, UUID

revision = "engine_0001"
down_revision = None
branch_labels = ("engine",)

AWARE = TIMESTAMP(timezone=True)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sweep",
        sa.Column("id", UUID(as_uuid=False), primary_key=True),
        sa.Column("rule", sa.Text, primary_key=True),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("trigger", sa.Text, nullable=False),
        sa.Column("actor", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("at", AWARE, nullable=False),
        sa.Column("cutoff", AWARE, nullable=False),
        sa.Column("found", sa.Integer, nullable=False),
        sa.Column("enqueued", sa.Integer, nullable=False),
        sa.Column("already_queued", sa.Integer, nullable=False),
        sa.Column("dead", sa.Integer, nullable=False),
        sa.Column("braked", sa.Integer, nullable=False),
        sa.Column("anomalies", sa.Integer, nullable=False),
        sa.Column("ok", sa.Boolean, nullable=False),
        sa.Column("keys", sa.ARRAY(sa.Text), nullable=False),
        schema="sweeper",
    )
    op.create_index("sweep_rule_at", "sweep", ["rule", "at"], schema="sweeper")
    op.create_table(
        "job_log",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("job_type", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.Column("msg_id", sa.BigInteger, nullable=False),
        sa.Column("sweep_id", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at", AWARE, nullable=False),
        schema="sweeper",
    )
    op.create_index("job_log_key", "job_log", ["key"], schema="sweeper")
    op.create_index("job_log_at", "job_log", ["at"], schema="sweeper")


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("job_log", schema="sweeper")
    op.drop_table("sweep", schema="sweeper")
