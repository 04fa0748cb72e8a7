"""Enqueuing: one statement that sends a job for each row, and a function that sends one job."""

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import ValidationError
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from sweeper.errors import UsageError
from sweeper.job import JobType, Priority
from sweeper.postgres.clock import iso
from sweeper.queue.acts import Act
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import encode, faults, retries_of, split_payload

CREATED_AT = bindparam("created_at", type_=Text)
_CHUNK = 5_000  # bodies in one send_batch call, which the server holds in memory


def enqueue_statement(
    queues: Queues,
    job: JobType[Any],
    rows: FromClause,
    *,
    created_at: ColumnElement[str],
    max_retries: int,
    **extra: str,
) -> Select[Any]:
    """Return the statement that enqueues one *job* for each of *rows* and counts the jobs.

    rows        -- columns that are named like payload fields become the payload
    created_at  -- the time of all of them, in the format of the wire
    max_retries -- the default for a job type without a number of its own
    extra       -- further keys of the body, which other readers ignore
    """
    fields = [column for column in rows.c if column.name in job.payload.model_fields]
    body = json_object(
        type=literal(job.name),
        payload=json_object(**{job.wire(column.name): column for column in fields}),
        retryCount=literal(0),
        maxRetries=literal(retries_of(job, max_retries)),
        createdAt=created_at,
        **{key: literal(value) for key, value in extra.items()},
    )
    place = func.row_number().over().label("place")
    bodies = select(body.label("body"), place).select_from(rows).subquery("bodies")
    number = bodies.c.place // _CHUNK
    in_order = aggregate_order_by(bodies.c.body, bodies.c.place)
    chunks = (
        select(func.array_agg(in_order).label("chunk"))
        .group_by(number)
        .order_by(number)
        .subquery("chunks")
    )
    send = func.pgmq.send_batch(
        cast(queues.home(job), Text),
        cast(chunks.c.chunk, ARRAY(JSONB)),
        cast(0, Integer),
    )
    sent = select(send.label("msg_id")).select_from(chunks).subquery("sent")
    return select(func.count()).select_from(sent)


@lru_cache(maxsize=64)
def enqueuing(
    queues: Queues, job: JobType[Any], rows: Select[Any], max_retries: int
) -> Select[Any]:
    """Return the statement for these *rows*, with CREATED_AT as a parameter.

    It is built once for rows that are.
    """
    return enqueue_statement(
        queues, job, rows.cte("follow_ups"), created_at=CREATED_AT, max_retries=max_retries
    )


def validated(job: JobType[Any], payload: Any) -> Any:
    """Validate *payload* and return it; for a single key, without the fields unknown to its model.

    Raises UsageError for a payload that the model rejects, or that lists no keys.
    """
    try:
        payloads = [job.payload.model_validate(single) for single in split_payload(job, payload)]
    except ValidationError as error:
        message = f"{job.name} does not accept this payload: {faults(error)}"
        raise UsageError(message) from error
    except ValueError as error:
        message = f"{job.name} does not accept this payload: {error}"
        raise UsageError(message) from error
    if not payloads:
        message = f"{job.name} does not accept this payload: {job.many} is empty"
        raise UsageError(message)
    if len(payloads) > 1:
        return payload
    return payloads[0].model_dump(mode="json", by_alias=True, exclude_unset=True)


def enqueue(
    tx: Connection,
    queues: Queues,
    job: JobType[Any],
    payload: Any,
    *,
    now: datetime,
    max_retries: int,
    priority: Priority | None = None,
    delay: timedelta = timedelta(),
    act: Act | None = None,
) -> tuple[int, str]:
    """Enqueue one job with a `validated` payload, and return its message id and queue.

    act -- is written down with it
    """
    body = encode(job, payload, created_at=iso(now), max_retries=max_retries)
    queue = queues.home(job, priority)
    (msg_id,) = queues.send(tx, queue, [body], delay)
    if act:
        singles = map(job.payload.model_validate, split_payload(job, payload))
        keys = [str(getattr(single, job.key)) for single in singles]
        act.done(tx, f"message {msg_id} in {queue}", keys)
    return msg_id, queue


def json_object(**members: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the SQL expression of a JSON object with these members."""
    pairs = (part for name, value in members.items() for part in (literal(name, Text), value))
    return func.jsonb_build_object(*pairs, type_=JSONB)
