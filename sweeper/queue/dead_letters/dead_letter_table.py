"""The table of dead letters: read by id or condition, and grouped by cause.

A letter in a foreign shape, which another program or a person sent to the dead-letter queue, is
read as invalid: what it lacks has a default, and the whole message is its body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    Subquery,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from sweeper.queue.body import body_of, member, number_in, opened, sent_at, shown
from sweeper.queue.dead_letters.dead_letter import DeadLetter, fingerprint
from sweeper.queue.enqueue import json_object
from sweeper.queue.key_index import dead_key
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import COUNTS, LONGEST_NAME
from sweeper.retry import DeadReason

_FOREIGN = "it was not sent by the sweeper: it is no dead letter with reason and error"
_LARGE = {"body", "indexed_key", "size"}  # columns that are not read as they are
_BYTES = 8_000_000  # of messages that are read at once, unless a single one is larger
_LONGEST_ERROR = 600  # of our own letters: 500, and how much was cut
MOST_GROUPED = 100_000
"""The most dead letters that are grouped by cause: the newest."""

_LATEST = 5  # letters of a cause that are named

_FOREIGN_FINGERPRINT = fingerprint(None, _FOREIGN)


@dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Dead letters with the same cause; error, ids and keys are those of the latest ones."""

    type: str | None
    reason: str
    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    error: str
    ids: Sequence[int]
    keys: Sequence[str | None]


def letters(queues: Queues) -> Subquery:
    """Return the dead letters as rows: the fields of DeadLetter, and `enqueued_at`.

    `size` is the whole message's in bytes, `died_at` is text, and `body` JSON; `indexed_key` is the
    key of whatever length, as the index has it. No letter makes it fail, whatever its shape.
    """
    table = queues.tables[queues.dead]
    letter = body_of(table)
    reason = letter["reason"].astext
    is_ours = reason.in_([*DeadReason])
    body = case((is_ours, member(letter, "body")), else_=table.c.message)
    return select(
        table.c.msg_id,
        sent_at(table).label("enqueued_at"),
        *(
            shown(letter[name].astext).label(name)
            for name in ("type", "key", "died_at", "queue", "sweep_id")
        ),
        case((is_ours, reason), else_=DeadReason.INVALID).label("reason"),
        func.coalesce(shown(letter["error"].astext, _LONGEST_ERROR), _FOREIGN).label("error"),
        func.coalesce(shown(letter["fingerprint"].astext), _FOREIGN_FINGERPRINT).label(
            "fingerprint"
        ),
        func.coalesce(number_in(letter, "attempts"), 0).label("attempts"),
        body.label("body"),
        dead_key(table).label("indexed_key"),
        func.coalesce(func.octet_length(cast(table.c.message, Text)), 0).label("size"),
    ).subquery("letters")


def about(found: Subquery, key: str) -> ColumnElement[bool]:
    """Return whether a row of the subquery `letters` is about *key*, by the index if it can."""
    return (found.c.indexed_key if len(key) <= LONGEST_NAME else found.c.key) == key


def read(tx: Connection, found: Subquery, *conditions: ColumnElement[bool]) -> list[DeadLetter]:
    """Return the dead letters of the subquery `letters` that meet *conditions*, oldest first."""
    # As text, the body is not parsed here: Python refuses JSON that Postgres takes.
    fields = [column for column in found.c if column.name not in _LARGE]
    query: Select[Any] = select(*fields, cast(found.c.body, Text).label("body"))
    # In order here: the server might walk through all ids to find few letters in their order.
    rows = sorted(tx.execute(query.where(*conditions)), key=attrgetter("msg_id"))
    return [_letter(row) for row in rows]


def newest(
    tx: Connection, found: Subquery, *conditions: ColumnElement[bool], most: int, body: int = 0
) -> list[DeadLetter]:
    """Return the newest *most* dead letters that meet *conditions*, oldest first.

    body -- how many characters of each body are read, indented: JSON that is cut is none any more
    """
    fields = [column for column in found.c if column.name not in _LARGE]
    no_body = cast(null(), Text)
    indented = func.left(func.jsonb_pretty(opened(found.c.body)), body)
    pretty = case((found.c.size <= _BYTES, indented), else_=no_body) if body else no_body
    # Materialized: the server might walk through all ids to find few letters in their order.
    met = select(found.c.msg_id).where(*conditions).cte("met").prefix_with("materialized")
    last = select(met.c.msg_id).order_by(met.c.msg_id.desc()).limit(most)
    chosen = found.c.msg_id == any_(func.array(last.scalar_subquery()))
    query: Select[Any] = select(*fields, pretty.label("body")).where(chosen)
    rows = tx.execute(query)
    return [_letter(row) for row in sorted(rows, key=attrgetter("msg_id"))]


