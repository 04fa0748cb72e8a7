"""A dry run says what a sweep would do, and a sweep then does just that."""

from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.sample_orders import INT_MAX
from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    Connect,
    OpenApp,
    broken,
    messages,
    rows,
    send,
    sweep,
)

TYPE = "ORDER_EXPIRE_DP"


def rehearsed(app: App, *rules: str, **options: Any) -> dict[str, Any]:
    """Return the document of a dry run."""
    return sweep(app, *rules, dry_run=True, **options).as_json()


def outcomes(told: dict[str, Any], rule: str = "expire_dp") -> dict[str, str]:
    """Return what would become of each order."""
    return {one["key"]: one["outcome"] for one in told["rules"][rule]["due"]}


def test_what_it_says_comes_true(app: App, shop: Shop, connection: Connection) -> None:
    """Orders, stock, notices and refunds, as they then stand in the platform's tables."""
    tin = shop.product(stock=3, title="Matcha")
    unpaid = shop.order(age=HOUR, items=[(tin, 2)], code="JST-AAAAAA-AA")
    silent = shop.guest(notify_whatsapp=False)
    unanswered = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=26 * HOUR,
        items=[(tin, 5)],
        dp_amount=75_000,
        guest=silent,
        code=None,
    )

    told = rehearsed(app)
    assert (shop.status(unpaid), shop.stock(tin)) == ("pending_dp", 3)
    sweep(app)

    effects = told["effects"]
    assert {row["order_id"]: row["after"] for row in effects["orders"]} == {
        order: shop.status(order) for order in (unpaid, unanswered)
    }
    assert effects["stock"] == [
        {"product_id": tin, "title": "Matcha", "before": 3, "after": shop.stock(tin)}
    ]
    (refund,) = rows(connection, "sweeper.refund")
    assert effects["refunds"] == [
        {name: refund[name] for name in ("order_id", "order_code", "amount")}
    ]
    log = text('select metadata->>\'orderId\', "eventType" from "NotificationLog"')
    assert {(row["order_id"], row["event_type"]) for row in effects["notices"]} == {
        tuple(row) for row in connection.execute(log)
    }


def test_it_says_why_and_for_how_long(app: App, shop: Shop) -> None:
    newer, older = shop.order(age=HOUR), shop.order(age=2 * HOUR)

    told = rehearsed(app)["rules"]["expire_dp"]

    assert told["orders"] == [older, newer] == [one["key"] for one in told["due"]]
    ages = [one["age_seconds"] for one in told["due"]]
    assert ages == pytest.approx([7_200, 3_600], abs=60)
    assert {one["reason"] for one in told["due"]} == {"the down payment did not come"}
    assert {one["outcome"] for one in told["due"]} == {"done"}


def test_it_names_what_is_left_alone(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg")

    told = rehearsed(app)["rules"]["expire_dp"]

    assert told["left_alone"] == [{"key": order, "reason": "pending_dp with evidence of payment"}]
    assert (told["anomalies"], told["orders"]) == (1, [])


def test_phones_are_masked(app: App, shop: Shop) -> None:
    """L11: a plan is a file that lies about."""
    shop.order(age=HOUR, participant=shop.participant(phone="0812-3456-7890"))

    (notice,) = rehearsed(app)["effects"]["notices"]

    assert "****" in notice["to"]
    assert "3456" not in notice["to"]


def test_an_order_that_would_fail_is_named_and_its_neighbours_are_not(app: App, shop: Shop) -> None:
    """The same halving, down to the culprit."""
    full = shop.product(stock=INT_MAX)
    good, bad = shop.order(age=HOUR), shop.order(age=HOUR, items=[(full, 1)])

    told = rehearsed(app)

    assert outcomes(told) == {good: "done", bad: "retried"}
    (failing,) = [one for one in told["rules"]["expire_dp"]["due"] if one["error"]]
    assert "NumericValueOutOfRange" in failing["error"]
    assert [row["order_id"] for row in told["effects"]["orders"]] == [good]


def test_an_order_that_somebody_holds_would_be_postponed(
    app: App, shop: Shop, connect: Connect
) -> None:
    held, free = shop.order(age=HOUR), shop.order(age=HOUR)
    connect().execute(text('select from "Order" where id = :id for update'), {"id": held})

    assert outcomes(rehearsed(app)) == {held: "postponed", free: "done"}


def test_what_nobody_may_touch_for_a_while_is_postponed(open_app: OpenApp, shop: Shop) -> None:
    """L5: the database's trouble is no error of the order's."""
    order = shop.order(age=HOUR)
    app = open_app()

    with broken(app, "Order", error="57014"):
        told = rehearsed(app)

    assert outcomes(told) == {order: "postponed"}


def test_it_writes_nothing_to_the_log(app: App, shop: Shop) -> None:
    """Logs say what happened: a real sweep tells of the anomaly as though none had been before."""
    shop.order(age=HOUR)
    shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg")

    with capture_logs() as lines:
        machine = app.sweep()
        rule = app.catalog.rule("expire_dp")
        machine.run([rule], limit=10, dry_run=True)
    assert lines == []

    with capture_logs() as lines:
        machine.run([rule], limit=10)
    assert [line["event"] for line in lines][:2] == ["order.anomaly", "scan.finished"]


def test_what_waits_in_the_queues_is_not_read(app: App, shop: Shop) -> None:
    """A sweep would work it off as well; a dry run is about what it would add."""
    order, other = shop.order(age=HOUR), shop.order(age=2 * HOUR)
    send(app, TYPE, {"orderId": other})

    told = rehearsed(app)

    assert outcomes(told) == {order: "done"}
    assert told["rules"]["expire_dp"]["already_queued"] == 1
    (message,) = messages(app)
    assert (message.read_ct, messages(app, OUTBOUND)) == (0, [])


def test_more_than_a_batch_is_rehearsed_whole(open_app: OpenApp, shop: Shop) -> None:
    product = shop.product(stock=0)
    shop.many(25, age=HOUR, product=product)
    app = open_app(queue__batch=10)

    told = rehearsed(app)

    assert set(outcomes(told).values()) == {"done"}
    (shelf,) = told["effects"]["stock"]
    assert (shelf["before"], shelf["after"], shop.stock(product)) == (0, 25, 0)
    assert sweep(app, scan_only=True).jobs == Tally()


def test_nothing_due_is_nothing_told(app: App) -> None:
    told = rehearsed(app)

    assert set(map(len, told["effects"].values())) == {0}
    assert [rule["due"] for rule in told["rules"].values()] == [[], []]
