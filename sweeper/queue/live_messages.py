"""The live messages about one key, looked up by the indexes on the queues."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from sweeper.job import Job, JobType, Message
from sweeper.queue.body import body_of, finite, key_of, number_in, sent_at, shown
from sweeper.queue.hidden import is_hidden
from sweeper.queue.key_index import SEVERAL, live_key
from sweeper.queue.pgmq import BODY_BYTES, Queues
from sweeper.queue.wire import POSTPONED, MalformedMessage, MultiKeyMessage, parse

MOST_MESSAGES = 100
"""The most messages about one key that are read."""

_LONGEST_ERROR = 600  # 500, and how much was cut


@dataclass(frozen=True, slots=True)
class WaitingMessage:
    """A message in a live queue about one key, which can be read from `visible_at` on.

    hidden    -- whether that is so far ahead that the message does not count as waiting
    ready     -- whether it can be read now, by the database's clock
    postponed -- how often in a row; None for never
    """

    queue: str
    msg_id: int
    type: str
    retry_count: str | None
    visible_at: datetime
    enqueued_at: datetime
    hidden: bool
    ready: bool
    read_ct: int
    postponed: int | None
    last_error: str | None


def messages_about(
    tx: Connection, queues: Queues, key: str, jobs: Sequence[JobType[Any]]
) -> list[WaitingMessage]:
    """Return the live messages whose job is about *key*, by the indexes where they exist.

    There are MOST_MESSAGES at most.
    A job whose key is no field of its payload is not found: no message says what it is.
    """
    indexed = any_(cast([key, SEVERAL], ARRAY(Text)))
    stored = [job for job in jobs if job.key in job.payload.model_fields]
    queries = []
    for queue, table in queues.live_tables:
        body = body_of(table)
        columns = (
            table.c.msg_id,
            body["type"].astext,
            shown(body["retryCount"].astext),
            finite(table.c.vt),
            sent_at(table),
            is_hidden(table, queues.horizon),
            table.c.vt <= func.now(),
            table.c.read_ct,
            number_in(body, POSTPONED),
            shown(body["lastError"].astext, _LONGEST_ERROR),
        )
        queries += [
            select(literal(queue), *columns).where(
                body["type"].astext == job.name,
                key_of(job, body) == key,
                live_key(job, table) == indexed,
            )
            for job in stored
        ]
    if not queries:
        return []
    return [WaitingMessage(*row) for row in tx.execute(union_all(*queries).limit(MOST_MESSAGES))]


def parsed(
    tx: Connection, queues: Queues, msg_id: int, types: Mapping[str, JobType[Any]]
) -> list[Job[Any] | MultiKeyMessage | MalformedMessage]:
    """Return the live messages with this id, which any queue may have, as a worker parses them."""
    queries = []
    for queue, table in queues.live_tables:
        size = func.octet_length(cast(table.c.message, Text))
        raw = case((size <= BODY_BYTES, cast(table.c.message, Text)), else_=null())
        one = select(literal(queue), finite(table.c.enqueued_at), raw, func.coalesce(size, 0))
        queries.append(one.where(table.c.msg_id == msg_id))
    return [
        parse(Message(queue, msg_id, 1, at, raw, at, size), types, 0)
        for queue, at, raw, size in tx.execute(union_all(*queries))
    ]
