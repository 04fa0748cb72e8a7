"""A message's body in SQL: where a string holds the JSON, it is opened as the parser opens it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import TIMESTAMP, ColumnElement, Connection, Integer, Table, case, cast, func, null
from sqlalchemy.dialects.postgresql import JSONB

from sweeper.job import JobType, Message
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import LONGEST_NAME


def opened(value: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return JSON *value*, or what it holds where it is a string of JSON; it never fails.

    The server's function is called for strings only, so that usual rows cost no call.
    """
    inner = func.sweeper.open_string(value, type_=JSONB)
    return case((func.jsonb_typeof(value) == "string", inner), else_=value)


def body_of(table: Table) -> ColumnElement[Any]:
    """Return the body of the messages in a queue's table."""
    return opened(table.c.message)


def member(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Return one member of a JSON object; NULL where *value* is none, or has none."""
    return func.jsonb_extract_path(value, name, type_=JSONB)


def number_in(value: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    """Return one member of a JSON object as a count; NULL where it is none, or has many digits."""
    text = value[name].astext
    return case((text.regexp_match("^[0-9]{1,9}$"), cast(text, Integer)), else_=null())


def shown(text: ColumnElement[Any], limit: int = LONGEST_NAME) -> ColumnElement[Any]:
    """Return a stranger's *text* cut to *limit* characters, with how many were cut."""
    length = func.char_length(text)
    cut = func.concat(func.left(text, limit), "... (", length - limit, " characters cut)")
    return case((length > limit, cut), else_=text)


def finite(time: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return *time*, which a stranger may have set, within what Python can hold."""
    aware = TIMESTAMP(timezone=True)
    first, last = (cast(f"{year}-01-01 00:00+00", aware) for year in (1970, 9999))
    return func.least(func.greatest(time, first), last)


def sent_at(table: Table) -> ColumnElement[Any]:
    """Return when the messages in a queue's table were sent; a stranger may have set any time."""
    return func.least(finite(table.c.enqueued_at), func.now())


def payload_of(body: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the payload in *body*."""
    return opened(member(body, "payload"))


def key_of(job: JobType[Any], body: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the key in the payload of a *job*, under either name that its model accepts."""
    payload = payload_of(body)
    return func.coalesce(*(payload[name].astext for name in names_of_key(job)))


def names_of_key(job: JobType[Any]) -> list[str]:
    """Return the names under which a payload may have the key of a *job*, the usual one first."""
    return list(dict.fromkeys((job.wire(job.key), job.key)))


def count(tx: Connection, queues: Queues, message: Message, counts: Mapping[str, int]) -> None:
    """Set keys of the body of a message that this worker has read, to count something there.

    A message that another worker has read meanwhile, or whose body is no object, is not changed.
    """
    table = queues.tables[message.queue]
    body = body_of(table)
    tx.execute(
        table.update()
        .values(message=body.concat(cast(dict(counts), JSONB)))
        .where(
            table.c.msg_id == message.msg_id,
            table.c.read_ct == message.read_ct,
            func.jsonb_typeof(body) == "object",
        )
    )
