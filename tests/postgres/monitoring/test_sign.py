"""The last sign of a running service, as the database has it."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.ledger import Trigger
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.monitoring.sign import Sign, last_sign
from sweeper.postgres import clock
from tests.support.verbs import HOUR, MINUTE, SECOND, scan, sweep

BEAT = 30 * SECOND


def aged(connection: Connection, age: timedelta) -> None:
    """Make everything that was written so much older."""
    for table in ("sweep", "history"):
        connection.execute(text(f"update sweeper.{table} set at = at - :age"), {"age": age})


def test_without_a_service_there_is_no_sign(app: App, shop: Shop) -> None:
    """A sweep by hand is none: whoever runs it must still see that no service does."""
    shop.order(age=HOUR)
    sweep(app)

    sign = last_sign(app.database, BEAT)

    assert (False, "No service runs, and there is no sign that one did.") == (sign.runs, str(sign))


@pytest.mark.parametrize("trigger", [Trigger.SCHEDULE, Trigger.SIGNAL])
def test_a_scan_of_the_service_is_a_sign_and_names_its_host(
    app: App, connection: Connection, trigger: Trigger
) -> None:
    scan(app, trigger=trigger)
    connection.execute(text("update sweeper.sweep set host = 'vm1:4711'"))
    aged(connection, 40 * SECOND)

    sign = last_sign(app.database, BEAT)

    assert (True, "vm1:4711") == (sign.runs, sign.host)
    assert str(sign).startswith("A service runs on vm1: its last sign is 4")


def test_a_minute_that_was_sampled_is_a_sign(app: App) -> None:
    """Also while every rule is paused."""
    writer = HistoryWriter(app.database, [], timedelta(days=1))
    writer.saw(app.status_reader.read())
    writer.record(clock.now() + MINUTE)

    sign = last_sign(app.database, BEAT)

    assert (True, None) == (sign.runs, sign.host)


def test_a_minute_that_was_only_counted_is_no_sign(app: App, shop: Shop) -> None:
    """Another service counts the minutes of the past when it starts."""
    shop.order(age=HOUR)
    sweep(app)
    HistoryWriter(app.database, [], timedelta(days=1)).record(clock.now() + 3 * MINUTE)

    assert not last_sign(app.database, BEAT).runs


def test_an_old_sign_is_of_a_service_that_runs_no_more(app: App, connection: Connection) -> None:
    scan(app, trigger=Trigger.SCHEDULE)
    aged(connection, 20 * MINUTE)

    sign = last_sign(app.database, BEAT)

    assert (False, "No service runs: the last sign of one is 20 min old.") == (sign.runs, str(sign))
    assert last_sign(app.database, 15 * MINUTE).runs  # one that beats so seldom may


def test_a_sign_as_json() -> None:
    nothing = Sign(None, None, 0.0, MINUTE).as_json()

    assert {"runs": False, "seen_at": None, "seen_seconds": None, "instance": None} == nothing
