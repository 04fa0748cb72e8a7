"""One pass of `sweep` or `drain`: it ends, even while somebody holds a lock."""

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HIGH,
    HOUR,
    QUEUE,
    Connect,
    OpenApp,
    make_visible,
    messages,
    scan,
    send,
)

STEPS = 100  # a pass with more steps than this would not end

pytestmark = pytest.mark.usefixtures("frozen")


def drain(app: App, *, visible: bool = False) -> Tally:
    """Make one pass over the queues; fail after a hundred steps.

    visible -- make every message visible after each step, as though its delay had ended
    """
    steps = list[Tally]()

    def progress(tally: Tally) -> None:
        steps.append(tally)
        if visible:
            make_visible(app)

    total = app.sweep(stopping=lambda: len(steps) >= STEPS).drain(progress)
    assert len(steps) < STEPS
    return total


@pytest.mark.parametrize("visible", [False, True])
def test_a_pass_ends_while_somebody_holds_a_product(
    app: App, shop: Shop, connect: Connect, *, visible: bool
) -> None:
    """Each of twenty orders on one held product is tried twice at most."""
    product = shop.product()
    orders = [shop.order(age=HOUR, items=[(product, 1)]) for _ in range(20)]
    scan(app)
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))

    tally = drain(app, visible=visible)

    assert Tally(postponed=tally.postponed) == tally
    assert 20 <= tally.postponed <= 40
    assert {"pending_dp"} == {shop.status(order) for order in orders}
    assert {0} == {message.read_ct for message in messages(app)}
    buyer.commit()
    make_visible(app)
    assert 20 + 20 == drain(app).done  # the orders and their notices


def test_a_pass_ends_while_somebody_holds_an_order(app: App, shop: Shop, connect: Connect) -> None:
    """A handler that postpones a job sends it again, as another message."""
    shop.order(age=HOUR)
    scan(app)
    buyer = connect()
    buyer.execute(text('select from "Order" for update'))

    assert Tally(postponed=2) == drain(app, visible=True)
    assert [0] == [message.read_ct for message in messages(app)]


def test_a_queue_that_gives_only_postponed_jobs_does_not_end_the_pass_for_the_others(
    open_app: OpenApp, shop: Shop, connect: Connect
) -> None:
    """L6: what is held in the high queue holds up neither the normal queue nor the notices."""
    app = open_app(queue__batch=1)
    held = shop.product()
    orders = [shop.order(age=HOUR) for _ in range(10)]
    scan(app)
    send(app, "STOCK_RELEASE", {"productId": held, "quantity": 1}, queue=HIGH)
    buyer = connect()
    buyer.execute(text('select from "Product" where id = :id for update'), {"id": held})

    tally = drain(app, visible=True)

    assert Tally(done=20, postponed=2) == tally
    assert {"cancelled"} == {shop.status(order) for order in orders}
    assert ([], 1) == (messages(app, QUEUE), len(messages(app, HIGH)))


def test_a_queue_with_other_jobs_is_not_left_for_one_that_is_held(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L6: a step that meets a held job again beside a new one says nothing about the rest."""
    app = open_app(queue__batch=2)
    held = shop.product()
    for hours in (9, 8, 7):
        shop.order(age=hours * HOUR, items=[(held, 1)])
    free = shop.order(age=HOUR)
    scan(app)
    buyer = connect()
    buyer.execute(text('select from "Product" where id = :id for update'), {"id": held})
    only_the_first = text(
        f"update pgmq.q_{QUEUE} set vt = case when msg_id = (select min(msg_id) from"
        f" pgmq.q_{QUEUE}) then now() else now() + interval '1 hour' end"
        " where message ? 'postponed'"
    )
    begun = iter([True])

    def progress(_tally: Tally) -> None:
        if next(begun, False):
            connection.execute(only_the_first)

    assert 2 == app.sweep().drain(progress).done  # the order and its notice
    assert "cancelled" == shop.status(free)
