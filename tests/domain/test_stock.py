"""The stock that a cancelled or rejected order took is returned, once."""

from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HOUR,
    NOW,
    QUEUE,
    STORED_NOW,
    Connect,
    OpenApp,
    changed,
    drain,
    make_visible,
    messages,
    rows,
    scan,
    send,
    sweep,
    wait_for_a_blocked_session,
)

pytestmark = pytest.mark.usefixtures("frozen")

INT_MAX = 2**31 - 1


def released(connection: Connection) -> set[tuple[str, str, int]]:
    """Return the recorded releases as (order, product, quantity)."""
    return {
        (row["order_id"], row["product_id"], row["quantity"])
        for row in rows(connection, "sweeper.stock_release")
    }


@pytest.mark.parametrize(
    ("taken_at", "unpaid", "unanswered"),
    [
        ("checkout", 12, 12),
        ("payment", 10, 12),
        ("acceptance", 10, 10),
        ("never", 10, 10),
    ],
)
def test_stock_is_returned_only_if_it_was_taken(
    *,
    open_app: OpenApp,
    shop: Shop,
    connection: Connection,
    taken_at: str,
    unpaid: int,
    unanswered: int,
) -> None:
    """DOMAIN 4: returning stock that was not taken invents stock; the reverse loses it."""
    app = open_app(stock__taken_at=taken_at)
    one, other = shop.product(stock=10), shop.product(stock=10)
    expired = shop.order(age=HOUR, items=[(one, 2)])
    rejected = shop.order(
        status="awaiting_validation", age=26 * HOUR, paid_ago=25 * HOUR, items=[(other, 2)]
    )

    sweep(app)

    assert (shop.status(expired), shop.status(rejected)) == ("cancelled", "rejected")
    assert (shop.stock(one), shop.stock(other)) == (unpaid, unanswered)
    expected = {(expired, one, 2)} if unpaid > 10 else set[tuple[str, str, int]]()
    expected |= {(rejected, other, 2)} if unanswered > 10 else set()
    assert released(connection) == expected


def test_order_lines_of_one_product_are_summed(
    app: App, shop: Shop, connection: Connection
) -> None:
    one, other = shop.product(stock=0), shop.product(stock=5)
    order = shop.order(age=HOUR, items=[(one, 1), (other, 4), (one, 2)])

    sweep(app)

    assert (shop.stock(one), shop.stock(other)) == (3, 9)
    assert released(connection) == {(order, one, 3), (order, other, 4)}


def test_orders_of_one_batch_that_share_products_are_summed(
    app: App, shop: Shop, connection: Connection
) -> None:
    one, other = shop.product(stock=10), shop.product(stock=10)
    first = shop.order(age=2 * HOUR, items=[(one, 1), (other, 1)])
    second = shop.order(age=HOUR, items=[(other, 2), (one, 4)])

    sweep(app)

    assert (shop.stock(one), shop.stock(other)) == (15, 13)
    assert released(connection) == {
        (first, one, 1),
        (first, other, 1),
        (second, one, 4),
        (second, other, 2),
    }


def test_an_order_without_items_returns_its_own_product(app: App, shop: Shop) -> None:
    """DOMAIN: the older single-product route fills productId and quantity on the order itself."""
    product = shop.product(stock=1)
    shop.order(age=HOUR, product=product, quantity=4, trip=None, guest=None, code=None)

    sweep(app)

    assert shop.stock(product) == 5


def test_an_order_with_items_returns_only_its_items(app: App, shop: Shop) -> None:
    """DOMAIN: the product in the order's own row is ignored if the order has items."""
    own, listed = shop.product(stock=10), shop.product(stock=10)
    shop.order(age=HOUR, product=own, quantity=3, items=[(listed, 2)])

    sweep(app)

    assert (shop.stock(own), shop.stock(listed)) == (10, 12)


def test_a_product_that_is_both_item_and_own_product_is_returned_as_item(
    app: App, shop: Shop
) -> None:
    product = shop.product(stock=10)
    shop.order(age=HOUR, product=product, quantity=1, items=[(product, 2)])

    sweep(app)

    assert shop.stock(product) == 12


def test_an_order_without_products_returns_nothing(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR)

    assert sweep(app).jobs.failed == 0
    assert shop.status(order) == "cancelled"
    assert released(connection) == set()


@pytest.mark.parametrize(
    "columns",
    [
        {"stock": None},
        {"stock": 5, "unlimited": True},
        {"stock": None, "unlimited": True},
        {"stock": 5, "type": "tasks"},
    ],
    ids=["not counted", "unlimited", "unlimited and uncounted", "tasks"],
)
def test_products_without_limited_stock_are_not_changed(
    app: App, shop: Shop, connection: Connection, columns: dict[str, Any]
) -> None:
    """DOMAIN 4: the job does not fail, and no release is recorded."""
    product, limited = shop.product(**columns), shop.product(stock=1)
    before = shop.row("Product", product)
    order = shop.order(age=HOUR, items=[(product, 2), (limited, 1)])

    assert sweep(app).jobs.failed == 0

    assert shop.row("Product", product) == before
    assert (shop.status(order), shop.stock(limited)) == ("cancelled", 2)
    assert released(connection) == {(order, limited, 1)}


@pytest.mark.parametrize(
    ("then", "current", "stock"), [("goods", "tasks", 5), ("tasks", "goods", 7)]
)
def test_the_current_type_of_the_product_decides(
    *, app: App, shop: Shop, connection: Connection, then: str, current: str, stock: int
) -> None:
    """DOMAIN 4: the order line's productType is only a snapshot."""
    product = shop.product(stock=5, type=then)
    shop.order(age=HOUR, items=[(product, 2)])
    connection.execute(text('update "Product" set type = :type'), {"type": current})

    sweep(app)

    assert shop.stock(product) == stock


