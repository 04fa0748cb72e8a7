"""The refund ledger: money owed to buyers, recorded with the rejection and settled by people."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    Integer,
    RowMapping,
    Select,
    Table,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.sql.dml import ReturningInsert

from jobs.events import REFUND_RECORDED
from jobs.tables import GUEST, ORDER, PARTICIPANT
from jobs.values import AT, ORDERS, values_of
from jobs.whatsapp.texts import rupiah
from sweeper import METADATA, Batch, ColumnKind, Effect, Figure, ListColumn, Listing, UsageError

REFUND = Table(
    "refund",
    METADATA,
    Column("order_id", Text, primary_key=True),
    Column("order_code", Text),
    Column("amount", Integer, nullable=False),
    Column("buyer_name", Text),
    Column("buyer_phone", Text),
    Column("state", Text, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
    Column("settled_at", TIMESTAMP(timezone=True)),
    Column("reference", Text),
)


_due = REFUND.c.state == "due"


def state_in_words(state: str) -> str:
    """Return a refund's state as people are shown it: one that is due is unpaid."""
    return "unpaid" if state == "due" else state


def record_refunds(batch: Batch[Any], order_ids: list[str]) -> None:
    """Record the down payments of these orders as unpaid refunds, one for each order."""
    if order_ids:
        batch.run(_RECORDING, values_of(batch, order_ids), partial(_log, batch))


def _recording() -> ReturningInsert[tuple[str, int]]:
    refunds = (
        select(
            ORDER.c.id,
            ORDER.c.orderCode,
            ORDER.c.dpAmount,
            func.coalesce(PARTICIPANT.c.name, GUEST.c.name),
            func.coalesce(PARTICIPANT.c.phone, GUEST.c.phone),
            literal("due"),
            AT,
        )
        .outerjoin(PARTICIPANT, PARTICIPANT.c.id == ORDER.c.participantId)
        .outerjoin(GUEST, GUEST.c.id == ORDER.c.guestId)
        .where(ORDER.c.id == any_(ORDERS), ORDER.c.dpAmount > 0)
    )
    names = ["order_id", "order_code", "amount", "buyer_name", "buyer_phone", "state", "at"]
    statement = insert(REFUND).from_select(names, refunds).on_conflict_do_nothing()
    return statement.returning(REFUND.c.order_id, REFUND.c.amount)


_RECORDING = _recording()


def _log(batch: Batch[Any], inserted: Sequence[tuple[Any, ...]]) -> None:
    if inserted:
        keys, amounts = zip(*inserted, strict=True)
        batch.log(REFUND_RECORDED, keys=list(keys), amount=sum(amounts))


_amount = func.replace(func.to_char(REFUND.c.amount, "FM999,999,999,999"), ",", ".")


def refund_facts(order_id: str) -> Select[Any]:
    """Return the refund of an order with its time, for `explain`."""
    state = case((_due, "unpaid"), else_=REFUND.c.state)
    what = func.concat("refund of Rp ", _amount, " is ", state)
    return select(REFUND.c.at, what).where(REFUND.c.order_id == order_id)


def refund_next_steps(order_id: str) -> Select[Any]:
    """Return how a refund that is due is settled, for `explain`; {key} stands for the order."""
    what: Any = func.concat("The refund of Rp ", _amount, " is owed: pay it, then settle it.")
    command = literal("sweeper refunds settle --reference REFERENCE {key}", Text)
    return select(what, command).where(REFUND.c.order_id == order_id, _due)


FACTS = refund_facts
NEXT_STEPS = refund_next_steps
CODES = select(REFUND.c.order_id.label("key"), REFUND.c.order_code.label("code"))


def mark_settled(
    tx: Connection, order_id: str, reference: str, now: datetime, name: str | None = None
) -> int | None:
    """Record that a refund was paid; return its amount in rupiah, or None if it was settled before.

    reference -- the bank's reference, by which the payment is found
    name      -- how errors name the order; None for its id

    Raises UsageError for a blank reference, for an order without a refund, and for a refund that
    was settled with another reference: it was paid twice, or the reference is wrong.
    """
    if not reference.strip():
        message = "the reference is blank; say how the payment is found at the bank"
        raise UsageError(message)
    order = f"order {name or repr(order_id)}"
    refund = select(REFUND).where(REFUND.c.order_id == order_id)
    row = tx.execute(refund.with_for_update()).one_or_none()
    if row is None:
        message = f"no refund is recorded for {order}"
        raise UsageError(message)
    if row.state == "due":
        paid = {"state": "settled", "settled_at": now, "reference": reference}
        tx.execute(update(REFUND).where(REFUND.c.order_id == order_id).values(paid))
        return int(row.amount)
    if row.reference != reference:
        message = f"{order} was settled before, with reference {row.reference!r}"
        raise UsageError(message)
    return None


def refund_rows(
    tx: Connection,
    *,
    everything: bool,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[RowMapping]:
    """Return the refunds that are due, or with *everything* all refunds, the oldest first.

    after -- only those after this time and order
    """
    place = tuple_(REFUND.c.at, REFUND.c.order_id)
    query = select(REFUND).order_by(REFUND.c.at, REFUND.c.order_id).limit(limit)
    if not everything:
        query = query.where(_due)
    if after is not None:
        query = query.where(place > tuple_(*after))
    return list(tx.execute(query).mappings())


def owed(tx: Connection) -> int:
    """Return the amount of all refunds that are due."""
    total = func.coalesce(func.sum(REFUND.c.amount), 0)
    return int(tx.execute(select(total).where(_due)).scalar_one())


_age = func.extract("epoch", func.now() - func.min(REFUND.c.at))

FIGURES = (
    Figure("refunds_owed", "refunds owed", select(func.count()).where(_due)),
    Figure(
        "refunds_owed_rupiah",
        "money owed",
        select(func.sum(REFUND.c.amount)).where(_due),
        shown=lambda amount: rupiah(int(amount)),
    ),
    Figure("refunds_oldest_owed_seconds", "oldest refund owed", select(_age).where(_due)),
)


LISTINGS = (
    Listing(
        "refunds",
        "Refunds",
        select(*(column for column in REFUND.c if column is not REFUND.c.buyer_phone)),
        place=("at", "order_id"),
        columns=(
            ListColumn("order_id", "order", ColumnKind.KEY),
            ListColumn("amount", "owed", ColumnKind.NUMBER, lambda amount: rupiah(int(amount))),
            ListColumn("state", "state", ColumnKind.TAG, state_in_words),
            ListColumn("buyer_name", "buyer"),
            ListColumn("at", "since", ColumnKind.TIME),
            ListColumn("settled_at", "settled", ColumnKind.TIME),
            ListColumn("reference", "reference"),
        ),
        at="at",
        key="order_id",
        choices={"state": ("due", "settled")},
        exact=frozenset({"order_id", "at", "state"}),
    ),
)


def refunds_of(order_ids: Sequence[str]) -> Select[Any]:
    """Return the refunds of these orders, for a dry run."""
    wanted = REFUND.c.order_id == any_(cast(order_ids, ARRAY(Text)))
    columns = (REFUND.c.order_id, REFUND.c.order_code, REFUND.c.amount)
    return select(*columns).where(wanted).order_by(REFUND.c.order_id)


def _refund_effect(_before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {"order_code": after.get("order_code")} | dict(after)


EFFECTS = (Effect("refunds", "refunds", refunds_of, _refund_effect),)
