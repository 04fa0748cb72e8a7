"""What the order jobs share: their payload, and the claims on due orders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Select,
    Text,
    any_,
    bindparam,
    cast,
    literal,
    select,
    union_all,
    update,
)

from jobs.limits import in_words, limit_of
from jobs.tables import ORDER
from jobs.values import NOW, ORDERS, values_of
from sweeper import Batch, Effect, Payload

_REASON = bindparam("reason", type_=Text)


class OrderPayload(Payload):
    """The id of an order; the platform and the scans send the same payload."""

    order_id: Annotated[str, Field(min_length=1, max_length=200)]


def claiming(due: ColumnElement[bool], status: str) -> Select[Any]:
    """Return the statement by which `claim` updates due orders to *status*.

    Rows are locked in the order of their ids; a row that another session has locked is skipped
    rather than waited for. *due* is evaluated again under the lock.

    due -- the condition under which an order is still to be updated, with CUTOFF as the cutoff
    """
    named = ORDER.c.id == any_(ORDERS)
    seen, locked = _seen_and_locked(due)
    updated = (
        update(ORDER)
        .where(ORDER.c.id == locked.c.id, named)  # again: a planner may not see that it follows
        .values(status=status, rejectionReason=_REASON, updatedAt=NOW)
        .returning(ORDER.c.id)
        .cte("updated")
    )
    return select(seen.c.id, updated.c.id.is_not(None)).outerjoin_from(
        seen, updated, updated.c.id == seen.c.id
    )


def _seen_and_locked(due: ColumnElement[bool]) -> tuple[CTE, CTE]:
    """Return the ids of the batch's due orders, and of those whose locks were free."""
    wanted = select(ORDER.c.id).where(ORDER.c.id == any_(ORDERS), due)
    locking = wanted.order_by(ORDER.c.id).with_for_update(key_share=True, skip_locked=True)
    return wanted.cte("seen"), locking.cte("locked")


def claim(batch: Batch[OrderPayload], statement: Select[Any], reason: str) -> list[str]:
    """Update the batch's due orders in one statement; skip or postpone the other jobs.

    An order that another session has locked is postponed. Returns the ids of the updated orders.

    statement -- made by `claiming`, once for all batches
    reason    -- stored as rejectionReason, with the rule's limit for {limit}; customers read it
    """
    values = values_of(batch, batch.keys)
    values[_REASON.key] = reason.format(limit=in_words(limit_of(batch)))
    claims: Mapping[str, bool] = dict(batch.tx.execute(statement, values).all())
    batch.claimed(claims)
    return [order_id for order_id, was_updated in claims.items() if was_updated]


@dataclass(frozen=True, slots=True)
class Holding:
    """The statements by which `hold` claims due orders and leaves them as they are.

    locking -- locks the orders that look due; selects each id, and whether its lock was free
    asking  -- selects the ids of the locked orders that are due, and what else is wanted of them
    """

    locking: Select[Any]
    asking: Select[Any]


def holding(due: ColumnElement[bool], *columns: ColumnElement[Any]) -> Holding:
    """Return the statements by which `hold` claims due orders.

    due     -- the condition under which something is still to be done, with CUTOFF as the cutoff;
               what the handler writes has to end it
    columns -- further columns that are wanted of the orders
    """
    seen, locked = _seen_and_locked(due)
    locking = select(seen.c.id, locked.c.id.is_not(None)).outerjoin_from(
        seen, locked, locked.c.id == seen.c.id
    )
    return Holding(locking, select(ORDER.c.id, *columns).where(ORDER.c.id == any_(ORDERS), due))


def hold(batch: Batch[OrderPayload], statements: Holding) -> Sequence[tuple[Any, ...]]:
    """Lock the batch's due orders and leave them as they are; skip or postpone the other jobs.

    Returns the rows of the orders that are held. An order that ends is not due again, because its
    own row says so, and a lock asks the row again. One that only something else speaks of, such as
    a notice, is asked again by a statement of its own, once it is locked: that statement sees what
    the last holder of the lock has committed, whoever began first.
    """
    values = values_of(batch, batch.keys)
    seen: dict[str, bool] = dict(batch.tx.execute(statements.locking, values).all())
    locked = [order_id for order_id, was_free in seen.items() if was_free]
    asked = values_of(batch, locked)
    rows = [tuple(row) for row in batch.tx.execute(statements.asking, asked)] if locked else []
    held = dict.fromkeys((row[0] for row in rows), True)
    batch.claimed({order_id: False for order_id, was_free in seen.items() if not was_free} | held)
    return rows


def due_rows(due: ColumnElement[bool], since: ColumnElement[datetime]) -> Select[Any]:
    """Return the due orders as (order_id, since), the longest waiting first."""
    return (
        select(ORDER.c.id.label("order_id"), since.label("since"))
        .where(due)
        .order_by(since, ORDER.c.id)
    )


def anomalous(*kinds: tuple[str, ColumnElement[bool]]) -> Select[Any]:
    """Return the orders that look due but must not be changed, each with the reason.

    kinds -- the reason, and the condition under which it applies
    """
    return select(
        union_all(
            *(
                select(ORDER.c.id.label("key"), literal(reason, Text).label("reason")).where(
                    condition
                )
                for reason, condition in kinds
            )
        ).subquery("anomalies")
    )


CODES = select(ORDER.c.id.label("key"), ORDER.c.orderCode.label("code"))


def orders_of(order_ids: Sequence[str]) -> Select[Any]:
    """Return code and status of these orders, for a dry run."""
    wanted = ORDER.c.id == any_(cast(order_ids, ARRAY(Text)))
    return select(ORDER.c.id, ORDER.c.orderCode, ORDER.c.status).where(wanted).order_by(ORDER.c.id)


def _order_effect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "order_code": before.get("orderCode"),
        "order_id": before.get("id"),
        "before": before.get("status"),
        "after": after.get("status"),
    }


EFFECTS = (Effect("orders", "orders", orders_of, _order_effect),)
