"""The history: a row for each minute and each hour, of which pictures are drawn."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "engine_0009"
down_revision = "engine_0008"

# A service that is upgraded goes on drawing without a grant by hand.
GRANT = """
    do $$
    declare worker regrole;
    begin
        for worker in
            select grantee from pg_class, aclexplode(relacl)
             where pg_class.oid = 'sweeper.job_log'::regclass
               and privilege_type = 'INSERT' and grantee <> 0
        loop
            execute 'grant select, insert, update, delete on sweeper.history to ' || worker;
        end loop;
    end
    $$
"""


def upgrade() -> None:
    """Create the table; its first rows are made of the ledger, by the service."""
    op.create_table(
        "history",
        sa.Column("seconds", sa.Integer, primary_key=True),
        sa.Column("at", sa.TIMESTAMP(timezone=True), primary_key=True),
        sa.Column("found", sa.BigInteger),
        sa.Column("enqueued", sa.BigInteger),
        sa.Column("done", sa.BigInteger),
        sa.Column("deaths", sa.BigInteger),
        sa.Column("retries", sa.BigInteger),
        sa.Column("outbound", sa.BigInteger),
        sa.Column("waits", JSONB),
        sa.Column("overdue", sa.BigInteger),
        sa.Column("oldest_overdue_seconds", sa.Double),
        sa.Column("waiting", sa.BigInteger),
        sa.Column("dead", sa.BigInteger),
        sa.Column("figures", JSONB),
        schema="sweeper",
    )
    op.execute(GRANT)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("history", schema="sweeper")
