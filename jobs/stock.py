"""Stock that an order took goes back, once ever for each order and product."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, assert_never

from pydantic import Field
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    Select,
    Table,
    Text,
    and_,
    any_,
    cast,
    false,
    func,
    literal,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as insert_or_leave

from jobs.tables import ORDER, ORDER_ITEM, PRODUCT
from sweeper import METADATA, Batch, Effect, Section


class TakenAt(StrEnum):
    """When the platform takes stock from a product."""

    CHECKOUT = "checkout"
    PAYMENT = "payment"
    ACCEPTANCE = "acceptance"
    NEVER = "never"


class StockSettings(Section):
    """Facts about this platform's stock that only an operator knows."""

    name: ClassVar[str] = "stock"

    taken_at: TakenAt | None = Field(
        default=None,
        description="when the platform takes stock: checkout, payment, acceptance or never",
        json_schema_extra={"required": True},
    )


SETTINGS = StockSettings

STOCK_RELEASE = Table(
    "stock_release",
    METADATA,
    Column("order_id", Text, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("quantity", Integer, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)


def was_taken(batch: Batch[Any]) -> ColumnElement[bool]:
    """Return the condition under which an order's stock was taken, by the platform's evidence."""
    taken_at = batch.settings(StockSettings).taken_at
    match taken_at:
        case TakenAt.CHECKOUT:
            return true()
        case TakenAt.PAYMENT:
            return ORDER.c.dpPaidAt.is_not(None)
        case TakenAt.ACCEPTANCE:
            return and_(ORDER.c.validatedAt.is_not(None), ORDER.c.finalBreakdown.is_not(None))
        case TakenAt.NEVER | None:
            return false()
        case _:
            assert_never(taken_at)


def release_stock(batch: Batch[Any], order_ids: list[str]) -> set[str]:
    """Add what these orders took to the stock of limited goods, in one statement.

    The caller holds the orders' row locks. Products are locked in the order of their ids, so that
    two orders that share some cannot deadlock. Returns the orders that gave something back.
    """
    if not order_ids:
        return set()
    lines = _lines(order_ids, was_taken(batch)).cte("lines")
    locked = (
        select(PRODUCT.c.id)
        .where(PRODUCT.c.id.in_(select(lines.c.product_id)), _limited())
        .order_by(PRODUCT.c.id)
        .with_for_update(key_share=True)
        .cte("locked")
    )
    released = (
        insert_or_leave(STOCK_RELEASE)
        .from_select(
            ["order_id", "product_id", "quantity", "at"],
            select(
                lines.c.order_id,
                lines.c.product_id,
                cast(lines.c.quantity, Integer),
                literal(batch.now, TIMESTAMP(timezone=True)),
            ).join_from(lines, locked, locked.c.id == lines.c.product_id),
        )
        .on_conflict_do_nothing()
        .returning(STOCK_RELEASE.c.order_id, STOCK_RELEASE.c.product_id, STOCK_RELEASE.c.quantity)
        .cte("released")
    )
    sums = (
        select(
            released.c.product_id,
            func.sum(cast(released.c.quantity, BigInteger)).label("quantity"),
        )
        .group_by(released.c.product_id)
        .cte("sums")
    )
    restocked = (
        update(PRODUCT)
        .where(PRODUCT.c.id == sums.c.product_id)
        .values(stock=cast(PRODUCT.c.stock + sums.c.quantity, Integer), updatedAt=batch.now)
        .cte("restocked")
    )
    query = select(released.c.order_id).distinct().add_cte(restocked)
    return set(batch.tx.execute(query).scalars())


def add(batch: Batch[Any], quantities: dict[str, int]) -> set[str]:
    """Add to the stock of limited goods by product id; return the products that are such."""
    wanted = select(
        func.unnest(cast(list(quantities), ARRAY(Text))).label("id"),
        func.unnest(cast(list(quantities.values()), ARRAY(BigInteger))).label("quantity"),
    ).cte("wanted")
    locked = (
        select(PRODUCT.c.id)
        .where(PRODUCT.c.id.in_(select(wanted.c.id)), _limited())
        .order_by(PRODUCT.c.id)
        .with_for_update(key_share=True)
        .cte("locked")
    )
    statement = (
        update(PRODUCT)
        .where(PRODUCT.c.id == locked.c.id, wanted.c.id == locked.c.id)
        .values(stock=cast(PRODUCT.c.stock + wanted.c.quantity, Integer), updatedAt=batch.now)
        .returning(PRODUCT.c.id)
    )
    return set(batch.tx.execute(statement).scalars())


def _lines(order_ids: Sequence[str], taken: ColumnElement[bool]) -> Select[tuple[str, str, int]]:
    """Return what each order took, one row a product: its items, or itself where it has none."""
    ours = and_(ORDER.c.id == any_(cast(order_ids, ARRAY(Text))), taken)
    items = select(
        ORDER_ITEM.c.orderId.label("order_id"),
        ORDER_ITEM.c.productId.label("product_id"),
        ORDER_ITEM.c.quantity,
    ).join(ORDER, and_(ORDER.c.id == ORDER_ITEM.c.orderId, ours))
    has_items = select(ORDER_ITEM.c.id).where(ORDER_ITEM.c.orderId == ORDER.c.id).exists()
    alone = select(ORDER.c.id, ORDER.c.productId, ORDER.c.quantity).where(
        ours, ORDER.c.productId.is_not(None), ~has_items
    )
    every = union_all(items, alone).subquery("every")
    quantity = func.sum(every.c.quantity)
    return (
        select(every.c.order_id, every.c.product_id, quantity.label("quantity"))
        .group_by(every.c.order_id, every.c.product_id)
        .having(quantity > 0)
    )


def _limited() -> ColumnElement[bool]:
    return and_(
        PRODUCT.c.type == "goods", ~PRODUCT.c.isUnlimitedStock, PRODUCT.c.stock.is_not(None)
    )


def released(order_id: str) -> Select[Any]:
    """Return what was given back for an order, for `explain`."""
    what = func.concat("gave back ", STOCK_RELEASE.c.quantity, " of ", STOCK_RELEASE.c.product_id)
    return select(STOCK_RELEASE.c.at, what).where(STOCK_RELEASE.c.order_id == order_id)


FACTS = released


def shelves(order_ids: Sequence[str]) -> Select[Any]:
    """Return the stock of every product in these orders, for a dry run."""
    lines = _lines(order_ids, true()).subquery("lines")
    return (
        select(PRODUCT.c.id, PRODUCT.c.title, PRODUCT.c.stock)
        .where(PRODUCT.c.id.in_(select(lines.c.product_id)))
        .order_by(PRODUCT.c.title, PRODUCT.c.id)
    )


def _restocked(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "product_id": before.get("id"),
        "title": before.get("title"),
        "before": before.get("stock"),
        "after": after.get("stock"),
    }


EFFECTS = (Effect("stock", "stock", shelves, _restocked),)
