"""A dry run shows what a sweep would do, and a sweep then does exactly that."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.sample_orders import INT_MAX
from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.postgres.database import Database
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    Connect,
    OpenApp,
    Run,
    broken,
    messages,
    rows,
    send,
    sweep,
)

TYPE = "ORDER_EXPIRE_DP"
END_OTHER_SESSIONS = text(
    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
    " where datname = current_database() and pid <> pg_backend_pid()"
)


def dry_run_report(app: App, *rules: str, **options: Any) -> dict[str, Any]:
    """Run a dry run; return its JSON document."""
    return sweep(app, *rules, dry_run=True, **options).as_json()


def outcomes(report: dict[str, Any], rule: str = "expire_dp") -> dict[str, str]:
    """Return the predicted outcome of each order, by id."""
    return {one["key"]: one["outcome"] for one in report["rules"][rule]["due"]}


def test_a_sweep_does_what_the_dry_run_predicted(
    app: App, shop: Shop, connection: Connection
) -> None:
    """The predicted effects are compared with the rows after the sweep."""
    tin = shop.product(stock=3, title="Matcha")
    unpaid = shop.order(age=HOUR, items=[(tin, 2)], code="JST-AAAAAA-AA")
    opted_out = shop.guest(notify_whatsapp=False)
    unanswered = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=26 * HOUR,
        items=[(tin, 5)],
        dp_amount=75_000,
        guest=opted_out,
        code=None,
    )

    report = dry_run_report(app)
    assert (shop.status(unpaid), shop.stock(tin)) == ("pending_dp", 3)
    sweep(app)

    effects = report["effects"]
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


def test_it_shows_reason_and_age_of_each_order(app: App, shop: Shop) -> None:
    newer, older = shop.order(age=HOUR), shop.order(age=2 * HOUR)

    report = dry_run_report(app)["rules"]["expire_dp"]

    assert report["orders"] == [older, newer] == [one["key"] for one in report["due"]]
    ages = [one["age_seconds"] for one in report["due"]]
    assert ages == pytest.approx([7_200, 3_600], abs=60)
    assert {one["reason"] for one in report["due"]} == {"the down payment did not come"}
    assert {one["outcome"] for one in report["due"]} == {"done"}


def test_it_shows_anomalies_as_left_alone(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg", code=None)

    report = dry_run_report(app)["rules"]["expire_dp"]

    assert report["left_alone"] == [
        {"key": order, "code": None, "reason": "pending_dp with evidence of payment"}
    ]
    assert (report["anomalies"], report["orders"]) == (1, [])


def test_phones_are_masked(app: App, shop: Shop) -> None:
    """L11: a plan is saved as a file that others may read."""
    shop.order(age=HOUR, participant=shop.participant(phone="0812-3456-7890"))

    (notice,) = dry_run_report(app)["effects"]["notices"]

    assert "****" in notice["to"]
    assert "3456" not in notice["to"]


def test_an_order_that_would_fail_is_isolated(app: App, shop: Shop) -> None:
    """The batch is halved until the failing order is alone, as in a sweep."""
    full = shop.product(stock=INT_MAX)
    good, bad = shop.order(age=HOUR), shop.order(age=HOUR, items=[(full, 1)])

    report = dry_run_report(app)

    assert outcomes(report) == {good: "done", bad: "retried"}
    (failing,) = [one for one in report["rules"]["expire_dp"]["due"] if one["error"]]
    assert "NumericValueOutOfRange" in failing["error"]
    assert [row["order_id"] for row in report["effects"]["orders"]] == [good]


def test_a_locked_order_would_be_postponed(app: App, shop: Shop, connect: Connect) -> None:
    held, free = shop.order(age=HOUR), shop.order(age=HOUR)
    connect().execute(text('select from "Order" where id = :id for update'), {"id": held})

    assert outcomes(dry_run_report(app)) == {held: "postponed", free: "done"}


def test_an_order_is_postponed_if_the_database_is_in_trouble(open_app: OpenApp, shop: Shop) -> None:
    """L5: an error of the database is not an error of the order."""
    order = shop.order(age=HOUR)
    app = open_app()

    with broken(app, "Order", error="57014"):
        report = dry_run_report(app)

    assert outcomes(report) == {order: "postponed"}


def test_it_logs_no_events(app: App, shop: Shop) -> None:
    """Events say what happened; the sweep afterwards logs the anomaly as a new one."""
    shop.order(age=HOUR)
    shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg")

    with capture_logs() as lines:
        sweeper = app.sweep()
        rule = app.catalog.rule("expire_dp")
        sweeper.run([rule], limit=10, dry_run=True)
    assert lines == []

    with capture_logs() as lines:
        sweeper.run([rule], limit=10)
    assert [line["event"] for line in lines][:2] == ["order.anomaly", "scan.finished"]


def test_it_does_not_read_the_queues(app: App, shop: Shop) -> None:
    """A dry run is about the orders that a sweep would enqueue, not about queued messages."""
    order, other = shop.order(age=HOUR), shop.order(age=2 * HOUR)
    send(app, TYPE, {"orderId": other})

    report = dry_run_report(app)

    assert outcomes(report) == {order: "done"}
    assert report["rules"]["expire_dp"]["already_queued"] == 1
    (message,) = messages(app)
    assert (message.read_ct, messages(app, OUTBOUND)) == (0, [])


def test_it_covers_more_orders_than_one_batch(open_app: OpenApp, shop: Shop) -> None:
    product = shop.product(stock=0)
    shop.many(25, age=HOUR, product=product)
    app = open_app(queue__batch=10)

    report = dry_run_report(app)

    assert set(outcomes(report).values()) == {"done"}
    (effect,) = report["effects"]["stock"]
    assert (effect["before"], effect["after"], shop.stock(product)) == (0, 25, 0)
    assert sweep(app, scan_only=True).jobs == Tally()


def test_without_due_orders_it_shows_nothing(app: App) -> None:
    report = dry_run_report(app)

    assert set(map(len, report["effects"].values())) == {0}
    assert [rule["due"] for rule in report["rules"].values()] == [[], []]


@pytest.mark.parametrize("number", [3, 6], ids=["of a scan", "of a batch"])
def test_a_dry_run_that_loses_its_connection_in_a_transaction_says_so(
    shop: Shop, connection: Connection, run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Its transactions are savepoints of one; nothing is changed."""
    order, transaction, begun = shop.order(age=HOUR), Database.transaction, list[int]()

    @contextmanager
    def cut(database: Database, **options: Any) -> Iterator[Connection]:
        with transaction(database, **options) as tx:
            begun.append(len(begun) + 1)
            if begun[-1] == number:
                connection.execute(END_OTHER_SESSIONS)
            yield tx

    monkeypatch.setattr(Database, "transaction", cut)
    code, out, err = run("sweep", "--dry-run")

    assert (69, "") == (code, out), err
    assert err.startswith("sweeper: database at "), err
    assert "pending_dp" == shop.status(order)
