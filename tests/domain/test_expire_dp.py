"""ORDER_EXPIRE_DP: which orders are cancelled, how, and which are not changed."""

import json
from collections.abc import Callable
from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Connection, and_, func, text

from jobs.demo.sample_orders import UNUSUAL_IDS
from jobs.demo.shop import Shop
from jobs.expire_dp import REASON, unpaid
from jobs.orders import claim, claiming
from jobs.tables import ORDER
from jobs.values import CUTOFF
from sweeper import Batch
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HOUR,
    MINUTE,
    MS,
    STORED_NOW,
    Connect,
    OpenApp,
    changed,
    drain,
    job_outcomes,
    make_visible,
    scan,
    send,
    send_raw,
    sweep,
    wait_for_a_blocked_session,
    with_handler,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "ORDER_EXPIRE_DP"
LIMIT = 30 * MINUTE

OTHER_STATUSES = (
    "awaiting_validation",
    "awaiting_final_payment",
    "awaiting_final_validation",
    "paid",
    "rejected",
    "cancelled",
    "pending",
    "confirmed",
    "completed",
    "PENDING_DP",
    "Pending_DP",
    " pending_dp",
    "",
)

EVIDENCE: tuple[dict[str, Any], ...] = (
    {"paid_ago": HOUR},
    {"dp_proof_url": "https://example.com/dp.jpg"},
    {"dp_payment_id": "pay-1"},
    {"dp_proof_url": ""},
)


@pytest.mark.parametrize(("age", "found"), [(LIMIT + MS, 1), (LIMIT, 1), (LIMIT - MS, 0)])
def test_the_exact_limit_is_due(app: App, shop: Shop, age: timedelta, found: int) -> None:
    """DOMAIN: the exact limit counts as due, and a millisecond less does not."""
    shop.order(age=age)

    assert scan(app).found == found


@pytest.mark.parametrize(("age", "status"), [(LIMIT, "cancelled"), (LIMIT - MS, "pending_dp")])
def test_the_handler_checks_the_limit_again(
    app: App, shop: Shop, age: timedelta, status: str
) -> None:
    """L3: an order that is not due is not changed, whatever message arrives for it."""
    order = shop.order(age=age)
    send(app, TYPE, {"orderId": order})

    drain(app)

    assert shop.status(order) == status


def test_the_limit_is_configurable(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(rules__expire_dp__older_than="2h")
    young, old = shop.order(age=2 * HOUR - MS), shop.order(age=2 * HOUR)
    send(app, TYPE, {"orderId": young})

    sweep(app)

    assert (shop.status(young), shop.status(old)) == ("pending_dp", "cancelled")


def test_a_disabled_rule_finds_nothing(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(rules__expire_dp__enabled=False)
    order = shop.order(age=HOUR)

    assert sweep(app).rules.keys() == {"auto_refund"}
    assert shop.status(order) == "pending_dp"


def test_only_status_reason_and_updated_at_of_an_order_change(app: App, shop: Shop) -> None:
    """DOMAIN: both jobs write status, rejectionReason and updatedAt, and no other column."""
    order = shop.order(
        age=HOUR,
        items=[(shop.product(), 2)],
        notes="antar sore",
        proof_url="https://example.com/old.jpg",
        final_breakdown={"items": 150_000},
        validated_by="somebody",
        shipping_fee=20_000,
        service_fee=5_000,
        platform_commission=1_000,
        final_amount=120_000,
    )
    before = shop.row("Order", order)

    sweep(app)

    assert changed(before, shop.row("Order", order)) == {
        "status": "cancelled",
        "rejectionReason": REASON.format(limit="30 menit"),
        "updatedAt": STORED_NOW,
    }


@pytest.mark.parametrize("payment_type", ["full", "dp"])
def test_the_payment_type_of_the_trip_makes_no_difference(
    app: App, shop: Shop, payment_type: str
) -> None:
    order = shop.order(age=HOUR, trip=shop.trip(payment_type=payment_type))

    sweep(app)

    assert shop.status(order) == "cancelled"


@pytest.mark.parametrize("status", OTHER_STATUSES)
def test_orders_of_other_statuses_are_not_changed(app: App, shop: Shop, status: str) -> None:
    """L3: a message for an order of another status does not change it."""
    order = shop.order(status=status, age=24 * HOUR)
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})

    report = sweep(app, "expire_dp")

    assert (report.rules["expire_dp"].found, report.jobs) == (0, Tally(skipped=1))
    assert shop.row("Order", order) == before


