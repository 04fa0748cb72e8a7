"""A look at the queues: which have a visible message, and when the next one becomes visible."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, func, literal, select, text, union_all

from sweeper.queue.pause import is_paused
from sweeper.queue.pgmq import Queues

_AHEAD = text("interval '1 hour'")  # a sender may have set a time that no subtraction takes


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the live queues found.

    ready   -- the names of the queues that have a visible message, and are not paused
    next_in -- until the next message becomes visible; None if none does within an hour
    """

    ready: frozenset[str]
    next_in: timedelta | None


def look(connection: Connection, queues: Queues) -> Look:
    """Look at the live queues with one query, and claim nothing."""
    query = union_all(*(_look_at(*pair) for pair in queues.live_tables))
    rows = connection.execute(query).all()
    times = [row.next_in for row in rows if row.next_in is not None]
    ready = frozenset(row.queue for row in rows if row.ready)
    return Look(ready, max(min(times), timedelta()) if times else None)


def _look_at(queue: str, table: Table) -> Select[Any]:
    # now() can use the index on vt, unlike clock_timestamp().
    now, vt = func.now(), table.c.vt
    visible = and_(select(table.c.msg_id).where(vt <= now).exists(), ~is_paused(queue))
    coming = select(func.min(vt)).where(vt > now, vt < now + _AHEAD).scalar_subquery()
    return select(
        literal(queue).label("queue"), visible.label("ready"), (coming - now).label("next_in")
    )
