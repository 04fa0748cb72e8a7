"""ORDER_AUTO_REFUND: which orders are rejected, how, and which are not changed."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.auto_refund import REASON
from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    DAY,
    HOUR,
    MINUTE,
    MS,
    NOW,
    STORED_NOW,
    changed,
    drain,
    job_outcomes,
    scan,
    send,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "ORDER_AUTO_REFUND"
LIMIT = 24 * HOUR

OTHER_STATUSES = (
    "pending_dp",
    "awaiting_final_payment",
    "awaiting_final_validation",
    "paid",
    "rejected",
    "cancelled",
    "pending",
    "confirmed",
    "completed",
    "AWAITING_VALIDATION",
    "awaiting_validation ",
)


def unanswered(shop: Shop, paid_ago: timedelta = LIMIT, **columns: Any) -> str:
    """Add an order that the jastiper has not answered, created an hour before it was paid."""
    usual: dict[str, Any] = {"status": "awaiting_validation", "age": paid_ago + HOUR}
    return shop.order(paid_ago=paid_ago, **usual | columns)


@pytest.mark.parametrize(("paid_ago", "found"), [(LIMIT + MS, 1), (LIMIT, 1), (LIMIT - MS, 0)])
def test_the_exact_limit_is_due(app: App, shop: Shop, paid_ago: timedelta, found: int) -> None:
    """DOMAIN: the exact limit counts as due, and a millisecond less does not."""
    unanswered(shop, paid_ago)

    assert scan(app, "auto_refund").found == found


@pytest.mark.parametrize(
    ("paid_ago", "status"), [(LIMIT, "rejected"), (LIMIT - MS, "awaiting_validation")]
)
def test_the_handler_checks_the_limit_again(
    app: App, shop: Shop, paid_ago: timedelta, status: str
) -> None:
    """L3: an order that is not due is not changed, whatever message arrives for it."""
    order = unanswered(shop, paid_ago)
    send(app, TYPE, {"orderId": order})

    drain(app)

    assert shop.status(order) == status


def test_the_time_of_payment_counts_and_not_the_time_of_checkout(app: App, shop: Shop) -> None:
    order = unanswered(shop, MINUTE, age=30 * DAY)

    assert scan(app, "auto_refund").found == 0
    assert shop.status(order) == "awaiting_validation"


def test_only_status_reason_and_updated_at_of_an_order_change(app: App, shop: Shop) -> None:
    """DOMAIN: validatedAt, validatedBy, dpPaidAt, amounts and proofs stay as they are."""
    order = unanswered(
        shop,
        items=[(shop.product(), 2)],
        notes="antar sore",
        dp_proof_url="https://example.com/dp.jpg",
        dp_payment_id="pay-1",
        shipping_fee=20_000,
        service_fee=5_000,
        platform_commission=1_000,
        final_amount=120_000,
    )
    before = shop.row("Order", order)

    sweep(app)

    assert changed(before, shop.row("Order", order)) == {
        "status": "rejected",
        "rejectionReason": REASON.format(limit="24 jam"),
        "updatedAt": STORED_NOW,
    }


@pytest.mark.parametrize("payment_type", ["full", "dp"])
def test_the_payment_type_of_the_trip_makes_no_difference(
    app: App, shop: Shop, payment_type: str
) -> None:
    order = unanswered(shop, trip=shop.trip(payment_type=payment_type))

    sweep(app)

    assert shop.status(order) == "rejected"


@pytest.mark.parametrize("status", OTHER_STATUSES)
def test_orders_of_other_statuses_are_not_changed(app: App, shop: Shop, status: str) -> None:
    """L3: a message for an order of another status does not change it."""
    order = unanswered(shop, status=status)
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})

    report = sweep(app, "auto_refund")

    assert (report.rules["auto_refund"].found, report.jobs) == (0, Tally(skipped=1))
    assert shop.row("Order", order) == before


@pytest.mark.parametrize(
    "columns",
    [
        {"age": LIMIT},
        {"age": 2 * DAY, "paid_ago": LIMIT, "validated_at": NOW - 47 * HOUR},
        {
            "age": 9 * DAY,
            "paid_ago": 8 * DAY,
            "validated_at": NOW - 7 * DAY,
            "final_breakdown": {"items": 1},
        },
    ],
    ids=["never paid", "answered before", "sent back after a failed final payment"],
)
def test_a_stuck_order_is_an_anomaly(app: App, shop: Shop, columns: dict[str, Any]) -> None:
    """L3: it looks due but cannot be judged, so it is counted and reported, and not changed."""
    order = shop.order(status="awaiting_validation", **columns)
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})

    report = sweep(app, "auto_refund")

    assert (report.rules["auto_refund"].found, report.rules["auto_refund"].anomalies) == (0, 1)
    assert report.jobs == Tally(skipped=1)
    assert shop.row("Order", order) == before


@pytest.mark.parametrize(
    "columns",
    [
        {"age": LIMIT - MS},
        {"age": 2 * DAY, "paid_ago": LIMIT - MS, "validated_at": NOW - 47 * HOUR},
    ],
    ids=["never paid", "answered before"],
)
def test_an_order_that_is_not_overdue_is_not_an_anomaly(
    app: App, shop: Shop, columns: dict[str, Any]
) -> None:
    shop.order(status="awaiting_validation", **columns)

    assert scan(app, "auto_refund").anomalies == 0


@pytest.mark.parametrize(
    "answer",
    [
        """status = 'awaiting_final_payment', "validatedAt" = now(), "finalBreakdown" = '{}'""",
        """status = 'rejected', "validatedAt" = now(), "rejectionReason" = 'habis'""",
    ],
    ids=["accepted", "rejected by hand"],
)
def test_an_order_answered_between_scan_and_drain_is_skipped(
    app: App, shop: Shop, connection: Connection, answer: str
) -> None:
    """L3: the job is skipped, and the jastiper's answer stays."""
    order = unanswered(shop)
    scan(app, "auto_refund")
    connection.execute(text(f'update "Order" set {answer}'))
    before = shop.row("Order", order)

    assert drain(app) == Tally(skipped=1)
    assert shop.row("Order", order) == before
    assert job_outcomes(connection) == [(TYPE, order, "skipped", "not due")]


@pytest.mark.parametrize(
    "payload",
    [
        lambda order: {"orderId": order},
        lambda order: {"orderIds": [order, "no-such-order"]},
        lambda order: json.dumps({"orderId": order}),
    ],
    ids=["one", "list", "as text"],
)
def test_every_payload_format_rejects_the_order_once(
    app: App, shop: Shop, connection: Connection, payload: Callable[[str], Any]
) -> None:
    """DOMAIN 5: every format of the payload that the platform sends is accepted."""
    order = unanswered(shop)
    send(app, TYPE, payload(order))

    drain(app)

    assert shop.status(order) == "rejected"
    done = [row for row in job_outcomes(connection) if row[0] == TYPE and row[2] == "done"]
    assert done == [(TYPE, order, "done", None)]


def test_a_message_of_the_other_rule_changes_nothing(app: App, shop: Shop) -> None:
    """An order belongs to one rule, and jobs of the other rule's type are skipped."""
    unpaid, waiting = shop.order(age=HOUR), unanswered(shop)
    send(app, TYPE, {"orderId": unpaid})
    send(app, "ORDER_EXPIRE_DP", {"orderId": waiting})

    assert drain(app) == Tally(skipped=2)
    assert (shop.status(unpaid), shop.status(waiting)) == ("pending_dp", "awaiting_validation")
