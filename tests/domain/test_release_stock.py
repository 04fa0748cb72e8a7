"""STOCK_RELEASE: the platform asks to return the stock of an order, or to add to a product."""

from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HIGH,
    HOUR,
    NOW,
    STORED_NOW,
    Connect,
    OpenApp,
    changed,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    send,
    wait_for_a_blocked_session,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "STOCK_RELEASE"
INT_MAX = 2**31 - 1

PAID = {"paid_ago": HOUR}
ACCEPTED = {"validated_at": NOW - HOUR, "final_breakdown": {"items": 1}}


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_a_cancelled_or_rejected_order_returns_its_stock(
    app: App, shop: Shop, connection: Connection, status: str
) -> None:
    one, other = shop.product(stock=1), shop.product(stock=1)
    order = shop.order(status=status, age=HOUR, items=[(one, 2), (other, 1), (one, 1)])
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    assert drain(app) == Tally(done=1)

    assert (shop.stock(one), shop.stock(other)) == (4, 2)
    assert shop.row("Order", order) == before
    recorded = {
        (row["product_id"], row["quantity"]) for row in rows(connection, "sweeper.stock_release")
    }
    assert recorded == {(one, 3), (other, 1)}


@pytest.mark.parametrize(
    "status",
    [
        "pending_dp",
        "awaiting_validation",
        "awaiting_final_payment",
        "awaiting_final_validation",
        "paid",
        "completed",
        "Cancelled",
    ],
)
def test_an_active_order_keeps_its_stock(app: App, shop: Shop, status: str) -> None:
    product = shop.product(stock=1)
    order = shop.order(status=status, items=[(product, 2)])
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(product) == 1


@pytest.mark.parametrize("fields", [{"shouldRefund": False}, {"shouldRefund": None}, {}])
def test_without_should_refund_no_stock_changes(
    app: App, shop: Shop, fields: dict[str, Any]
) -> None:
    """DOMAIN 5: shouldRefund is false, null or absent."""
    product = shop.product(stock=1)
    order = shop.order(status="cancelled", items=[(product, 2)])
    send(app, TYPE, {"orderId": order, **fields})

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(product) == 1


@pytest.mark.parametrize(
    ("taken_at", "columns", "stock"),
    [
        ("checkout", {}, 3),
        ("payment", PAID, 3),
        ("payment", {}, 1),
        ("acceptance", ACCEPTED, 3),
        ("acceptance", {"validated_at": NOW - HOUR}, 1),
        ("acceptance", {"final_breakdown": {"items": 1}}, 1),
        ("acceptance", PAID, 1),
        ("never", PAID | ACCEPTED, 1),
    ],
)
def test_stock_is_returned_only_if_it_was_taken(
    open_app: OpenApp, shop: Shop, taken_at: str, columns: dict[str, Any], stock: int
) -> None:
    """DOMAIN 5: the setting stock.taken_at and the columns of the order decide."""
    app = open_app(stock__taken_at=taken_at)
    product = shop.product(stock=1)
    order = shop.order(status="rejected", age=2 * HOUR, items=[(product, 2)], **columns)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    drain(app)

    assert shop.stock(product) == stock


def test_an_order_returns_its_stock_only_once(app: App, shop: Shop, connection: Connection) -> None:
    """L1: two messages in one batch, and another one later."""
    product = shop.product(stock=1)
    order = shop.order(status="cancelled", items=[(product, 2)])
    for _ in range(2):
        send(app, TYPE, {"orderId": order, "shouldRefund": True})
    drain(app)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})
    drain(app)

    assert shop.stock(product) == 3
    assert len(rows(connection, "sweeper.stock_release")) == 1


def test_one_batch_may_contain_jobs_with_and_without_should_refund(app: App, shop: Shop) -> None:
    one, other = shop.product(stock=1), shop.product(stock=1)
    to_release = shop.order(status="cancelled", items=[(one, 2)])
    to_keep = shop.order(status="cancelled", items=[(other, 2)])
    send(app, TYPE, {"orderId": to_keep, "shouldRefund": False})
    send(app, TYPE, {"orderId": to_release, "shouldRefund": True})

    assert drain(app) == Tally(done=1, skipped=1)
    assert (shop.stock(one), shop.stock(other)) == (3, 1)


def test_an_unknown_order_is_skipped(app: App) -> None:
    send(app, TYPE, {"orderId": "no-such-order", "shouldRefund": True})

    assert drain(app) == Tally(skipped=1)


@pytest.mark.parametrize("taken_at", ["checkout", "never"])
def test_the_quantity_is_added_to_the_product(open_app: OpenApp, shop: Shop, taken_at: str) -> None:
    """DOMAIN 5: once for each message, whatever stock.taken_at is."""
    app = open_app(stock__taken_at=taken_at)
    product = shop.product(stock=1, updated_at=NOW - HOUR)
    before = shop.row("Product", product)
    send(app, TYPE, {"productId": product, "quantity": 4})

    assert drain(app) == Tally(done=1)
    assert changed(before, shop.row("Product", product)) == {"stock": 5, "updatedAt": STORED_NOW}
    assert drain(app) == Tally()


