"""`sweeper run`: signals, a database outage, and a stop that costs no job an attempt."""

import signal

import psycopg
import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.service.supervisor import Supervisor
from tests.support.running import Start, until
from tests.support.verbs import (
    HOUR,
    Connect,
    messages,
    scan,
    wait_for_a_blocked_session,
    wait_until_idle,
)


def test_the_service_becomes_ready_sweeps_and_stops_cleanly(start: Start, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    service = start()
    service.wait_for("service.ready")
    until(lambda: shop.status(order) == "cancelled")

    assert 0 == service.stop()
    assert True is service.wait_for("service.stopped")["clean"]
    assert [] == service.logged("worker.failed")
    assert "DOWN" not in {line["status"] for line in service.logged("service.heartbeat")}


def test_sigusr1_causes_a_scan_at_once(start: Start, shop: Shop) -> None:
    """An operator sends it with `systemctl kill -s USR1 sweeper`."""
    service = start(SWEEPER_RULES__EXPIRE_DP__EVERY="1h", SWEEPER_RULES__AUTO_REFUND__EVERY="1h")
    service.wait_for("service.ready")
    order = shop.order(age=HOUR)
    service.process.send_signal(signal.SIGUSR1)
    until(lambda: shop.status(order) == "cancelled")

    assert "signal" in {line["trigger"] for line in service.logged("scan.finished")}
    assert 0 == service.stop(signal.SIGINT)


def test_a_job_in_flight_is_finished_within_the_grace_period(
    start: Start, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """After a SIGTERM, running jobs are finished, and no job loses an attempt."""
    order = shop.order(age=HOUR, items=[(shop.product(), 1)])
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))
    service = start(SWEEPER_DATABASE__LOCK_TIMEOUT="30s")
    wait_for_a_blocked_session(connection)
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("service.stopping")
    buyer.commit()

    assert 0 == service.process.wait(timeout=20)
    assert "cancelled" == shop.status(order)
    assert [1] == list(connection.execute(text("select attempt from sweeper.job_log")).scalars())


def test_a_second_signal_stops_at_once_and_loses_nothing(
    start: Start, shop: Shop, app: App, connect: Connect, connection: Connection
) -> None:
    """L2: what the server was sent is committed as a whole, or its message is visible again."""
    order = shop.order(age=HOUR, items=[(shop.product(), 1)])
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))
    service = start(SWEEPER_DATABASE__LOCK_TIMEOUT="30s")
    wait_for_a_blocked_session(connection)
    service.process.send_signal(signal.SIGTERM)
    service.wait_for("service.stopping")

    assert -signal.SIGTERM == service.stop()
    buyer.commit()
    wait_until_idle(connection)
    assert (shop.status(order), len(messages(app))) in {("pending_dp", 1), ("cancelled", 0)}


def test_the_service_survives_a_database_outage(
    start: Start, shop: Shop, app: App, connection: Connection, admin: psycopg.Connection
) -> None:
    """L5, L9: the service keeps running, and no job loses an attempt."""
    service = start()
    service.wait_for("service.ready")
    shop.order(age=HOUR)
    database = connection.execute(text("select current_database()")).scalar_one()
    admin.execute(f"alter database {database} allow_connections false")
    connection.execute(
        text(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'sweeper' and datname = current_database()"
        )
    )
    service.wait_for("database.lost")
    admin.execute(f"alter database {database} allow_connections true")
    service.wait_for("database.recovered")
    scan(app)
    until(lambda: connection.execute(text("select count(*) from sweeper.job_log")).scalar_one())

    attempts = connection.execute(text("select distinct attempt from sweeper.job_log")).scalars()
    assert [1] == list(attempts)
    assert 0 == service.stop()


def test_a_transaction_that_is_longer_than_the_grace_period_costs_no_crash(
    start: Start, shop: Shop, app: App, connect: Connect, connection: Connection
) -> None:
    """L5: near the deadline its statement is cancelled, and what it had read is given back."""
    orders = [shop.order(age=HOUR, items=[(shop.product(), 1)]) for _ in range(3)]
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))
    service = start(SWEEPER_DATABASE__LOCK_TIMEOUT="60s", SWEEPER_SERVICE__SHUTDOWN_GRACE="3s")
    wait_for_a_blocked_session(connection)

    assert 0 == service.stop()
    assert True is service.wait_for("service.stopped")["clean"]
    buyer.commit()
    assert {"pending_dp"} == {shop.status(order) for order in orders}
    waiting = messages(app)
    assert ([0, 0, 0], [0, 0, 0]) == (
        [message.read_ct for message in waiting],
        [message.body["retryCount"] for message in waiting],
    )


def test_a_single_job_that_is_cancelled_at_the_deadline_is_postponed(
    start: Start, shop: Shop, app: App, connect: Connect, connection: Connection
) -> None:
    """L5: the cancelled statement is the database's trouble, not the job's."""
    shop.order(age=HOUR, items=[(shop.product(), 1)])
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))
    service = start(SWEEPER_DATABASE__LOCK_TIMEOUT="60s", SWEEPER_SERVICE__SHUTDOWN_GRACE="3s")
    wait_for_a_blocked_session(connection)

    assert 0 == service.stop()
    assert 1 == len(service.logged("job.postponed"))
    assert [0] == [message.read_ct for message in messages(app)]


def test_a_chore_that_fails_has_turned(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """L9: an attempt that ended with an error shows that the loop turns; only a hanging one not."""
    turned: list[str] = []
    monkeypatch.setattr(Health, "turned", lambda _health, loop: turned.append(loop))

    def fail() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Supervisor(app)._turn("history", fail)

    assert ["history"] == turned
