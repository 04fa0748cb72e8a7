"""L4: time is UTC, whatever time zone the server, the database, the login or the process has."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Connection, Text, cast, literal, select, text

from jobs.demo.shop import Shop
from sweeper import UtcTimestamp
from sweeper.app import App
from tests.support.verbs import HOUR, MINUTE, MS, STORED_NOW, OpenApp, rows, sweep

ZONES = ("Asia/Jakarta", "America/New_York")

frozen_clock = pytest.mark.usefixtures("frozen")


@contextmanager
def time_zone_set(level: str, zone: str, url: str) -> Iterator[None]:
    """Set the time zone of the server, the database or the login for new sessions."""
    with psycopg.connect(url, autocommit=True) as admin:
        database = Identifier(admin.info.dbname)
        target = {
            "server": SQL("system"),
            "database": SQL("database {}").format(database),
            "login": SQL("role current_user in database {}").format(database),
        }[level]
        alter = SQL("alter {} ").format(target)
        admin.execute(alter + SQL("set timezone = {}").format(Literal(zone)))
        admin.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            admin.execute(alter + SQL("reset timezone"))
            admin.execute("select pg_reload_conf()")


def zone_of_a_new_session(url: str) -> str:
    """Return the time zone of a new session."""
    with psycopg.connect(url) as session:
        return str((session.execute("show timezone").fetchone() or ("none",))[0])


def wait_for(zone: str, url: str) -> None:
    """Return once new sessions begin in *zone*; the server reads its settings with a delay."""
    for _ in range(500):
        if zone_of_a_new_session(url) == zone:
            return
        time.sleep(0.01)
    pytest.fail(f"no session began in {zone} within five seconds")


def four_orders(shop: Shop) -> list[str]:
    """Add an order at each rule's exact limit, and one a millisecond younger."""
    waiting = {"status": "awaiting_validation", "age": 30 * HOUR}
    return [
        shop.order(age=30 * MINUTE),
        shop.order(age=30 * MINUTE - MS),
        shop.order(paid_ago=24 * HOUR, **waiting),  # type: ignore[arg-type]
        shop.order(paid_ago=24 * HOUR - MS, **waiting),  # type: ignore[arg-type]
    ]


@frozen_clock
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("level", ["server", "database", "login"])
def test_the_server_s_time_zone_does_not_change_which_orders_are_due(
    *,
    open_app: OpenApp,
    shop: Shop,
    connection: Connection,
    database_url: str,
    level: str,
    zone: str,
) -> None:
    """L4: the same orders are due to the millisecond, and what is written is UTC."""
    orders = four_orders(shop)
    with time_zone_set(level, zone, database_url):
        wait_for(zone, database_url)

        sweep(open_app())

    assert_all_is_utc(shop, orders)
    assert {row["createdAt"] for row in rows(connection, '"NotificationLog"')} == {STORED_NOW}
    assert {row["sentAt"] for row in rows(connection, '"NotificationLog"')} == {STORED_NOW}
    utc = text("""select at at time zone 'UTC' from sweeper.sweep union
                  select at at time zone 'UTC' from sweeper.job_log union
                  select at at time zone 'UTC' from sweeper.refund""")
    assert set(connection.execute(utc).scalars()) == {STORED_NOW}


@frozen_clock
@pytest.mark.parametrize("zone", ZONES)
def test_the_client_s_time_zone_does_not_change_which_orders_are_due(
    open_app: OpenApp,
    shop: Shop,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
) -> None:
    """L4: libpq sends PGTZ to the server at the beginning of every session."""
    orders = four_orders(shop)
    monkeypatch.setenv("PGTZ", zone)
    assert zone_of_a_new_session(database_url) == zone

    sweep(open_app())

    assert_all_is_utc(shop, orders)


@pytest.mark.parametrize("level", ["database", "login"])
def test_every_transaction_runs_in_utc(open_app: OpenApp, database_url: str, level: str) -> None:
    """L4: the current time in statements, and times read as text, are UTC as well."""
    with time_zone_set(level, ZONES[0], database_url), open_app().database.transaction() as tx:
        assert zone_of_a_new_session(database_url) == ZONES[0]
        assert tx.execute(text("show timezone")).scalar_one() == "UTC"


@pytest.mark.parametrize("zone", ZONES)
def test_the_process_s_time_zone_does_not_change_which_orders_are_due(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch, zone: str
) -> None:
    """L4: this test needs a running clock, because a frozen clock has no local time."""
    before = datetime.now(UTC).replace(tzinfo=None)
    due, young = shop.order(age=30 * MINUTE), shop.order(age=29 * MINUTE)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", zone)
        time.tzset()
        assert datetime.now().astimezone().utcoffset() != UTC.utcoffset(None)
        sweep(app)
    time.tzset()

    assert (shop.status(due), shop.status(young)) == ("cancelled", "pending_dp")
    updated = shop.row("Order", due)["updatedAt"]
    assert before - MS < updated < before + 10 * MINUTE


@frozen_clock
@pytest.mark.parametrize("zone", ZONES)
def test_the_status_counts_overdue_orders_in_utc(
    open_app: OpenApp, shop: Shop, database_url: str, zone: str
) -> None:
    """L4: the status uses the same condition as the scan."""
    four_orders(shop)
    shop.order(age=31 * MINUTE)
    with time_zone_set("database", zone, database_url):
        status = open_app().status_reader.read()

    unpaid, unanswered = status.rules["expire_dp"], status.rules["auto_refund"]
    assert (unpaid.overdue, unpaid.oldest_overdue_seconds) == (2, 60.0)
    assert (unanswered.overdue, unanswered.oldest_overdue_seconds) == (1, 0.0)


def assert_all_is_utc(shop: Shop, orders: list[str]) -> None:
    """Check the statuses of `four_orders` and that their update times are UTC."""
    assert [shop.status(order) for order in orders] == [
        "cancelled",
        "pending_dp",
        "rejected",
        "awaiting_validation",
    ]
    assert {shop.row("Order", order)["updatedAt"] for order in orders[::2]} == {STORED_NOW}


def test_a_time_of_any_zone_is_stored_in_utc(app: App) -> None:
    """L4: what a job file passes may have the zone of whoever wrote it."""
    in_jakarta = datetime(2026, 1, 31, 19, 0, tzinfo=timezone(timedelta(hours=7)))

    with app.database.transaction() as tx:
        stored = tx.execute(select(cast(literal(in_jakarta, UtcTimestamp), Text))).scalar_one()

    assert "2026-01-31 12:00:00" == stored
