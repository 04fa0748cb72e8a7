"""Money that is owed back: written down with the rejection, settled by people."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    Integer,
    Select,
    Table,
    Text,
    any_,
    cast,
    func,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert

from jobs.tables import GUEST, ORDER, PARTICIPANT
from sweeper import METADATA, Batch

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


def owe(batch: Batch[Any], order_ids: list[str]) -> None:
    """Write down the down payments of these orders as due to their buyers, once an order."""
    if not order_ids:
        return
    owed = (
        select(
            ORDER.c.id,
            ORDER.c.orderCode,
            ORDER.c.dpAmount,
            func.coalesce(PARTICIPANT.c.name, GUEST.c.name),
            func.coalesce(PARTICIPANT.c.phone, GUEST.c.phone),
            literal("due"),
            literal(batch.now, TIMESTAMP(timezone=True)),
        )
        .outerjoin(PARTICIPANT, PARTICIPANT.c.id == ORDER.c.participantId)
        .outerjoin(GUEST, GUEST.c.id == ORDER.c.guestId)
        .where(ORDER.c.id == any_(cast(order_ids, ARRAY(Text))), ORDER.c.dpAmount > 0)
    )
    names = ["order_id", "order_code", "amount", "buyer_name", "buyer_phone", "state", "at"]
    batch.tx.execute(insert(REFUND).from_select(names, owed).on_conflict_do_nothing())


def owed(order_id: str) -> Select[Any]:
    """Return the refund of an order, for `explain`."""
    what = func.concat("refund of Rp ", REFUND.c.amount, " is ", REFUND.c.state)
    return select(REFUND.c.at, what).where(REFUND.c.order_id == order_id)


FACTS = owed
