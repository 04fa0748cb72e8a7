"""What stands behind the numbers: why a row is still due, and what became of recent scans."""

from sqlalchemy import Row

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.ledger import Trigger
from sweeper.monitoring.backlog import QuietScans
from tests.support.verbs import (
    HOUR,
    MINUTE,
    QUEUE,
    SECOND,
    OpenApp,
    broken,
    drain,
    scan,
    send,
    sweep,
)


def why(app: App) -> dict[str, str]:
    """Return why each row is still due, by key."""
    return {late.key: late.why for late in app.backlog_reader.read().late["expire_dp"]}


def test_a_row_that_nobody_has_looked_for(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)

    assert {order: "no scan has been made yet"} == why(app)


def test_a_row_that_came_after_the_last_scan(app: App, shop: Shop) -> None:
    sweep(app)
    order = shop.order(age=HOUR)

    assert {order: "the next scan finds it"} == why(app)


def test_a_row_whose_job_waits_or_is_worked(app: App, shop: Shop) -> None:
    first, second = shop.order(age=2 * HOUR), shop.order(age=HOUR)
    scan(app)
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=60 * SECOND, quantity=1)

    assert {first: "is being worked", second: "waits in the queue"} == why(app)


def test_a_row_whose_job_failed_and_is_tried_again(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)

    assert why(app)[order].startswith("is tried again at ")


def test_a_row_whose_job_is_dead(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
    with broken(app, "Order"):
        drain(app)

    assert {order: "dead letter 1: exhausted"} == why(app)


def test_a_row_that_the_brake_holds(app: App, shop: Shop) -> None:
    """L7."""
    shop.order(age=HOUR)
    shop.order(age=HOUR)
    scan(app, limit=1)

    assert {"the brake holds"} == set(why(app).values())


def test_a_row_whose_rule_is_off(open_app: OpenApp, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    app = open_app(rules__expire_dp__enabled=False)

    assert {order: "the rule is off"} == why(app)


def test_what_is_left_alone_has_its_reason(app: App, shop: Shop) -> None:
    """L3."""
    order = shop.order(age=HOUR, dp_payment_id="pay-1")
    (odd,) = app.backlog_reader.read().anomalies["expire_dp"]

    assert (order, "pending_dp with evidence of payment") == odd


def test_scans_that_found_nothing_are_one_line(app: App, shop: Shop) -> None:
    for _ in range(2):
        sweep(app, trigger=Trigger.SCHEDULE)
    shop.order(age=31 * MINUTE)
    sweep(app, reason="by hand")
    sweep(app, trigger=Trigger.SCHEDULE)

    latest, *found, first = app.backlog_reader.read().sweeps

    assert isinstance(latest, QuietScans)
    assert isinstance(first, QuietScans)
    assert (2, 4) == (latest.scans, first.scans)
    assert first.first <= first.last <= latest.first <= latest.last
    assert [("auto_refund", 0, "by hand"), ("expire_dp", 1, "by hand")] == sorted(
        (scan.rule, scan.found, scan.reason) for scan in found if isinstance(scan, Row)
    )


def test_dead_letters_are_told_by_their_cause(app: App, shop: Shop) -> None:
    """What differs in ids and numbers only is one cause, told by its latest letters."""
    orders = [shop.order(age=HOUR) for _ in range(7)]
    for order in orders:
        send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
    send(app, "ORDER_EXPIRE", {})
    with broken(app, "Order"):
        drain(app)

    common, single = app.backlog_reader.read().causes

    assert ("ORDER_EXPIRE_DP", "exhausted", 7) == (common.type, common.reason, common.count)
    assert (5, orders[-1]) == (len(common.ids), common.keys[0])
    assert "out of order" in common.error
    assert ("unknown_type", 1) == (single.reason, single.count)
