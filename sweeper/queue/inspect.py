"""Queries on the queues: their depths, and where the jobs of keys are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    CompoundSelect,
    Connection,
    Select,
    Table,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    true,
    union_all,
)

from sweeper.job import JobType
from sweeper.queue.body import body_of, finite, key_of, number_in, opened, sent_at, shown
from sweeper.queue.enqueue import json_object
from sweeper.queue.hidden import is_hidden
from sweeper.queue.key_index import SEVERAL, live_key
from sweeper.queue.pgmq import Queues


@dataclass(frozen=True, slots=True)
class Depth:
    """The numbers of messages in one queue, and its oldest ready message.

    in_flight            -- messages that are invisible because a worker has read them
    delayed              -- messages that are invisible and have never been read
    oldest_ready_seconds -- the age of the ready message that was enqueued first; 0 without one
    """

    ready: int
    in_flight: int
    delayed: int
    oldest_ready_seconds: float
    oldest_ready: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class JobPosition:
    """Where the job of one key is: in a live queue, or, with a reason, a dead letter.

    hidden -- whether it becomes visible so late that it does not count as waiting
    """

    key: str
    msg_id: int
    read_ct: int
    visible_at: datetime
    reason: str | None
    hidden: bool


def sent_by_sweeps(
    queues: Queues,
    jobs: Sequence[JobType[Any]],
    *,
    sweeps: Select[Any] | None = None,
    newest: int | None = None,
) -> Select[Any]:
    """Return a statement that counts live messages by `sweep_id`, `type` and `key`.

    sweeps -- only messages that name one of these
    newest -- only so many of each queue
    """
    queries = []
    for _, table in queues.live_tables:
        rows = select(table)
        if sweeps is not None:
            # Not a join, which might be a nested loop: the server hashes what the query finds.
            rows = rows.where(body_of(table)["sweepId"].astext.in_(sweeps).is_(true()))
        if newest is not None:
            rows = rows.order_by(table.c.msg_id.desc()).limit(newest)
        some = rows.subquery(f"some_of_{table.name}")
        body = opened(some.c.message)
        kind = body["type"].astext
        keys = [(kind == job.name, key_of(job, body)) for job in jobs]
        queries.append(
            select(
                body["sweepId"].astext.label("sweep_id"),
                kind.label("type"),
                case(*keys).label("key"),
            ).where(body.has_key("sweepId"))
        )
    live = union_all(*queries).subquery("messages")
    return select(*live.c, func.count().label("messages")).group_by(*live.c)


def has_more(tx: Connection, queues: Queues, newest: int) -> bool:
    """Return whether a live queue has more messages than *newest*."""
    further = (
        select(select(table.c.msg_id).order_by(table.c.msg_id).offset(newest).limit(1).subquery())
        for _, table in queues.live_tables
    )
    return tx.execute(union_all(*further)).first() is not None


def positions(
    tx: Connection, queues: Queues, job: JobType[Any], keys: Sequence[str]
) -> dict[str, JobPosition]:
    """Return where the jobs of *keys* are, by key.

    A live message wins over a dead letter, and that over a hidden message.
    """
    wanted = func.any(cast(list(keys), ARRAY(Text)))
    indexed = any_(cast([*keys, SEVERAL], ARRAY(Text)))
    queries = []
    for queue, table in queues.tables.items():
        body, dead = body_of(table), queue == queues.dead
        key = body["key"].astext if dead else key_of(job, body)
        queries.append(
            select(
                key,
                table.c.msg_id,
                table.c.read_ct,
                finite(table.c.vt),
                func.coalesce(body["reason"].astext, "invalid") if dead else null(),
                literal(value=False) if dead else is_hidden(table, queues.horizon),
            ).where(
                body["type"].astext == job.name,
                key == wanted,
                # What follows from the key, by the index where it exists.
                *([] if dead else [live_key(job, table) == indexed]),
            )
        )
    rows = [JobPosition(*row) for row in tx.execute(union_all(*queries))]
    by_rank = sorted(rows, key=lambda row: (not row.hidden, row.reason is None))
    return {row.key: row for row in by_rank}


def depths(tx: Connection, queues: Queues) -> dict[str, Depth]:
    """Return the depth of each live queue, by its name."""
    return depths_of([tuple(row) for row in tx.execute(select_depths(queues))])


def select_depths(queues: Queues) -> CompoundSelect[Any]:
    """Return the statement whose rows `depths_of` reads."""
    return union_all(*(_depth(*pair) for pair in queues.live_tables))


def depths_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, Depth]:
    """Return the depth of each live queue from the rows of `select_depths`."""
    return {
        queue: Depth(ready, in_flight, delayed, round(float(seconds), 3), oldest)
        for queue, ready, in_flight, delayed, seconds, oldest in rows
    }


def dead_depth(tx: Connection, queues: Queues) -> tuple[int, float]:
    """Return the number of dead letters, and the age of the oldest in seconds."""
    count, seconds = tx.execute(select_dead_depth(queues)).one()
    return count, round(float(seconds), 3)


def select_dead_depth(queues: Queues) -> Select[int, int]:
    """Select the number of dead letters, and the age of the oldest in seconds."""
    table = queues.tables[queues.dead]
    age = func.extract("epoch", func.clock_timestamp() - func.min(sent_at(table)))
    return select(func.count(), func.coalesce(age, 0)).select_from(table)


def _depth(queue: str, table: Table) -> Select[Any]:
    now = func.now()  # unlike clock_timestamp(), it can use an index
    ready, read = table.c.vt <= now, table.c.read_ct > 0
    oldest, body = func.min(sent_at(table)).filter(ready), body_of(table)
    first = (
        select(
            json_object(
                msg_id=table.c.msg_id,
                type=shown(body["type"].astext),
                retry_count=number_in(body, "retryCount"),
            )
        )
        .where(ready)
        .order_by(table.c.msg_id)
        .limit(1)
        .scalar_subquery()
    )
    return select(
        literal(queue).label("queue"),
        func.count().filter(ready).label("ready"),
        func.count().filter(~ready, read).label("in_flight"),
        func.count().filter(~ready, ~read).label("delayed"),
        func.coalesce(func.extract("epoch", now - oldest), 0).label("oldest_ready_seconds"),
        first.label("oldest_ready"),
    ).select_from(table)
