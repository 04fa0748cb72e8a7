"""The statement that reads messages under a lease, of the first queue that has any; its mark."""

from dataclasses import dataclass, field
from functools import cache
from uuid import UUID, uuid4

from sqlalchemy import TextClause, text

_READ = (
    "with {reads}{mark} select queue, msg_id, read_ct, enqueued_at,"
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
    " cast(message as text) as raw, vt"
    " from pgmq.read(cast(:queue{n} as text), cast(:lease as integer), cast(:quantity as integer),"
    " cast(:which as jsonb)) where {condition})"
)
_MARK = (
    ", mark as (insert into sweeper.read_mark as mark"
    " (reader, number, xid, queue, first_vt, last_vt)"
    " select cast(:reader as uuid), cast(:number as bigint), pg_current_xact_id(), queue,"
    " min(vt), max(vt) from ({found}) as message group by queue"
    " on conflict (reader) do update set queue = excluded.queue,"
    " first_vt = excluded.first_vt, last_vt = excluded.last_vt, number = excluded.number,"
    # A read that was given up before it arrived fails, because the column must not be null.
    " xid = case when mark.number < excluded.number then excluded.xid end)"
)

EVERYTHING = "everything"
"""The target of a pause that holds for every rule and queue."""

IN_FORCE = "(ends_at is null or ends_at > now())"
"""The condition that a row of sweeper.pause is in force."""

_NOT_PAUSED = (
    "not exists (select from sweeper.pause"
    f" where target in (cast(:queue{{n}} as text), '{EVERYTHING}') and {IN_FORCE})"
)


@dataclass(slots=True)
class ReadMark:
    """What a reader writes with each read that takes messages; one read at a time may use it.

    reader -- its row of sweeper.read_mark
    number -- of its latest read
    """

    reader: UUID = field(default_factory=uuid4)
    number: int = 0


@cache
def reading(queues: int, *, pausing: bool, marked: bool) -> TextClause:
    """Return the statement that reads the first of so many *queues* that has any message.

    pausing -- whether nothing is read from a queue while it is paused
    marked  -- whether the reader's mark is written where any message is read
    """
    condition = _NOT_PAUSED if pausing else "true"
    reads, earlier = [], list[str]()
    for n in range(queues):
        conditions = " and ".join((condition.format(n=n), *earlier))
        reads.append(_READ_FIRST.format(n=n, condition=conditions))
        earlier.append(f"not exists (select from q{n})")
    found = " union all ".join(f"table q{n}" for n in range(queues))
    mark = _MARK.format(found=found) if marked else ""
    return text(_READ.format(reads=", ".join(reads), mark=mark, found=found))
