"""Pruning reads no more than it deletes: the oldest rows, by the index on their time."""

from alembic import op

revision = "engine_0006"
down_revision = "engine_0005"

# Without an order, the server may read the table from its start, past all that was deleted there.
# Rows of the ledger are never updated, so they stay where the inner query has found them.
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
        end case;
        get diagnostics deleted = row_count;
        return deleted;
    end
    $$
"""


def upgrade() -> None:
    """Replace the function; who may call it stays as it is."""
    op.execute(PRUNE)


def downgrade() -> None:
    """Leave the function: the version before calls it in the same way."""
