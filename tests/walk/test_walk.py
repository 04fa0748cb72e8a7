"""One order from beginning to end: it becomes due, is scanned, fetched, completed and recorded."""

from dataclasses import asdict

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection

from jobs.auto_refund import REASON as REJECTED
from jobs.demo.shop import Shop
from jobs.expire_dp import REASON as CANCELLED
from jobs.whatsapp.texts import render_text
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.sweep.scan import ScanResult
from tests.support.verbs import (
    HOUR,
    MINUTE,
    MS,
    OUTBOUND,
    changed,
    job_outcomes,
    messages,
    rows,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")

NOTHING = ScanResult(found=0, enqueued=0, already_queued=0, dead=0, braked=0, anomalies=0)
ONE = ScanResult(found=1, enqueued=1, already_queued=0, dead=0, braked=0, anomalies=0)


def test_an_unpaid_order_is_cancelled_and_its_buyer_notified(
    app: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    """Every step is checked: scan, drain, stock, notice, job log and a second sweep."""
    # Sari puts two tins of matcha into her order; the platform takes them from the shelf.
    matcha = shop.product(stock=8)
    order = shop.order(items=[(matcha, 2)], code="JST-ABC123-XY")
    placed = shop.row("Order", order)

    # For 30 minutes less a millisecond, no rule finds it.
    frozen.tick(30 * MINUTE - MS)
    assert sweep(app).rules == dict.fromkeys(app.rules, NOTHING)

    # Then the order is due: the scan enqueues one message, and changes nothing else.
    frozen.tick(MS)
    found = sweep(app, scan_only=True)
    assert found.rules == dict.fromkeys(app.rules, NOTHING) | {"expire_dp": ONE}
    assert [message.body for message in messages(app)] == [
        {
            "type": "ORDER_EXPIRE_DP",
            "payload": {"orderId": order},
            "retryCount": 0,
            "maxRetries": 3,
            "createdAt": "2026-01-31T12:30:00.000Z",
            "sweepId": found.options.sweep_id,
        }
    ]
    assert shop.row("Order", order) == placed

    # The drain fetches the message, cancels the order, returns the tins and enqueues a notice.
    assert app.drain().step() == Tally(done=1)
    assert changed(placed, shop.row("Order", order)) == {
        "status": "cancelled",
        "rejectionReason": CANCELLED.format(limit="30 menit"),
        "updatedAt": placed["createdAt"] + 30 * MINUTE,
    }
    assert shop.stock(matcha) == 10
    assert messages(app) == []
    (notice,) = rows(connection, '"NotificationLog"')
    assert notice["status"] == "queued"
    assert [message.body["payload"]["messageId"] for message in messages(app, OUTBOUND)] == [
        notice["id"]
    ]

    # The outbound lane sends the notice.
    assert app.outbound().step() == Tally(done=1)
    (notice,) = rows(connection, '"NotificationLog"')
    assert (notice["status"], notice["sentAt"]) == ("sent", placed["createdAt"] + 30 * MINUTE)
    text = render_text(notice["eventType"], notice["metadata"])
    assert text.startswith("Halo Sari Wulandari,")
    assert "JST-ABC123-XY" in text
    assert "30 menit" in text

    # The job log has both jobs.
    assert [row[:3] for row in job_outcomes(connection)] == [
        ("ORDER_EXPIRE_DP", order, "done"),
        ("NOTIFICATION_SEND_WHATSAPP", order, "done"),
    ]
    assert {row["sweep_id"] for row in rows(connection, "sweeper.job_log")} == {
        found.options.sweep_id,
        None,
    }

    # A second sweep finds nothing, and all queues are empty.
    again = sweep(app)
    assert again.rules == dict.fromkeys(app.rules, NOTHING)
    assert again.jobs == Tally()
    status = app.status_reader.read()
    for depth in status.queues.values():
        assert (depth.ready, depth.in_flight, depth.delayed) == (0, 0, 0)
    assert asdict(status.dead) == {"count": 0, "oldest_seconds": 0}
    for rule in status.rules.values():
        assert (rule.overdue, rule.anomalies, rule.last_sweep_ok) == (0, 0, True)


def test_an_unanswered_order_is_rejected_and_its_down_payment_refunded(
    app: App, shop: Shop, connection: Connection, frozen: FrozenDateTimeFactory
) -> None:
    """The buyer has paid, the jastiper does not answer for 24 hours: both get a notice."""
    # Sari has paid the down payment; the jastiper does not answer.
    shoes = shop.product(stock=0)
    order = shop.order(
        status="awaiting_validation",
        age=HOUR,
        paid_ago=0 * MINUTE,
        items=[(shoes, 1)],
        dp_amount=180_000,
        dp_proof_url="https://example.com/dp.jpg",
    )
    paid = shop.row("Order", order)

    frozen.tick(24 * HOUR - MS)
    assert sweep(app).rules == dict.fromkeys(app.rules, NOTHING)

    # One sweep does everything: the job of the order, and its two notices.
    frozen.tick(MS)
    report = sweep(app)
    assert report.rules == dict.fromkeys(app.rules, NOTHING) | {"auto_refund": ONE}
    assert report.jobs == Tally(done=3)

    assert changed(paid, shop.row("Order", order)) == {
        "status": "rejected",
        "rejectionReason": REJECTED.format(limit="24 jam"),
        "updatedAt": paid["dpPaidAt"] + 24 * HOUR,
    }
    assert shop.stock(shoes) == 1

    # The sweeper moves no money: it records the refund as due.
    (refund,) = rows(connection, "sweeper.refund")
    assert (refund["order_id"], refund["amount"], refund["state"]) == (order, 180_000, "due")

    # The buyer's notice says that it will be returned; the jastiper's names the missed order.
    missed, rejected = rows(connection, '"NotificationLog"', order_by='"eventType"')
    assert (missed["eventType"], missed["status"]) == ("ORDER_MISSED", "sent")
    assert (rejected["eventType"], rejected["status"]) == ("ORDER_REJECTED", "sent")
    text = render_text(rejected["eventType"], rejected["metadata"])
    assert "Rp 180.000 akan diproses" in text

    again = sweep(app)
    assert (again.rules["auto_refund"], again.jobs) == (NOTHING, Tally())
