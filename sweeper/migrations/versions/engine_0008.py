"""The marks of reads: one row for each reader, by which a read whose answer was lost is found."""

from alembic import op

revision = "engine_0008"
down_revision = "engine_0007"

# Each read writes its mark: a login that works jobs already goes on without a grant by hand.
GRANT = """
    do $$
    declare worker regrole;
    begin
        for worker in
            select grantee from pg_class, aclexplode(relacl)
             where pg_class.oid = 'sweeper.job_log'::regclass
               and privilege_type = 'INSERT' and grantee <> 0
        loop
            execute 'grant select, insert, update, delete on sweeper.read_mark to ' || worker;
        end loop;
    end
    $$
"""


def upgrade() -> None:
    """Create the table, and let each login use it that may write the ledger."""
    op.execute("""
        create table sweeper.read_mark (
            reader uuid primary key,
            number bigint not null,
            xid xid8 not null,
            queue text not null,
            first_vt timestamptz not null,
            last_vt timestamptz not null
        )
    """)
    op.execute(GRANT)


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("read_mark", schema="sweeper")
