"""The backlog: why each row is still due, the anomalies, the recent scans and the dead letters."""

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


def test_a_row_before_the_first_scan(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)

    assert {order: "no scan has been made yet"} == why(app)


def test_a_row_that_became_due_after_the_last_scan(app: App, shop: Shop) -> None:
    sweep(app)
    order = shop.order(age=HOUR)

    assert {order: "the next scan finds it"} == why(app)


def test_a_row_whose_job_waits_or_is_in_flight(app: App, shop: Shop) -> None:
    first, second = shop.order(age=2 * HOUR), shop.order(age=HOUR)
    scan(app)
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=60 * SECOND, quantity=1)

    assert {first: "is in flight", second: "waits in the queue"} == why(app)


def test_a_row_whose_job_is_retried(app: App, shop: Shop) -> None:
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


def test_a_row_that_the_brake_holds_back(app: App, shop: Shop) -> None:
    """L7: rows above the limit wait for a person's decision."""
    shop.order(age=HOUR)
    shop.order(age=HOUR)
    scan(app, limit=1)

    assert {"stopped: too many are due"} == set(why(app).values())


def test_a_row_whose_rule_is_disabled(open_app: OpenApp, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    app = open_app(rules__expire_dp__enabled=False)

    assert {order: "the rule is off"} == why(app)


def test_an_anomaly_is_shown_with_its_reason(app: App, shop: Shop) -> None:
    """L3: an order with evidence of payment is not cancelled."""
    order = shop.order(age=HOUR, dp_payment_id="pay-1")
    (anomaly,) = app.backlog_reader.read().anomalies["expire_dp"]

    assert (order, "pending_dp with evidence of payment") == anomaly


def test_consecutive_scans_that_found_nothing_are_combined(app: App, shop: Shop) -> None:
    for _ in range(2):
        sweep(app, trigger=Trigger.SCHEDULE)
    shop.order(age=31 * MINUTE)
    sweep(app, reason="by hand")
    sweep(app, trigger=Trigger.SCHEDULE)

    latest, *found, first = app.backlog_reader.read().sweeps

    assert isinstance(latest, QuietScans)
    assert isinstance(first, QuietScans)
    each = len(app.rules)
    assert (each, 2 * each) == (latest.scans, first.scans)
    assert first.first <= first.last <= latest.first <= latest.last
    by_hand = dict.fromkeys(app.rules, (0, "by hand")) | {"expire_dp": (1, "by hand")}
    assert by_hand == {
        scan.rule: (scan.found, scan.reason) for scan in found if isinstance(scan, Row)
    }


def test_dead_letters_are_grouped_by_cause(app: App, shop: Shop) -> None:
    """Errors that differ in ids only are one cause, shown with its latest dead letters."""
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
