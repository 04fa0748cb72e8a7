"""Hidden messages: they become visible later than any of ours, so nobody must wait for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Interval,
    Select,
    Table,
    func,
    literal,
    select,
    union_all,
)

from sweeper.queue.pgmq import Queues

_LONGEST_WAIT = timedelta(days=1)  # that a provider may ask for, on top of our own delays
_NAMED = 20

MOST_HIDDEN = 1_000
"""The most messages of a queue that are counted; so many stands for as many or more."""


@dataclass(frozen=True, slots=True)
class Hidden:
    """How many live messages are hidden, and the first ids of each queue that has any.

    count -- at most MOST_HIDDEN of each queue are counted
    """

    count: int = 0
    messages: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The messages as texts: queue and id."""
        return [f"{queue} {one}" for queue, ids in self.messages.items() for one in ids]


def is_hidden(table: Table, horizon: timedelta) -> ColumnElement[bool]:
    """Return whether a message becomes visible later than *horizon* from now."""
    # As in `inspect`, now() can use the index on vt, unlike clock_timestamp().
    return table.c.vt > func.now() + literal(horizon, Interval)


def hidden(tx: Connection, queues: Queues) -> Hidden:
    """Return the live messages that become visible later than any of ours."""
    return hidden_of([tuple(row) for row in tx.execute(select_hidden(queues))])


def select_hidden(queues: Queues) -> CompoundSelect[Any]:
    """Return the statement whose rows `hidden_of` reads."""
    return union_all(*(_hidden_in(queues, *pair) for pair in queues.live_tables))


def hidden_of(rows: Sequence[tuple[Any, ...]]) -> Hidden:
    """Return the hidden messages from the rows of `select_hidden`."""
    return Hidden(
        sum(total for _, total, _ in rows), {queue: list(ids) for queue, _, ids in rows if ids}
    )


def _hidden_in(queues: Queues, queue: str, table: Table) -> Select[Any]:
    """Select how many messages of *queue* are hidden, and the first ids.

    An outbound message may wait for as long as its provider asked.
    """
    wait = _LONGEST_WAIT if queue == queues.outbound else timedelta()
    # In the order of the index on vt, so that nothing else of the queue is read.
    far = (
        select(table.c.msg_id)
        .where(is_hidden(table, queues.horizon + wait))
        .order_by(table.c.vt.desc())
        .limit(MOST_HIDDEN)
        .cte(f"far_in_{queue}")
    )
    first = select(far.c.msg_id).order_by(far.c.msg_id).limit(_NAMED)
    return select(
        literal(queue).label("queue"),
        func.count().label("total"),
        func.array(first.scalar_subquery()).label("ids"),
    ).select_from(far)
