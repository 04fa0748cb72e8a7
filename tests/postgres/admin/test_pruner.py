"""The books forget what is older than pruner.keep, and balance all the while."""

from datetime import datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.admin import pruner
from sweeper.app import App
from sweeper.service.supervisor import Supervisor
from tests.support.verbs import (
    DAY,
    HOUR,
    MS,
    Connect,
    OpenApp,
    rows,
    sweep,
    wait_for_a_blocked_session,
)

pytestmark = pytest.mark.usefixtures("frozen")

KEEP = 90 * DAY


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the batches small."""
    monkeypatch.setattr(pruner, "BATCH", 2)


def grow_old(connection: Connection, by: timedelta) -> None:
    """Let time pass for everything in the books."""
    for table in ("sweep", "job_log"):
        connection.execute(text(f"update sweeper.{table} set at = at - :by"), {"by": by})


def left(connection: Connection) -> tuple[int, int]:
    """Return how many sweeps and endings the books remember."""
    return len(rows(connection, "sweeper.sweep")), len(rows(connection, "sweeper.job_log"))


def test_what_is_older_than_that_is_forgotten(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + HOUR + MS)
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    assert (2, 4) == left(connection)

    with capture_logs() as lines:
        app.pruner.prune(now)

    assert (1, 2) == left(connection)
    assert lines == [
        {
            "event": "history.pruned",
            "log_level": "info",
            "before": (now - KEEP).isoformat(),
            "sweeps": 1,
            "jobs": 2,
        }
    ]


def test_what_is_not_older_is_kept_and_nothing_is_said(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP)

    with capture_logs() as lines:
        app.pruner.prune(now)

    assert ((1, 2), []) == (left(connection), lines)


def test_the_setting_says_how_long(
    open_app: OpenApp, shop: Shop, connection: Connection, now: datetime
) -> None:
    app = open_app(history__keep="1d")
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, DAY + HOUR + MS)

    app.pruner.prune(now)

    assert (0, 0) == left(connection)


@pytest.mark.usefixtures("small")
def test_any_number_is_deleted_in_small_batches(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.many(7, age=HOUR)
    sweep(app)
    grow_old(connection, KEEP + DAY)

    app.pruner.prune(now)

    assert (0, 0) == left(connection)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("transactions", range(8))
def test_the_books_balance_wherever_it_stops(
    transactions: int, app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """L8: a sweep is forgotten before its jobs' endings are."""
    shop.many(3, age=HOUR)
    sweep(app)
    sweep(app)
    grow_old(connection, KEEP + DAY)
    asked = iter(range(transactions))

    app.pruner.prune(now, lambda: next(asked, None) is None)

    assert () == app.auditor.audit().gaps


@pytest.mark.usefixtures("small")
def test_a_service_that_stops_prunes_no_further(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.many(5, age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + DAY)
    asked = iter([False, True, True])

    app.pruner.prune(now, lambda: next(asked))

    assert (0, 10) == left(connection)


def test_two_machines_prune_one_after_the_other(
    app: App, shop: Shop, connection: Connection, connect: Connect, now: datetime
) -> None:
    """Else the first might see less than a batch left, and go on to the jobs too early."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + DAY)
    other = connect()
    other.execute(pruner._LOCK)
    pruning = Thread(target=app.pruner.prune, args=[now])

    pruning.start()
    wait_for_a_blocked_session(connection)
    before = left(connection)
    other.rollback()
    pruning.join()

    assert ((1, 2), (0, 0)) == (before, left(connection))


def test_money_that_is_owed_is_never_forgotten(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """It waits for a person, however long that takes."""
    shop.order(status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR, dp_amount=180_000)
    sweep(app)
    grow_old(connection, 2 * KEEP)

    app.pruner.prune(now)

    assert 1 == len(rows(connection, "sweeper.refund"))


def test_a_service_that_cannot_prune_says_so_and_works_on(app: App, connection: Connection) -> None:
    connection.execute(text("alter table sweeper.sweep rename to elsewhere"))

    with capture_logs() as lines:
        Supervisor(app)._loops.prune()

    (line,) = lines
    assert ("history.failed", "error") == (line["event"], line["log_level"])
    assert 'relation "sweeper.sweep" does not exist' in line["error"]
