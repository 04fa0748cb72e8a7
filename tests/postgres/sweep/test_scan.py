"""The scan: due rows become messages, and the counts add up."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from secrets import token_hex
from threading import Thread
from typing import Any

import psycopg
import pytest
from freezegun.api import FrozenDateTimeFactory
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper import Batch, RejectedError
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import ClockSkewedError, DatabaseUnusableError
from sweeper.postgres import row_lock
from sweeper.postgres.clock import now
from sweeper.sweep.scan import ScanResult
from tests.support.verbs import (
    DAY,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    NOW,
    OUTBOUND,
    QUEUE,
    SECOND,
    Connect,
    OpenApp,
    broken,
    dead_letters,
    drain,
    messages,
    rows,
    scan,
    send,
    send_raw,
    sweep,
    wait_for_a_blocked_session,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"

frozen_clock = pytest.mark.usefixtures("frozen")


def keys(app: App, queue: str = QUEUE) -> list[str]:
    """Return the order ids of the messages in a queue, oldest first."""
    return [message.body["payload"]["orderId"] for message in messages(app, queue)]


def dead_letter_job(app: App, order: str) -> None:
    """Add a dead letter for an order."""

    def refuse(_batch: Batch[Any]) -> None:
        raise RejectedError

    send(app, TYPE, {"orderId": order})
    drain(with_handler(app, TYPE, refuse))


@frozen_clock
def test_a_sweep_of_an_empty_shop_finds_nothing(app: App) -> None:
    report = sweep(app)

    nothing = ScanResult(found=0, enqueued=0, already_queued=0, dead=0, braked=0, anomalies=0)
    assert report.rules == dict.fromkeys(app.rules, nothing)
    assert report.jobs == Tally()


@frozen_clock
def test_every_row_that_is_found_is_counted_once(app: App, shop: Shop) -> None:
    """L8: found = enqueued + already queued + dead + braked."""
    queued, dead, listed = (shop.order(age=HOUR) for _ in range(3))
    fresh = [shop.order(age=HOUR) for _ in range(4)]
    shop.order(age=HOUR, paid_ago=MINUTE)
    shop.order(age=MINUTE)
    dead_letter_job(app, dead)
    send(app, TYPE, {"orderId": queued})
    send(app, TYPE, {"orderIds": [listed, "somebody else's"]})

    found = scan(app)

    assert found == ScanResult(found=7, enqueued=4, already_queued=2, dead=1, braked=0, anomalies=1)
    assert {message.body["payload"].get("orderId") for message in messages(app)} == {
        queued,
        None,
        *fresh,
    }


@frozen_clock
def test_a_second_scan_does_not_enqueue_a_waiting_job_again(app: App, shop: Shop) -> None:
    """L8: an order has at most one waiting job from the scans."""
    shop.order(age=HOUR)
    scan(app)

    assert scan(app) == ScanResult(
        found=1, enqueued=0, already_queued=1, dead=0, braked=0, anomalies=0
    )
    assert len(messages(app)) == 1


@frozen_clock
@pytest.mark.parametrize("queue", [HIGH, QUEUE, LOW, OUTBOUND])
@pytest.mark.parametrize(
    "payload",
    [lambda order: {"orderId": order}, lambda order: {"orderIds": ["x", order]}],
    ids=["one", "list"],
)
def test_an_order_with_a_message_in_any_live_queue_is_already_queued(
    app: App, shop: Shop, queue: str, payload: Callable[[str], Any]
) -> None:
    """This holds in both forms of the payload, because the platform sends its own messages."""
    order = shop.order(age=HOUR)
    send(app, TYPE, payload(order), queue=queue)

    found = scan(app)

    assert (found.enqueued, found.already_queued) == (0, 1)


@frozen_clock
def test_an_order_whose_job_is_in_flight_or_delayed_is_already_queued(app: App, shop: Shop) -> None:
    """A worker has read it, or it waits for its retry."""
    failing, in_flight = shop.order(age=2 * HOUR), shop.order(age=HOUR)
    send(app, TYPE, {"orderId": failing})
    with broken(app, "Order"):
        assert drain(app) == Tally(retried=1)
    send(app, TYPE, {"orderId": in_flight})
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=timedelta(seconds=30), quantity=1)

    found = scan(app)

    assert (found.enqueued, found.already_queued) == (0, 2)


@frozen_clock
def test_a_message_of_another_type_does_not_count(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    send(app, "STOCK_RELEASE", {"orderId": order, "shouldRefund": True})
    send(app, "ORDER_AUTO_REFUND", {"orderId": order})

    assert scan(app).enqueued == 1


@frozen_clock
def test_an_order_with_a_dead_letter_is_not_enqueued_again(app: App, shop: Shop) -> None:
    """L8: a dead letter waits for a person, and not for the next scan."""
    order = shop.order(age=HOUR)
    dead_letter_job(app, order)

    assert scan(app) == ScanResult(
        found=1, enqueued=0, already_queued=0, dead=1, braked=0, anomalies=0
    )
    assert messages(app) == []
    assert [dead_letter.key for dead_letter in dead_letters(app)] == [order]


@frozen_clock
def test_an_order_with_a_dead_letter_and_a_message_counts_once(app: App, shop: Shop) -> None:
    """L8: it counts as already queued, so that the sum does not count it twice."""
    order = shop.order(age=HOUR)
    dead_letter_job(app, order)
    send(app, TYPE, {"orderId": order})

    assert scan(app) == ScanResult(
        found=1, enqueued=0, already_queued=1, dead=0, braked=0, anomalies=0
    )


@frozen_clock
def test_a_dead_letter_of_one_type_does_not_block_another_type(app: App, shop: Shop) -> None:
    """An order whose expiry was dead-lettered may be paid later and become due for a refund."""
    order = shop.order(status="awaiting_validation", age=3 * DAY, paid_ago=2 * DAY)
    dead_letter_job(app, order)

    found = scan(app, "auto_refund")

    assert (found.enqueued, found.dead) == (1, 0)


@frozen_clock
def test_orders_are_enqueued_oldest_first(app: App, shop: Shop) -> None:
    """Orders with equal times are sorted by id."""
    young, old = shop.order(age=HOUR), shop.order(age=3 * HOUR)
    twins = sorted(shop.order(age=2 * HOUR) for _ in range(3))

    scan(app)

    assert keys(app) == [old, *twins, young]


@frozen_clock
def test_many_orders_are_enqueued_oldest_first(app: App, shop: Shop) -> None:
    prefix = shop.many(250, age=HOUR)

    scan(app)

    assert keys(app) == [f"{prefix}{n:08}" for n in range(1, 251)]


@frozen_clock
@pytest.mark.parametrize(("limit", "enqueued", "braked"), [(2, 0, 3), (3, 3, 0), (4, 3, 0)])
def test_the_brake_holds_above_the_limit_and_not_at_it(
    *, app: App, shop: Shop, connection: Connection, limit: int, enqueued: int, braked: int
) -> None:
    """L7: above the limit no order is enqueued; at exactly the limit, all are."""
    for _ in range(3):
        shop.order(age=HOUR)

    with capture_logs() as lines:
        found = scan(app, limit=limit)

    assert found == ScanResult(
        found=3, enqueued=enqueued, already_queued=0, dead=0, braked=braked, anomalies=0
    )
    assert len(messages(app)) == enqueued
    levels = [line["log_level"] for line in lines if line["event"] == "scan.braked"]
    assert levels == (["error"] if braked else [])
    (row,) = rows(connection, "sweeper.sweep")
    assert (row["braked"], row["ok"]) == (braked, not braked)


@frozen_clock
def test_the_brake_counts_all_due_orders_and_not_only_new_ones(app: App, shop: Shop) -> None:
    """L7: three orders are due, above the limit of two, although two of them are queued."""
    first, second, _ = (shop.order(age=HOUR) for _ in range(3))
    send(app, TYPE, {"orderIds": [first, second]})

    found = scan(app, limit=2)

    assert found == ScanResult(found=3, enqueued=0, already_queued=2, dead=0, braked=1, anomalies=0)


@frozen_clock
def test_the_brake_of_one_rule_does_not_affect_another_rule(app: App, shop: Shop) -> None:
    """L7: the limit applies to each rule separately."""
    unpaid = [shop.order(age=HOUR) for _ in range(3)]
    waiting = shop.order(status="awaiting_validation", age=3 * DAY, paid_ago=2 * DAY)

    report = sweep(app, limit=2)

    assert report.braked
    assert {shop.status(order) for order in unpaid} == {"pending_dp"}
    assert shop.status(waiting) == "rejected"


@frozen_clock
def test_the_limit_is_a_setting(open_app: OpenApp, shop: Shop) -> None:
    """L7: the setting is `safety.max_per_sweep`."""
    app = open_app(safety__max_per_sweep=1)
    shop.order(age=HOUR)
    assert not sweep(app, scan_only=True).braked

    shop.order(age=HOUR)
    assert sweep(app, scan_only=True).braked


@frozen_clock
def test_a_dry_run_changes_nothing(app: App, shop: Shop, connection: Connection) -> None:
    """The report names the orders that a sweep would have enqueued, oldest first."""
    orders = [shop.order(age=age) for age in (3 * HOUR, 2 * HOUR, HOUR)]
    send(app, TYPE, {"orderId": orders[1]})
    before = [shop.row("Order", order) for order in orders]

    report = sweep(app, dry_run=True)

    assert report.rules["expire_dp"] == ScanResult(
        found=3,
        enqueued=2,
        already_queued=1,
        dead=0,
        braked=0,
        anomalies=0,
        keys=(orders[0], orders[2]),
    )
    assert report.dry_run
    assert report.as_json()["rules"]["expire_dp"]["orders"] == [orders[0], orders[2]]
    assert report.jobs == Tally()
    assert [shop.row("Order", order) for order in orders] == before
    assert len(messages(app)) == 1
    assert rows(connection, "sweeper.sweep") == []


@frozen_clock
def test_a_dry_run_reports_the_brake(app: App, shop: Shop) -> None:
    """L7: the report names no orders, because none would have been enqueued."""
    for _ in range(2):
        shop.order(age=HOUR)

    found = scan(app, limit=1, dry_run=True)

    assert (found.braked, found.keys) == (2, ())


@frozen_clock
def test_every_scan_is_recorded_in_the_ledger(app: App, shop: Shop, connection: Connection) -> None:
    """L8: actor, reason, cutoff and counts are recorded in the transaction of the messages."""
    order = shop.order(age=HOUR)
    shop.order(age=2 * HOUR, paid_ago=HOUR)

    report = sweep(app, "expire_dp", actor="ops", reason="a drill", scan_only=True)

    (row,) = rows(connection, "sweeper.sweep")
    recorded = {
        name: row[name] for name in ("rule", "job_type", "trigger", "actor", "reason", "keys")
    }
    assert recorded == {
        "rule": "expire_dp",
        "job_type": TYPE,
        "trigger": "manual",
        "actor": "ops",
        "reason": "a drill",
        "keys": [order],
    }
    assert (row["at"], row["cutoff"]) == (NOW, NOW - 30 * MINUTE)
    counts = ("found", "enqueued", "already_queued", "dead", "braked", "anomalies")
    assert tuple(row[name] for name in counts) == (1, 1, 0, 0, 0, 1)
    assert row["ok"]
    assert str(row["id"]) == report.options.sweep_id
    assert [message.body["sweepId"] for message in messages(app)] == [report.options.sweep_id]


@frozen_clock
def test_the_rules_of_one_sweep_share_its_id(app: App, connection: Connection) -> None:
    sweep(app)

    sweeps = rows(connection, "sweeper.sweep")
    assert {row["rule"] for row in sweeps} == set(app.rules)
    assert len({row["id"] for row in sweeps}) == 1


@frozen_clock
def test_a_failed_scan_leaves_neither_messages_nor_a_record(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2: messages and record commit together, and the next scan finds the order again."""
    shop.order(age=HOUR)
    connection.execute(text("alter table sweeper.sweep add constraint refuse check (false)"))

    with pytest.raises(DBAPIError, match="refuse"):
        scan(app)
    assert messages(app) == []

    connection.execute(text("alter table sweeper.sweep drop constraint refuse"))
    assert scan(app).enqueued == 1


