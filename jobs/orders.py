"""What both order jobs share: their payload, and the claim on rows that are due."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Select,
    Text,
    any_,
    cast,
    literal,
    select,
    union_all,
    update,
)

from jobs.tables import ORDER
from sweeper import Batch, Effect, Payload


class OrderPayload(Payload):
    """An order's id, as the platform and our own scans send it."""

    order_id: Annotated[str, Field(min_length=1)]


def claim(
    batch: Batch[OrderPayload], due: ColumnElement[bool], status: str, reason: str
) -> list[str]:
    """Move the batch's due orders to *status* in one statement, and judge its jobs by it.

    Rows are locked in the order of their ids; a row that somebody else holds is left for later
    rather than waited for. *due* is asked again under the lock. Returns the ids that moved.
    """
    wanted = select(ORDER.c.id).where(ORDER.c.id == any_(cast(batch.keys, ARRAY(Text))), due)
    seen = wanted.cte("seen")
    locked = (
        wanted.order_by(ORDER.c.id).with_for_update(key_share=True, skip_locked=True).cte("locked")
    )
    moved = (
        update(ORDER)
        .where(ORDER.c.id == locked.c.id)
        .values(status=status, rejectionReason=reason, updatedAt=batch.now)
        .returning(ORDER.c.id)
        .cte("moved")
    )
    outcome = select(seen.c.id, moved.c.id.is_not(None)).outerjoin_from(
        seen, moved, moved.c.id == seen.c.id
    )
    claims: Mapping[str, bool] = dict(batch.tx.execute(outcome).all())
    batch.claimed(claims)
    return [order_id for order_id, ours in claims.items() if ours]


def due_rows(due: ColumnElement[bool], since: ColumnElement[datetime]) -> Select[Any]:
    """Return the due orders as a rule tells them, the one that has waited longest first."""
    return (
        select(ORDER.c.id.label("order_id"), since.label("since"))
        .where(due)
        .order_by(since, ORDER.c.id)
    )


def anomalous(*kinds: tuple[str, ColumnElement[bool]]) -> Select[Any]:
    """Return the orders that look due and must not be touched, each with the reason."""
    return select(
        union_all(
            *(
                select(ORDER.c.id.label("key"), literal(reason, Text).label("reason")).where(which)
                for reason, which in kinds
            )
        ).subquery("odd")
    )


def states(order_ids: Sequence[str]) -> Select[Any]:
    """Return these orders' states, for a dry run."""
    ours = ORDER.c.id == any_(cast(order_ids, ARRAY(Text)))
    return select(ORDER.c.id, ORDER.c.orderCode, ORDER.c.status).where(ours).order_by(ORDER.c.id)


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "order_id": before.get("id"),
        "order_code": before.get("orderCode"),
        "before": before.get("status"),
        "after": after.get("status"),
    }


EFFECTS = (Effect("orders", "orders", states, _moved),)
