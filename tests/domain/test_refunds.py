"""The refund ledger: a rejected order's down payment is recorded once, as due."""

from datetime import UTC
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from jobs.refund_ledger import mark_settled
from sweeper import UsageError
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HOUR,
    NOW,
    Connect,
    drain,
    rows,
    send,
    sweep,
    wait_for_a_blocked_session,
)

pytestmark = pytest.mark.usefixtures("frozen")


def unanswered(shop: Shop, **columns: Any) -> str:
    """Add an order that auto-refund finds."""
    usual: dict[str, Any] = {"age": 26 * HOUR, "paid_ago": 25 * HOUR}
    return shop.order(status="awaiting_validation", **usual | columns)


def refunds(connection: Connection) -> list[dict[str, Any]]:
    """Return all refunds, ordered by the id of the order."""
    return rows(connection, "sweeper.refund")


def test_the_down_payment_of_a_rejected_order_is_recorded_as_due(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: one row with order, amount, buyer and state; the sweeper pays nothing."""
    order = unanswered(shop, dp_amount=180_000, code="JST-ABC123-XY")

    sweep(app)

    (refund,) = refunds(connection)
    at = refund.pop("at")
    assert at.astimezone(UTC) == NOW
    assert {name: value for name, value in refund.items() if value is not None} == {
        "order_id": order,
        "order_code": "JST-ABC123-XY",
        "amount": 180_000,
        "buyer_name": "Sari Wulandari",
        "buyer_phone": "0812-0001-0001",
        "state": "due",
    }


def test_an_order_without_a_down_payment_has_no_refund(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = unanswered(shop, dp_amount=0)

    sweep(app)

    assert shop.status(order) == "rejected"
    assert refunds(connection) == []


def test_an_expired_order_has_no_refund(app: App, shop: Shop, connection: Connection) -> None:
    """DOMAIN 6: its down payment was never paid, whatever dpAmount says."""
    order = shop.order(age=HOUR, dp_amount=50_000)

    sweep(app)

    assert shop.status(order) == "cancelled"
    assert refunds(connection) == []


def test_each_order_of_a_batch_has_its_own_refund(
    app: App, shop: Shop, connection: Connection
) -> None:
    amounts = {unanswered(shop, dp_amount=amount): amount for amount in (10_000, 20_000, 30_000)}

    sweep(app)

    assert {row["order_id"]: row["amount"] for row in refunds(connection)} == amounts


def test_an_order_has_at_most_one_refund(app: App, shop: Shop, connection: Connection) -> None:
    """L1: an order that was sent back and rejected again has no second refund."""
    order = unanswered(shop, dp_amount=10_000)
    sweep(app)
    before = refunds(connection)
    connection.execute(
        text("""update "Order" set status = 'awaiting_validation', "dpAmount" = 99000""")
    )

    sweep(app)
    send(app, "ORDER_AUTO_REFUND", {"orderId": order})
    drain(app)

    assert shop.status(order) == "rejected"
    assert refunds(connection) == before


def test_a_settled_refund_stays_settled(app: App, shop: Shop, connection: Connection) -> None:
    unanswered(shop)
    sweep(app)
    connection.execute(text("update sweeper.refund set state = 'settled', reference = 'TRF-1'"))
    before = refunds(connection)
    connection.execute(text("""update "Order" set status = 'awaiting_validation'"""))

    sweep(app)

    assert refunds(connection) == before


def test_a_failed_rejection_records_no_refund(app: App, shop: Shop, connection: Connection) -> None:
    """L1: the refund is committed with the rejection, or rolled back with it."""
    full = shop.product(stock=2**31 - 1)
    order = unanswered(shop, items=[(full, 1)])

    assert sweep(app).jobs == Tally(retried=1)
    assert shop.status(order) == "awaiting_validation"
    assert refunds(connection) == []


def test_of_two_people_who_settle_a_refund_at_once_only_one_has_paid(
    app: App, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L1: the second waits for the first, and hears of its reference."""
    order = unanswered(shop)
    sweep(app)
    first, second = connect(), connect()
    assert mark_settled(first, order, "TRF-1", NOW)
    refused: list[str] = []

    def settle() -> None:
        try:
            mark_settled(second, order, "TRF-2", NOW)
            second.commit()
        except UsageError as error:
            refused.append(str(error))

    other = Thread(target=settle)
    other.start()
    wait_for_a_blocked_session(connection)
    first.commit()
    other.join()

    assert [f"order {order!r} was settled before, with reference 'TRF-1'"] == refused
    assert ["TRF-1"] == [refund["reference"] for refund in refunds(connection)]
