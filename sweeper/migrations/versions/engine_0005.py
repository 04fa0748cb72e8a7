"""What keeps reading cheap at depth: a message's key for an index, and the sweeps by their time."""

from alembic import op

revision = "engine_0005"
down_revision = "engine_0004"

SIGNATURE = "sweeper.message_key(jsonb, text, text[])"
# An index calls it for whatever anybody sends, so it fails for nothing, and as its owner, because
# the sender may not use our schema.
MESSAGE_KEY = """
    create function sweeper.message_key(message jsonb, many text, variadic names text[])
    returns text language plpgsql immutable security definer set search_path = pg_catalog, pg_temp
    as $$
    declare
        body constant jsonb := case when jsonb_typeof(message) = 'string'
            then sweeper.open_string(message) else message end;
        held constant jsonb := jsonb_extract_path(body, 'payload');
        payload constant jsonb := case when jsonb_typeof(held) = 'string'
            then sweeper.open_string(held) else held end;
        name text;
    begin
        if jsonb_typeof(jsonb_extract_path(payload, many)) = 'array' then
            return '*';
        end if;
        foreach name in array names loop
            if payload ->> name is not null then
                return payload ->> name;
            end if;
        end loop;
        return null;
    end
    $$
"""


def upgrade() -> None:
    """Create the function, which every sender's login calls, and the index."""
    op.execute(MESSAGE_KEY)
    op.execute(f"grant execute on function {SIGNATURE} to public")
    op.create_index("sweep_at", "sweep", ["at"], schema="sweeper")


def downgrade() -> None:
    """Drop both."""
    op.drop_index("sweep_at", "sweep", schema="sweeper")
    op.execute(f"drop function {SIGNATURE}")