@frozen_clock
def test_an_anomaly_is_logged_once_and_counted_in_every_scan(app: App, shop: Shop) -> None:
    order = shop.order(age=2 * HOUR, paid_ago=HOUR)

    with capture_logs() as lines:
        counted = [scan(app).anomalies for _ in range(2)]

    logged = [line for line in lines if line["event"] == "order.anomaly"]
    assert counted == [1, 1]
    assert [(line["rule"], line["key"]) for line in logged] == [("expire_dp", order)]


@frozen_clock
def test_a_scan_waits_for_another_one_and_sees_its_messages(
    app: App, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L8: scans of one job type run one after another, so that no order is enqueued twice."""
    order = shop.order(age=HOUR)
    other = connect()
    row_lock.take(other, app.database, f"scan.{TYPE}")
    body = json.dumps({"type": TYPE, "payload": {"orderId": order}})
    other.execute(
        text("select pgmq.send(cast(:queue as text), cast(:body as jsonb))"),
        {"queue": QUEUE, "body": body},
    )
    found: list[ScanResult] = []

    second = Thread(target=lambda: found.append(scan(app)))
    second.start()
    wait_for_a_blocked_session(connection)
    other.commit()
    second.join()

    assert [(one.enqueued, one.already_queued) for one in found] == [(0, 1)]


@pytest.mark.parametrize("offset", [HOUR, -HOUR, 6 * SECOND, -6 * SECOND])
def test_no_order_is_changed_while_the_clocks_differ_too_much(
    open_app: OpenApp, shop: Shop, frozen: FrozenDateTimeFactory, offset: timedelta
) -> None:
    """L4: this host's clock may be neither ahead of the database's nor behind it by too much."""
    app = open_app(safety__max_clock_skew="5s")
    order = shop.order(age=HOUR)
    frozen.move_to(_database_time(app) + offset)

    with capture_logs() as lines, pytest.raises(ClockSkewedError):
        scan(app)

    assert [line["event"] for line in lines] == ["clock.skewed"]
    assert shop.status(order) == "pending_dp"
    assert messages(app) == []


def test_no_message_is_worked_while_the_clocks_differ_too_much(
    open_app: OpenApp, shop: Shop, frozen: FrozenDateTimeFactory
) -> None:
    """L4: a clock that is ahead must not make a new order look due to the handler."""
    app = open_app(safety__max_clock_skew="5s")
    frozen.move_to(_database_time(app))
    fresh = shop.order(created_at=now() - MINUTE)
    send(app, TYPE, {"orderId": fresh})
    frozen.tick(2 * HOUR)

    with pytest.raises(ClockSkewedError):
        drain(app)

    assert shop.status(fresh) == "pending_dp"
    assert [message.read_ct for message in messages(app)] == [0]


@pytest.mark.parametrize("offset", [timedelta(0), 2 * SECOND, -2 * SECOND])
def test_a_small_clock_skew_is_allowed(
    open_app: OpenApp, shop: Shop, frozen: FrozenDateTimeFactory, offset: timedelta
) -> None:
    """L4: the work continues within `safety.max_clock_skew`."""
    app = open_app(safety__max_clock_skew="5s")
    frozen.move_to(_database_time(app) + offset)
    order = shop.order(created_at=now() - HOUR)

    sweep(app)

    assert shop.status(order) == "cancelled"


@frozen_clock
def test_rows_hidden_by_row_level_security_are_an_error(
    open_app: OpenApp, shop: Shop, connection: Connection, database_url: str
) -> None:
    """DOMAIN 2: a login that cannot see the rows must not report that no order is due."""
    order = shop.order(age=HOUR)
    connection.execute(text('alter table "Order" enable row level security'))
    with _login(database_url) as blind_url:
        app = open_app(url=blind_url)
        with pytest.raises((DBAPIError, DatabaseUnusableError), match="row-level security"):
            sweep(app)
        app.database.close()

    assert shop.status(order) == "pending_dp"
    assert rows(connection, "sweeper.sweep") == []


@frozen_clock
@pytest.mark.parametrize(
    "raw", [None, "5", '"text"', "[]", '{"type": "ORDER_EXPIRE_DP", "payload": 5}']
)
def test_a_malformed_message_does_not_stop_a_scan(app: App, shop: Shop, raw: str | None) -> None:
    """L2: a malformed message must not hide the orders that are due."""
    shop.order(age=HOUR)
    send_raw(app, raw)

    assert scan(app).enqueued == 1


def _database_time(app: App) -> Any:
    with app.database.transaction() as tx:
        return tx.execute(text("select clock_timestamp()")).scalar_one()


@contextmanager
def _login(url: str) -> Iterator[str]:
    """Create a login with every grant and no ownership, and yield its URL."""
    name, password = f"{make_url(url).database}_login", token_hex()
    with psycopg.connect(url, autocommit=True) as admin:
        role = Identifier(name)
        admin.execute(SQL("create role {} login password {}").format(role, password))
        for schema in map(Identifier, ("public", "pgmq", "sweeper")):
            admin.execute(SQL("grant usage on schema {} to {}").format(schema, role))
            for kind in map(SQL, ("tables", "sequences", "functions")):
                admin.execute(
                    SQL("grant all on all {} in schema {} to {}").format(kind, schema, role)
                )
        login = make_url(url).set(username=name, password=password)
        yield login.render_as_string(hide_password=False)
        admin.execute(SQL("drop owned by {}").format(role))
        admin.execute(SQL("drop role {}").format(role))
