"""The locks: rows that only the service's login may lock; advisory ones are everybody's."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import TIMESTAMP

revision = "engine_0003"
down_revision = "engine_0002"


def upgrade() -> None:
    """Create the table; whoever needs a lock adds its row."""
    op.create_table(
        "lock",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("taken_at", TIMESTAMP(timezone=True), nullable=False),
        schema="sweeper",
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("lock", schema="sweeper")
