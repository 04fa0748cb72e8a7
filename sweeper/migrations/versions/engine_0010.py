"""The acts: what people did by hand; rows are added, never changed, and pruned like the ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import ARRAY

revision = "engine_0010"
down_revision = "engine_0009"

# Who works jobs already acts and explains without a grant by hand.
GRANT = """
    do $$
    declare worker regrole;
    begin
        for worker in
            select grantee from pg_class, aclexplode(relacl)
             where pg_class.oid = 'sweeper.job_log'::regclass
               and privilege_type = 'INSERT' and grantee <> 0
        loop
            execute 'grant select, insert (begun, action, subject, actor, origin, host, reason,'
                ' outcome, detail, duration_ms, keys) on sweeper.act to ' || worker;
        end loop;
    end
    $$
"""

PRUNE = """
    create or replace function sweeper.prune(ledger text, before timestamptz, most integer)
    returns bigint
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        kept constant timestamptz := least(before, now() - interval '1 day');
        deleted bigint;
    begin
        case ledger
            when 'sweep' then
                delete from sweeper.sweep where ctid = any(array(
                    select ctid from sweeper.sweep where at < kept order by at limit most
                ));
            when 'job_log' then
                delete from sweeper.job_log where ctid = any(array(
                    select ctid from sweeper.job_log where at < kept order by at limit most
                ));
            when 'act' then
                delete from sweeper.act where ctid = any(array(
                    select ctid from sweeper.act where at < kept order by at limit most
                ));
        end case;
        get diagnostics deleted = row_count;
        return deleted;
    end
    $$
"""


def upgrade() -> None:
    """Create the table with what finds its rows, and let the pruner delete old ones."""
    time = sa.TIMESTAMP(timezone=True)
    op.create_table(
        "act",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("begun", sa.BigInteger),
        sa.Column("at", time, nullable=False, server_default=sa.text("now()")),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("detail", sa.Text),
        sa.Column("duration_ms", sa.Integer),
        sa.Column("keys", ARRAY(sa.Text)),
        schema="sweeper",
    )
    op.create_index("act_at", "act", ["at"], schema="sweeper")
    op.create_index(
        "act_end",
        "act",
        ["begun"],
        unique=True,
        schema="sweeper",
        postgresql_where=sa.text("begun is not null and outcome <> 'part'"),
    )
    op.create_index(
        "act_keys",
        "act",
        ["keys"],
        schema="sweeper",
        postgresql_using="gin",
        postgresql_where=sa.text("keys is not null"),
    )
    op.execute(PRUNE)
    op.execute(GRANT)


def downgrade() -> None:
    """Drop the table; the function stays, for it is called in the same way without it."""
    op.drop_table("act", schema="sweeper")
