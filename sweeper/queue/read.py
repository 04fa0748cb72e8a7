"""The statement that reads messages under a lease, of the first queue that has any."""

from functools import cache

from sqlalchemy import TextClause, text

_READ = (
    "with {reads} select queue, msg_id, read_ct, enqueued_at,"
    " case when size <= :body and before < :bytes then raw end as raw,"
    " clock_timestamp() as read_at, size, before < :bytes as fits from ("
    "   select *, sum(least(size, :body)) over (order by msg_id) - least(size, :body) as before"
    "   from (select *, coalesce(octet_length(raw), 0) as size from ({found}) as message) as sized"
    " ) as placed order by msg_id"
)
_READ_FIRST = (
    "q{n} as materialized (select cast(:queue{n} as text) as queue, msg_id, read_ct,"
    # A sender may have set it to a time that Python cannot hold.
    " least(greatest(enqueued_at, to_timestamp(0)), clock_timestamp()) as enqueued_at,"
    " cast(message as text) as raw"
    " from pgmq.read(cast(:queue{n} as text), cast(:lease as integer), cast(:quantity as integer),"
    " cast(:which as jsonb)) where {condition})"
)

EVERYTHING = "everything"
"""The target of a pause that holds for every rule and queue."""

IN_FORCE = "(ends_at is null or ends_at > now())"
"""The condition that a row of sweeper.pause is in force."""

_NOT_PAUSED = (
    "not exists (select from sweeper.pause"
    f" where target in (cast(:queue{{n}} as text), '{EVERYTHING}') and {IN_FORCE})"
)


@cache
def reading(queues: int, *, pausing: bool) -> TextClause:
    """Return the statement that reads the first of so many *queues* that has any message.

    pausing -- whether nothing is read from a queue while it is paused
    """
    condition = _NOT_PAUSED if pausing else "true"
    reads, earlier = [], list[str]()
    for n in range(queues):
        conditions = " and ".join((condition.format(n=n), *earlier))
        reads.append(_READ_FIRST.format(n=n, condition=conditions))
        earlier.append(f"not exists (select from q{n})")
    found = " union all ".join(f"table q{n}" for n in range(queues))
    return text(_READ.format(reads=", ".join(reads), found=found))
