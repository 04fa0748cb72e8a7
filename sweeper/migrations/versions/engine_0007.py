"""The pauses that operators set: one row for each rule or queue that stands still."""

import sqlalchemy as sa
from alembic import op

revision = "engine_0007"
down_revision = "engine_0006"


def upgrade() -> None:
    """Create the table; every scan and read asks it, so each login that has the schema may."""
    time = sa.TIMESTAMP(timezone=True)
    op.create_table(
        "pause",
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("since", time, nullable=False),
        sa.Column("ends_at", time),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        schema="sweeper",
    )
    op.execute("grant select on sweeper.pause to public")


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("pause", schema="sweeper")
