"""The rows of NotificationLog: insert them, lock them for sending, and store the results."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Connection,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB, insert

from jobs.tables import NOTIFICATION_LOG
from sweeper import UtcTimestamp

CLAIM = "claim"
"""The key in the metadata of a notice in progress: when the message that sends it was created."""

CARRIER = "carrier"
"""The key in the metadata of a notice in progress: the id of that message, and since when."""

WRITTEN = "recipientAsWritten"
"""The key in the metadata: the recipient's phone as it was before the provider was given it."""

UNKNOWN = "unknown"
"""The key in the metadata: the number of calls that ended without a reply."""

NONCE = "nonce"
"""The key in the metadata of our own notices: a secret that only the notice's message knows."""

_LOG = NOTIFICATION_LOG.c
_OPEN = ("queued", "sending", "failed")


@dataclass(frozen=True, slots=True)
class NoticeUpdate:
    """The new values of a notice's row.

    error     -- one line, or None to clear it
    notes     -- added to the metadata
    recipient -- what the provider is given, or None to leave the recipient as it is
    """

    id: str
    status: str
    error: str | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)
    recipient: str | None = None


def notice_id(*parts: str) -> str:
    """Return an id in the format of the platform's ids, always the same for the same texts."""
    return f"c{sha256(' '.join(parts).encode()).hexdigest()[:24]}"


def notice_id_of(order_id: ColumnElement[str], event_type: str) -> ColumnElement[str]:
    """Return the id of an order's notice as SQL: the same id that `notice_id` computes."""
    digest = func.sha256(func.convert_to(order_id + literal(f" {event_type}"), "UTF8"))
    return literal("c", Text) + func.left(func.encode(digest, "hex"), 24)


def insert_notices(tx: Connection, rows: Sequence[Mapping[str, Any]], now: datetime) -> None:
    """Insert the notices that do not exist yet, as queued."""
    defaults = {
        "recipientType": "PHONE",
        "channel": "WHATSAPP",
        "status": "queued",
        "createdAt": now,
    }
    if rows:
        values = [{**defaults, **row} for row in rows]
        tx.execute(insert(NOTIFICATION_LOG).values(values).on_conflict_do_nothing())


def existing(tx: Connection, ids: Sequence[str]) -> frozenset[str]:
    """Return those of *ids* that have a row."""
    query = select(_LOG.id).where(_LOG.id == any_(cast(list(ids), ARRAY(Text))))
    return frozenset(tx.execute(query).scalars())


def texts_since(
    tx: Connection, since: datetime, recipients: Iterable[str]
) -> tuple[int, dict[str, int]]:
    """Return how many notices with a text of their own were begun, and how many by recipient."""
    recent = (_LOG.createdAt > literal(since, UtcTimestamp)) & _LOG.metadata.has_key("message")
    wanted = _LOG.recipientId == any_(cast(list(recipients), ARRAY(Text)))
    counts = select(_LOG.recipientId, func.count()).where(recent, wanted)
    total = tx.execute(select(func.count()).select_from(NOTIFICATION_LOG).where(recent))
    by_recipient = tx.execute(counts.group_by(_LOG.recipientId))
    return total.scalar_one(), {row[0]: row[1] for row in by_recipient}


def lock_notices(tx: Connection, ids: Iterable[str]) -> dict[str, Any]:
    """Return notices by id, with their rows locked until the transaction ends."""
    query = (
        select(_LOG.id, _LOG.recipientId, _LOG.channel, _LOG.eventType, _LOG.status, _LOG.metadata)
        .where(_LOG.id == any_(cast(list(ids), ARRAY(Text))))
        .order_by(_LOG.id)
        .with_for_update()
    )
    return {row.id: row for row in tx.execute(query)}


def update_notices(tx: Connection, updates: Sequence[NoticeUpdate], now: datetime) -> None:
    """Apply *updates* in one statement, except to notices that have reached a final status."""
    if not updates:
        return
    columns = {
        "id": [each.id for each in updates],
        "status": [each.status for each in updates],
        "error": [each.error for each in updates],
        "notes": [json.dumps(each.notes) for each in updates],
        "recipient": [each.recipient for each in updates],
    }
    rows = select(
        *(func.unnest(cast(values, ARRAY(Text))).label(name) for name, values in columns.items())
    ).subquery("updates")
    metadata = case(
        (func.jsonb_typeof(_LOG.metadata) == "object", _LOG.metadata), else_=cast({}, JSONB)
    )
    sent_at = case((rows.c.status == "sent", literal(now, UtcTimestamp)), else_=_LOG.sentAt)
    tx.execute(
        update(NOTIFICATION_LOG)
        .values(
            status=rows.c.status,
            recipientId=func.coalesce(rows.c.recipient, _LOG.recipientId),
            errorMessage=rows.c.error,
            sentAt=sent_at,
            metadata=metadata.op("-")(cast([CLAIM, CARRIER], ARRAY(Text))).op("||")(
                cast(rows.c.notes, JSONB)
            ),
        )
        .where(_LOG.id == rows.c.id, _LOG.status.in_(_OPEN))
    )
