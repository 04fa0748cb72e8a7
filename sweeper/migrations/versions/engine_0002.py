"""The function that opens a JSON string which holds JSON, for bodies that senders encoded twice."""

from alembic import op

revision = "engine_0002"
down_revision = "engine_0001"

OPEN_STRING = """
    create function sweeper.open_string(value jsonb) returns jsonb
    language plpgsql immutable strict set search_path = pg_catalog, pg_temp
    as $$
    begin
        return cast(value #>> '{}' as jsonb);
    exception when others then
        return value;
    end
    $$
"""


def upgrade() -> None:
    """Create the function; it reads no table, so every login may call it."""
    op.execute(OPEN_STRING)
    op.execute("grant execute on function sweeper.open_string(jsonb) to public")


def downgrade() -> None:
    """Drop the function."""
    op.execute("drop function sweeper.open_string(jsonb)")
