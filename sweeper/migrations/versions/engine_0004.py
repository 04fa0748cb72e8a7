"""The function that deletes old rows of the ledger, as its owner: no other login may delete any."""

from alembic import op

revision = "engine_0004"
down_revision = "engine_0003"

SIGNATURE = "sweeper.prune(text, timestamptz, integer)"
PRUNE = """
    create function sweeper.prune(ledger text, before timestamptz, most integer) returns bigint
    language plpgsql strict security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        kept constant timestamptz := least(before, now() - interval '1 day');
        deleted bigint;
    begin
        case ledger
            when 'sweep' then
                delete from sweeper.sweep where (id, rule) in (
                    select id, rule from sweeper.sweep where at < kept limit most
                );
            when 'job_log' then
                delete from sweeper.job_log where id in (
                    select id from sweeper.job_log where at < kept limit most
                );
        end case;
        get diagnostics deleted = row_count;
        return deleted;
    end
    $$
"""


def upgrade() -> None:
    """Create the function; only who is granted it may call it."""
    op.execute(PRUNE)
    op.execute(f"revoke all on function {SIGNATURE} from public")


def downgrade() -> None:
    """Drop the function."""
    op.execute(f"drop function {SIGNATURE}")