def test_each_message_adds_its_quantity_once(app: App, shop: Shop) -> None:
    """Two messages for one product are two releases, in one batch or in two."""
    product, other = shop.product(stock=0), shop.product(stock=0)
    send(app, TYPE, {"productId": product, "quantity": 4})
    send(app, TYPE, {"productId": other, "quantity": 1})
    send(app, TYPE, {"productId": product, "quantity": 4})
    drain(app)
    send(app, TYPE, {"productId": product, "quantity": 2})
    drain(app)

    assert (shop.stock(product), shop.stock(other)) == (10, 1)


@pytest.mark.parametrize(
    "columns",
    [{"stock": None}, {"stock": 5, "unlimited": True}, {"stock": 5, "type": "tasks"}],
    ids=["not counted", "unlimited", "tasks"],
)
def test_a_product_without_limited_stock_is_not_changed(
    app: App, shop: Shop, columns: dict[str, Any]
) -> None:
    product = shop.product(**columns)
    before = shop.row("Product", product)
    send(app, TYPE, {"productId": product, "quantity": 4})

    assert drain(app) == Tally(skipped=1)
    assert shop.row("Product", product) == before


def test_an_unknown_product_is_skipped(app: App, connection: Connection) -> None:
    send(app, TYPE, {"productId": "no-such-product", "quantity": 1})

    assert drain(app) == Tally(skipped=1)
    assert [(key, outcome) for _, key, outcome, _ in job_outcomes(connection)] == [
        ("no-such-product", "skipped")
    ]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"productId": "p"},
        {"quantity": 1},
        {"productId": "p", "quantity": 0},
        {"productId": "p", "quantity": -1},
        {"productId": "p", "quantity": 1.5},
        {"productId": "p", "quantity": True},
        {"productId": "p", "quantity": "many"},
        {"productId": "p", "quantity": INT_MAX + 1},
        {"productId": "", "quantity": 1},
        {"orderId": "", "shouldRefund": True},
        {"orderId": 5, "shouldRefund": True},
        {"orderId": "o", "shouldRefund": "yes"},
    ],
    ids=str,
)
def test_an_invalid_payload_is_dead_at_once(app: App, payload: dict[str, Any]) -> None:
    send(app, TYPE, payload)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["invalid"]


def test_an_overflow_is_dead_after_three_executions(app: App, shop: Shop) -> None:
    """DOMAIN 5: STOCK_RELEASE has two retries; the other job does not wait for them."""
    full, other = shop.product(stock=INT_MAX), shop.product(stock=0)
    send(app, TYPE, {"productId": full, "quantity": 1}, maxRetries=...)
    send(app, TYPE, {"productId": other, "quantity": 1}, maxRetries=...)

    tallies = []
    for _ in range(3):
        tallies.append(drain(app))
        make_visible(app)

    assert tallies == [Tally(done=1, retried=1), Tally(retried=1), Tally(dead=1)]
    assert (shop.stock(full), shop.stock(other)) == (INT_MAX, 1)
    assert [(letter.reason, letter.attempts) for letter in dead_letters(app)] == [("exhausted", 3)]


def test_its_messages_are_fetched_from_the_high_and_the_default_queue(app: App, shop: Shop) -> None:
    """DESIGN: the platform sends everything to one queue; the type's own queue is the high one."""
    product = shop.product(stock=0)
    assert app.queues.home(app.catalog.job(TYPE)) == HIGH
    send(app, TYPE, {"productId": product, "quantity": 1})
    send(app, TYPE, {"productId": product, "quantity": 2}, queue=HIGH)

    assert drain(app) == Tally(done=2)
    assert shop.stock(product) == 3
    assert messages(app, HIGH) == []


def test_a_deleted_order_is_skipped(app: App, shop: Shop, connection: Connection) -> None:
    order = shop.order(status="cancelled", items=[(shop.usual_product, 1)])
    send(app, TYPE, {"orderId": order, "shouldRefund": True})
    connection.execute(text('delete from "Order"'))

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(shop.usual_product) == 10


def test_products_of_orders_and_of_messages_are_locked_in_one_order(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """DOMAIN 4: a batch of both forms must not deadlock with a batch that shares its products."""
    app = open_app(database__lock_timeout="30s")
    first, second = sorted([shop.product(stock=1), shop.product(stock=1)])
    order = shop.order(status="cancelled", items=[(second, 1)])
    send(app, TYPE, {"orderId": order, "shouldRefund": True})
    send(app, TYPE, {"productId": first, "quantity": 1})
    lock = text('select from "Product" where id = :id for update nowait')
    holder, other = connect(), connect()
    holder.execute(lock, {"id": second})

    worker = Thread(target=drain, args=[app])
    worker.start()
    try:
        wait_for_a_blocked_session(connection)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            other.execute(lock, {"id": first})  # locked by the worker, which waits for the second
    finally:
        other.rollback()
        holder.rollback()
        worker.join()

    assert (shop.stock(first), shop.stock(second)) == (2, 2)