def page(
    tx: Connection, found: Subquery, *conditions: ColumnElement[bool], after: int, size: int
) -> list[int]:
    """Return the next ids after *after* that meet *conditions*, in ascending order.

    There are *size* of them at most, and fewer where their messages are large; none at the end.
    """
    rows = select(found.c.msg_id, found.c.size).where(found.c.msg_id > after, *conditions)
    some = rows.order_by(found.c.msg_id).limit(size).subquery("some")
    earlier = func.sum(some.c.size).over(order_by=some.c.msg_id) - some.c.size
    summed = select(some.c.msg_id, earlier.label("earlier")).subquery("summed")
    chosen = select(summed.c.msg_id).where(summed.c.earlier < _BYTES).order_by(summed.c.msg_id)
    return list(tx.execute(chosen).scalars())


def lock(tx: Connection, queues: Queues, ids: Sequence[int]) -> frozenset[int]:
    """Lock dead letters, and return the ids of those that nobody else is taking."""
    table = queues.tables[queues.dead]
    rows = select(table.c.msg_id).where(
        table.c.msg_id == func.any(cast(list(ids), ARRAY(BigInteger)))
    )
    locked = rows.order_by(table.c.msg_id).with_for_update(skip_locked=True)
    return frozenset(tx.execute(locked).scalars())


def send_again(tx: Connection, queues: Queues, ids: Sequence[int], queue: str) -> None:
    """Send the jobs of the dead letters with *ids* to *queue*, without error and retries counted.

    The server copies the bodies, so that each keeps what it holds, whatever Python thinks of it.
    """
    found = letters(queues)
    body = opened(func.coalesce(found.c.body, literal_column("'null'::jsonb")))
    told = cast(["lastError", *COUNTS], ARRAY(Text))
    fresh = body.op("-")(told).op("||")(json_object(retryCount=literal(0)))
    again = case((func.jsonb_typeof(body) == "object", fresh), else_=body)
    bodies = cast(func.array_agg(aggregate_order_by(again, found.c.msg_id)), ARRAY(JSONB))
    send = func.pgmq.send_batch(cast(queue, Text), bodies, cast(0, Integer))
    tx.execute(select(send).where(found.c.msg_id == func.any(cast(list(ids), ARRAY(BigInteger)))))


def dead_letter_groups(
    tx: Connection, found: Subquery, limit: int, *conditions: ColumnElement[bool]
) -> tuple[int, list[DeadLetterGroup]]:
    """Return how many dead letters meet *conditions*, and their most frequent causes in order.

    They are the newest MOST_GROUPED, and no more are counted.
    """
    cause = [found.c[name] for name in ("type", "reason", "fingerprint")]
    newest = select(found.c.msg_id, found.c.enqueued_at, *cause).where(*conditions)
    some = newest.order_by(found.c.msg_id.desc()).limit(MOST_GROUPED).subquery("newest")
    cause = [some.c[column.name] for column in cause]
    count, ids = func.count(), func.array_agg(some.c.msg_id, type_=ARRAY(BigInteger))
    times = (func.min(some.c.enqueued_at), func.max(some.c.enqueued_at))
    query = select(*cause, count, *times, ids.label("ids"), func.sum(count).over().label("total"))
    query = query.group_by(*cause).order_by(count.desc(), *cause).limit(limit)
    grouped = query.subquery("grouped")
    one = func.unnest(grouped.c.ids).column_valued("one")
    latest = select(one).order_by(one.desc()).limit(_LATEST).correlate(grouped).scalar_subquery()
    columns = [column for column in grouped.c if column.name not in {"ids", "total"}]
    rows: Sequence[Any] = tx.execute(select(*columns, grouped.c.total, func.array(latest))).all()
    named = _named(tx, found, [one for row in rows for one in row[-1]])
    groups = list[DeadLetterGroup]()
    for kind, reason, digest, number, first, last, _, ids in rows:
        # One that has gone meanwhile has no name.
        error, keys = named.get(ids[0], ("", None))[0], [named.get(i, ("", None))[1] for i in ids]
        groups.append(DeadLetterGroup(kind, reason, digest, number, first, last, error, ids, keys))
    return int(rows[0].total) if rows else 0, groups


def _named(tx: Connection, found: Subquery, ids: Sequence[int]) -> dict[int, tuple[Any, ...]]:
    """Return error and key of the dead letters with *ids*."""
    wanted = found.c.msg_id == func.any(cast(list(ids), ARRAY(BigInteger)))
    rows = tx.execute(select(found.c.msg_id, found.c.error, found.c.key).where(wanted))
    return {row.msg_id: tuple(row[1:]) for row in rows}


def _letter(row: Row[Any]) -> DeadLetter:
    return DeadLetter(
        type=row.type,
        key=row.key,
        reason=DeadReason(row.reason),
        error=row.error,
        attempts=row.attempts,
        died_at=_time(row.died_at) or row.enqueued_at,
        queue=row.queue or "",
        fingerprint=row.fingerprint,
        body=row.body,
        sweep_id=row.sweep_id,
        msg_id=row.msg_id,
    )


def _time(text: str | None) -> datetime | None:
    """Return the time that *text* holds, in UTC; None where it holds none that Python can hold."""
    try:
        time = datetime.fromisoformat(text or "")
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