@pytest.mark.parametrize("evidence", EVIDENCE, ids=lambda evidence: next(iter(evidence)))
def test_evidence_of_payment_is_an_anomaly(app: App, shop: Shop, evidence: dict[str, Any]) -> None:
    """L3: it may be paid, so the order is counted and reported, and not changed."""
    order = shop.order(age=LIMIT, **evidence)
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})

    report = sweep(app, "expire_dp")

    assert (report.rules["expire_dp"].found, report.rules["expire_dp"].anomalies) == (0, 1)
    assert report.jobs == Tally(skipped=1)
    assert shop.row("Order", order) == before


def test_an_order_that_is_not_overdue_is_not_an_anomaly(app: App, shop: Shop) -> None:
    shop.order(age=LIMIT - MS, paid_ago=MINUTE)

    assert scan(app).anomalies == 0


def test_an_order_paid_between_scan_and_drain_is_skipped(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L3: the job is skipped, and the payment stays."""
    order = shop.order(age=HOUR)
    scan(app)
    connection.execute(
        text(
            """update "Order" set status = 'awaiting_validation', "dpPaidAt" = "createdAt","""
            """ "dpProofUrl" = 'https://example.com/dp.jpg' where id = :id"""
        ),
        {"id": order},
    )
    before = shop.row("Order", order)

    assert drain(app) == Tally(skipped=1)
    assert shop.row("Order", order) == before
    assert job_outcomes(connection) == [(TYPE, order, "skipped", "not due")]


def test_an_order_deleted_between_scan_and_drain_is_skipped(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L3: the job of an order that no longer exists is skipped."""
    order = shop.order(age=HOUR)
    scan(app)
    connection.execute(text('delete from "Order"'))

    assert drain(app) == Tally(skipped=1)
    assert job_outcomes(connection) == [(TYPE, order, "skipped", "not due")]


def test_an_order_that_is_being_paid_is_postponed(app: App, shop: Shop, connect: Connect) -> None:
    """L3, L5: a locked order is postponed without waiting; once it is paid, it is skipped."""
    order = shop.order(age=HOUR)
    payer = connect()
    payer.execute(text("""update "Order" set status = 'awaiting_validation'"""))
    scan(app)

    assert drain(app) == Tally(postponed=1)

    payer.commit()
    make_visible(app)
    assert drain(app) == Tally(skipped=1)
    assert shop.status(order) == "awaiting_validation"


def test_an_order_whose_payment_was_rolled_back_is_cancelled(
    app: App, shop: Shop, connect: Connect
) -> None:
    order = shop.order(age=HOUR)
    payer = connect()
    payer.execute(text("""update "Order" set status = 'awaiting_validation'"""))
    scan(app)
    drain(app)

    payer.rollback()
    make_visible(app)

    assert drain(app).done == 2  # the order and its notice
    assert shop.status(order) == "cancelled"


def test_a_payment_that_commits_during_the_claim_is_not_overwritten(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L3: the claim has seen the order as due, and asks again once it has locked the row."""
    app = open_app(database__lock_timeout="30s")
    order = shop.order(age=HOUR)
    connection.execute(
        text(
            "create function public.gate(text) returns boolean language plpgsql as"
            " $$ begin perform pg_advisory_xact_lock_shared(1); return true; end $$"
        )
    )
    payer = connect()
    payer.execute(text("select pg_advisory_xact_lock(1)"))

    def expire(batch: Batch[Any]) -> None:
        due = and_(unpaid(CUTOFF), func.public.gate(ORDER.c.id))
        claim(batch, claiming(due, "cancelled"), REASON)

    scan(app)
    tallies: list[Any] = []
    drain = with_handler(app, TYPE, expire).drain()
    worker = Thread(target=lambda: tallies.append(drain.step()))
    worker.start()
    wait_for_a_blocked_session(connection)  # in the statement, with the order still unpaid
    payer.execute(text("""update "Order" set status = 'awaiting_validation'"""))
    payer.commit()
    worker.join()

    assert (tallies, shop.status(order)) == ([Tally(postponed=1)], "awaiting_validation")


@pytest.mark.parametrize(
    "payload",
    [
        lambda order: {"orderId": order},
        lambda order: {"orderIds": [order]},
        lambda order: {"orderIds": [order, order]},
        lambda order: {"orderId": order, "reason": "manual", "nested": {"a": [1]}},
        lambda order: json.dumps({"orderId": order}),
        lambda order: json.dumps({"orderIds": [order]}),
    ],
    ids=["one", "list", "twice", "more keys", "as text", "list as text"],
)
def test_every_payload_format_cancels_the_order_once(
    app: App, shop: Shop, connection: Connection, payload: Callable[[str], Any]
) -> None:
    """DOMAIN 5: every format of the payload that the platform sends is accepted."""
    order = shop.order(age=HOUR)
    send(app, TYPE, payload(order))

    drain(app)

    assert shop.status(order) == "cancelled"
    done = [row for row in job_outcomes(connection) if row[2] == "done"]
    assert done == [
        (TYPE, order, "done", None),
        ("NOTIFICATION_SEND_WHATSAPP", order, "done", None),
    ]


def test_a_body_that_is_a_json_string_is_parsed(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    send_raw(app, json.dumps(json.dumps({"type": TYPE, "payload": {"orderId": order}})))

    drain(app)

    assert shop.status(order) == "cancelled"


def test_a_list_of_ids_cancels_what_is_due_and_skips_the_rest(app: App, shop: Shop) -> None:
    """DOMAIN 5: every due order once; unknown ids and orders that are not due are skipped."""
    due = [shop.order(age=HOUR), shop.order(age=2 * HOUR)]
    young, paid = shop.order(age=MINUTE), shop.order(status="paid", age=HOUR)
    send(app, TYPE, {"orderIds": [due[0], young, "no-such-order", due[1], paid, due[0]]})

    tally = drain(app)

    assert (tally.done, tally.skipped, tally.dead) == (4, 3, 0)  # two orders, two notices
    assert [shop.status(order) for order in due] == ["cancelled", "cancelled"]
    assert (shop.status(young), shop.status(paid)) == ("pending_dp", "paid")


@pytest.mark.parametrize("order_id", UNUSUAL_IDS)
def test_unusual_ids_are_not_interpreted(app: App, shop: Shop, order_id: str) -> None:
    """Ids with quotes, percent signs, backslashes and non-ASCII letters are plain text."""
    other = shop.order(status="paid", age=HOUR)
    shop.order(id=order_id, age=HOUR, items=[(shop.usual_product, 1)])

    report = sweep(app, "expire_dp")

    assert (report.rules["expire_dp"].enqueued, report.jobs) == (1, Tally(done=2))
    assert (shop.status(order_id), shop.status(other)) == ("cancelled", "paid")
    assert shop.stock(shop.usual_product) == 11


def test_two_jobs_for_one_order_in_one_batch_cancel_it_once(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: the first is done, the second is skipped."""
    product = shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(product, 2)])
    for _ in range(2):
        send(app, TYPE, {"orderId": order})

    assert drain(app) == Tally(done=2, skipped=1)
    assert shop.stock(product) == 3
    assert job_outcomes(connection)[:2] == [
        (TYPE, order, "done", None),
        (TYPE, order, "skipped", "duplicate"),
    ]


def test_a_message_for_a_cancelled_order_is_skipped(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: the order is not changed a second time."""
    order = shop.order(age=HOUR)
    sweep(app)
    after = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})

    assert drain(app) == Tally(skipped=1)
    assert shop.row("Order", order) == after
    assert job_outcomes(connection)[-1] == (TYPE, order, "skipped", "not due")