def test_only_stock_and_updated_at_of_a_product_change(app: App, shop: Shop) -> None:
    product = shop.product(
        stock=3, description="bubuk", image="https://example.com/m.jpg", updated_at=NOW - HOUR
    )
    neighbour = shop.product(stock=3)
    shop.order(age=HOUR, items=[(product, 2)])
    before, untouched = shop.row("Product", product), shop.row("Product", neighbour)

    sweep(app)

    assert changed(before, shop.row("Product", product)) == {"stock": 5, "updatedAt": STORED_NOW}
    assert shop.row("Product", neighbour) == untouched


def test_stock_is_returned_only_once(app: App, shop: Shop, connection: Connection) -> None:
    """L1, DOMAIN 4: an order that was reopened and cancelled again returns nothing more."""
    product = shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(product, 2)])
    sweep(app)

    connection.execute(text("""update "Order" set status = 'pending_dp'"""))
    sweep(app)
    send(app, "STOCK_RELEASE", {"orderId": order, "shouldRefund": True})
    drain(app)

    assert (shop.status(order), shop.stock(product)) == ("cancelled", 3)
    assert released(connection) == {(order, product, 2)}


def test_a_recorded_release_blocks_only_its_own_product(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 4: each (order, product) once; the other products of the order are returned."""
    one, other = shop.product(stock=1), shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(one, 2), (other, 2)])
    connection.execute(
        text("insert into sweeper.stock_release values (:order, :product, 2, now())"),
        {"order": order, "product": one},
    )

    sweep(app)

    assert (shop.stock(one), shop.stock(other)) == (1, 3)


def test_an_overflow_fails_only_its_own_job(app: App, shop: Shop, connection: Connection) -> None:
    """DOMAIN 4, L1: the job has no effect, and the other jobs of the batch are done."""
    full, other = shop.product(stock=INT_MAX), shop.product(stock=0)
    others = [shop.order(age=n * HOUR, items=[(other, 1)]) for n in (5, 4, 2, 1)]
    failing = shop.order(age=3 * HOUR, items=[(other, 1), (full, 1)])
    before = shop.row("Order", failing)

    jobs = sweep(app).jobs

    assert (jobs.done, jobs.retried, jobs.dead) == (8, 1, 0)  # four orders and their notices
    assert {shop.status(order) for order in others} == {"cancelled"}
    assert (shop.stock(full), shop.stock(other)) == (INT_MAX, 4)
    assert shop.row("Order", failing) == before
    assert failing not in {order for order, _, _ in released(connection)}
    (left,) = messages(app, QUEUE)
    assert (left.body["payload"], left.body["retryCount"]) == ({"orderId": failing}, 1)
    assert "out of range" in left.body["lastError"]


def test_a_sum_of_order_lines_that_overflows_fails_the_job(app: App, shop: Shop) -> None:
    product = shop.product(stock=0, price=1)
    order = shop.order(age=HOUR, items=[(product, INT_MAX), (product, 1)])

    assert sweep(app).jobs == Tally(retried=1)
    assert (shop.status(order), shop.stock(product)) == ("pending_dp", 0)


def test_the_highest_stock_does_not_overflow(app: App, shop: Shop) -> None:
    product = shop.product(stock=INT_MAX - 2)
    shop.order(age=HOUR, items=[(product, 2)])

    sweep(app)

    assert shop.stock(product) == INT_MAX


def test_of_two_orders_that_overflow_together_only_one_fails(app: App, shop: Shop) -> None:
    """The first order is cancelled; the batch does not fail because of the sum of both."""
    product = shop.product(stock=INT_MAX - 1)
    first = shop.order(age=2 * HOUR, items=[(product, 1)])
    second = shop.order(age=HOUR, items=[(product, 1)])

    jobs = sweep(app).jobs

    assert (jobs.done, jobs.retried) == (2, 1)
    assert shop.stock(product) == INT_MAX
    assert (shop.status(first), shop.status(second)) == ("cancelled", "pending_dp")


def test_products_are_locked_in_the_order_of_their_ids(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """DOMAIN 4: two orders that share products must not deadlock."""
    app = open_app(database__lock_timeout="30s")
    first, second = sorted([shop.product(stock=1), shop.product(stock=1)])
    order = shop.order(age=HOUR, items=[(second, 1), (first, 1)])
    scan(app)
    lock = text('select from "Product" where id = :id for update nowait')
    holder, observer = connect(), connect()
    holder.execute(lock, {"id": second})

    worker = Thread(target=drain, args=[app])
    worker.start()
    try:
        wait_for_a_blocked_session(connection)
        with pytest.raises(OperationalError, match="could not obtain lock"):
            observer.execute(
                lock, {"id": first}
            )  # the worker has locked it, and waits for the second
    finally:
        observer.rollback()
        holder.rollback()
        worker.join()

    assert shop.status(order) == "cancelled"
    assert (shop.stock(first), shop.stock(second)) == (2, 2)


def test_a_concurrent_sale_is_not_lost(app: App, shop: Shop, connect: Connect) -> None:
    """A stock that another transaction changes is added to, not overwritten."""
    product = shop.product(stock=10)
    order = shop.order(age=HOUR, items=[(product, 2)])
    buyer = connect()
    buyer.execute(text('update "Product" set stock = stock - 3'))
    scan(app)

    assert drain(app) == Tally(postponed=1)
    assert shop.status(order) == "pending_dp"

    buyer.commit()
    make_visible(app)
    drain(app)
    assert (shop.status(order), shop.stock(product)) == ("cancelled", 9)
