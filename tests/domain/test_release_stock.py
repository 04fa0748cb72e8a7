"""STOCK_RELEASE: what the platform asks to be given back, in all its dialects."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HIGH,
    HOUR,
    NOW,
    STORED_NOW,
    OpenApp,
    changed,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    send,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "STOCK_RELEASE"
INT_MAX = 2**31 - 1

PAID = {"paid_ago": HOUR}
ACCEPTED = {"validated_at": NOW - HOUR, "final_breakdown": {"items": 1}}


@pytest.mark.parametrize("status", ["cancelled", "rejected"])
def test_an_ended_order_gives_back_what_it_took(
    app: App, shop: Shop, connection: Connection, status: str
) -> None:
    one, other = shop.product(stock=1), shop.product(stock=1)
    order = shop.order(status=status, age=HOUR, items=[(one, 2), (other, 1), (one, 1)])
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    assert drain(app) == Tally(done=1)

    assert (shop.stock(one), shop.stock(other)) == (4, 2)
    assert shop.row("Order", order) == before
    books = {
        (row["product_id"], row["quantity"]) for row in rows(connection, "sweeper.stock_release")
    }
    assert books == {(one, 3), (other, 1)}


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
def test_an_order_that_goes_on_keeps_its_stock(app: App, shop: Shop, status: str) -> None:
    product = shop.product(stock=1)
    order = shop.order(status=status, items=[(product, 2)])
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(product) == 1


@pytest.mark.parametrize("asked", [{"shouldRefund": False}, {"shouldRefund": None}, {}])
def test_without_a_refund_no_stock_moves(app: App, shop: Shop, asked: dict[str, Any]) -> None:
    """DOMAIN 5: false or absent changes no stock."""
    product = shop.product(stock=1)
    order = shop.order(status="cancelled", items=[(product, 2)])
    send(app, TYPE, {"orderId": order, **asked})

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
def test_only_what_was_taken_is_given_back(
    open_app: OpenApp, shop: Shop, taken_at: str, columns: dict[str, Any], stock: int
) -> None:
    """DOMAIN 5: by the operator's rule and the order's own evidence."""
    app = open_app(stock__taken_at=taken_at)
    product = shop.product(stock=1)
    order = shop.order(status="rejected", age=2 * HOUR, items=[(product, 2)], **columns)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})

    drain(app)

    assert shop.stock(product) == stock


def test_an_order_gives_back_once_however_often_it_is_asked(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: in one batch, and later again."""
    product = shop.product(stock=1)
    order = shop.order(status="cancelled", items=[(product, 2)])
    for _ in range(2):
        send(app, TYPE, {"orderId": order, "shouldRefund": True})
    drain(app)
    send(app, TYPE, {"orderId": order, "shouldRefund": True})
    drain(app)

    assert shop.stock(product) == 3
    assert len(rows(connection, "sweeper.stock_release")) == 1


def test_one_batch_may_ask_for_refunds_and_for_none(app: App, shop: Shop) -> None:
    one, other = shop.product(stock=1), shop.product(stock=1)
    asked = shop.order(status="cancelled", items=[(one, 2)])
    not_asked = shop.order(status="cancelled", items=[(other, 2)])
    send(app, TYPE, {"orderId": not_asked, "shouldRefund": False})
    send(app, TYPE, {"orderId": asked, "shouldRefund": True})

    assert drain(app) == Tally(done=1, skipped=1)
    assert (shop.stock(one), shop.stock(other)) == (3, 1)


def test_an_unknown_order_is_skipped(app: App) -> None:
    send(app, TYPE, {"orderId": "no-such-order", "shouldRefund": True})

    assert drain(app) == Tally(skipped=1)


@pytest.mark.parametrize("taken_at", ["checkout", "never"])
def test_a_product_gets_the_quantity_added(open_app: OpenApp, shop: Shop, taken_at: str) -> None:
    """DOMAIN 5: once per message, whenever the platform takes its stock."""
    app = open_app(stock__taken_at=taken_at)
    product = shop.product(stock=1, updated_at=NOW - HOUR)
    before = shop.row("Product", product)
    send(app, TYPE, {"productId": product, "quantity": 4})

    assert drain(app) == Tally(done=1)
    assert changed(before, shop.row("Product", product)) == {"stock": 5, "updatedAt": STORED_NOW}
    assert drain(app) == Tally()


def test_each_message_adds_once(app: App, shop: Shop) -> None:
    """Two messages are two releases, in one batch as in two."""
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
    ids=["nobody counts", "unlimited", "tasks"],
)
def test_a_product_that_is_not_limited_is_left_untouched(
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
def test_what_says_neither_order_nor_product_is_dead_at_once(
    app: App, payload: dict[str, Any]
) -> None:
    send(app, TYPE, payload)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["invalid"]


def test_an_overflow_is_executed_three_times_and_then_dead(app: App, shop: Shop) -> None:
    """DOMAIN 5: STOCK_RELEASE has two retries; its neighbour does not wait for them."""
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


def test_it_is_worked_where_the_platform_sends_it_and_where_it_belongs(
    app: App, shop: Shop
) -> None:
    """DESIGN: the platform sends everything to one queue; its own home is the high one."""
    product = shop.product(stock=0)
    assert app.queues.home(app.catalog.job(TYPE)) == HIGH
    send(app, TYPE, {"productId": product, "quantity": 1})
    send(app, TYPE, {"productId": product, "quantity": 2}, queue=HIGH)

    assert drain(app) == Tally(done=2)
    assert shop.stock(product) == 3
    assert messages(app, HIGH) == []


def test_an_order_that_vanished_is_skipped(app: App, shop: Shop, connection: Connection) -> None:
    order = shop.order(status="cancelled", items=[(shop.usual_product, 1)])
    send(app, TYPE, {"orderId": order, "shouldRefund": True})
    connection.execute(text('delete from "Order"'))

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(shop.usual_product) == 10
