"""Return the stock that an order took, at most once for each order and product."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache
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
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.dialects.postgresql import insert as postgres_insert

from jobs.tables import ORDER, ORDER_ITEM, PRODUCT
from jobs.values import AT, NOW, ORDERS, Ids, values_of
from sweeper import METADATA, Batch, Effect, Section


class TakenAt(StrEnum):
    """When the platform takes stock from a product."""

    CHECKOUT = "checkout"
    PAYMENT = "payment"
    ACCEPTANCE = "acceptance"
    NEVER = "never"


class StockSettings(Section):
    """The section `[stock]`: what the operator knows about the platform's stock."""

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


def was_taken(taken_at: TakenAt | None) -> ColumnElement[bool]:
    """Return the condition under which the platform has taken an order's stock."""
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


def release_stock(batch: Batch[Any], order_ids: list[str]) -> None:
    """Add the quantities that these orders took to the stock of limited goods, last of all.

    Many orders may share a product, whose row is thus locked for no longer than the commit takes.
    """
    if order_ids:
        batch.run_last(*releasing(batch, order_ids))


def releasing(batch: Batch[Any], order_ids: list[str]) -> tuple[Select[str], dict[str, Any]]:
    """Return the statement that returns stock and selects the orders it did so for; and its values.

    The caller must hold the row locks of the orders. Products are locked in the order of their
    ids, so that two orders that share products cannot deadlock.
    """
    return _releasing(batch.settings(StockSettings).taken_at), values_of(batch, order_ids)


@cache
def _releasing(taken_at: TakenAt | None) -> Select[str]:
    lines = _lines(ORDERS, was_taken(taken_at)).cte("lines")
    locked = (
        select(PRODUCT.c.id)
        .where(PRODUCT.c.id.in_(select(lines.c.product_id)), _limited())
        .order_by(PRODUCT.c.id)
        .with_for_update(key_share=True)
        .cte("locked")
    )
    released = (
        postgres_insert(STOCK_RELEASE)
        .from_select(
            ["order_id", "product_id", "quantity", "at"],
            select(
                lines.c.order_id,
                lines.c.product_id,
                cast(lines.c.quantity, Integer),
                AT,
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
        .values(stock=cast(PRODUCT.c.stock + sums.c.quantity, Integer), updatedAt=NOW)
        .cte("restocked")
    )
    return select(released.c.order_id).distinct().add_cte(restocked)


def add_stock(batch: Batch[Any], quantities: dict[str, int]) -> set[str]:
    """Add quantities to the stock of limited goods; return the ids of the updated products.

    quantities -- pieces to add, by product id
    """
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


def lock_products(batch: Batch[Any], order_ids: list[str], product_ids: list[str]) -> None:
    """Lock the limited goods of these orders and these products, in the order of their ids.

    A batch that calls both `release_stock` and `add_stock` calls this first: each of them locks in
    that order, but the second might lock a product that comes before those of the first.
    """
    taken_at = batch.settings(StockSettings).taken_at
    lines = _lines(order_ids, was_taken(taken_at)).subquery("lines")
    named = PRODUCT.c.id == any_(cast(product_ids, ARRAY(Text)))
    batch.tx.execute(
        select(PRODUCT.c.id)
        .where(or_(named, PRODUCT.c.id.in_(select(lines.c.product_id))), _limited())
        .order_by(PRODUCT.c.id)
        .with_for_update(key_share=True)
    )


def _lines(order_ids: Ids, taken: ColumnElement[bool]) -> Select[tuple[str, str, int]]:
    """Return what each order took as (order_id, product_id, quantity), one row for each product.

    An order without items took the product that stands in its own row.
    """
    ids = cast(order_ids, ARRAY(Text))
    wanted = and_(ORDER.c.id == any_(ids), taken)
    items = (
        select(
            ORDER_ITEM.c.orderId.label("order_id"),
            ORDER_ITEM.c.productId.label("product_id"),
            ORDER_ITEM.c.quantity,
        )
        .join(ORDER, and_(ORDER.c.id == ORDER_ITEM.c.orderId, wanted))
        .where(ORDER_ITEM.c.orderId == any_(ids))  # again: a planner may not see that it follows
    )
    has_items = select(ORDER_ITEM.c.id).where(ORDER_ITEM.c.orderId == ORDER.c.id).exists()
    without_items = select(ORDER.c.id, ORDER.c.productId, ORDER.c.quantity).where(
        wanted, ORDER.c.productId.is_not(None), ~has_items
    )
    lines = union_all(items, without_items).subquery("all_lines")
    quantity = func.sum(lines.c.quantity)
    return (
        select(lines.c.order_id, lines.c.product_id, quantity.label("quantity"))
        .group_by(lines.c.order_id, lines.c.product_id)
        .having(quantity > 0)
    )


def _limited() -> ColumnElement[bool]:
    return and_(
        PRODUCT.c.type == "goods", ~PRODUCT.c.isUnlimitedStock, PRODUCT.c.stock.is_not(None)
    )


def release_facts(order_id: str) -> Select[Any]:
    """Return the stock that was returned for an order, with its times, for `explain`."""
    what = func.concat("gave back ", STOCK_RELEASE.c.quantity, " of ", STOCK_RELEASE.c.product_id)
    return select(STOCK_RELEASE.c.at, what).where(STOCK_RELEASE.c.order_id == order_id)


FACTS = release_facts


def stock_of(order_ids: Sequence[str]) -> Select[Any]:
    """Return the stock of all products in these orders, for a dry run."""
    lines = _lines(order_ids, true()).subquery("lines")
    return (
        select(PRODUCT.c.id, PRODUCT.c.title, PRODUCT.c.stock)
        .where(PRODUCT.c.id.in_(select(lines.c.product_id)))
        .order_by(PRODUCT.c.title, PRODUCT.c.id)
    )


def _stock_effect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "product_id": before.get("id"),
        "title": before.get("title"),
        "before": before.get("stock"),
        "after": after.get("stock"),
    }


EFFECTS = (Effect("stock", "stock", stock_of, _stock_effect),)
