"""The pruner deletes records older than `history.keep`, and the ledger balances throughout."""

from datetime import datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.admin import pruner
from sweeper.app import App
from sweeper.postgres import row_lock
from sweeper.queue.acts import Action, By, Origin
from sweeper.service.supervisor import Supervisor
from tests.support.verbs import (
    DAY,
    DEAD,
    HOUR,
    MINUTE,
    MS,
    Connect,
    OpenApp,
    dead_letters,
    drain,
    rows,
    send,
    sweep,
    wait_for_a_blocked_session,
)

pytestmark = pytest.mark.usefixtures("frozen")

KEEP = 90 * DAY


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the size of the pruner's batches to 2."""
    monkeypatch.setattr(pruner, "BATCH", 2)


def grow_old(connection: Connection, by: timedelta) -> None:
    """Make every sweep and every job record older by this much."""
    for table in ("sweep", "job_log"):
        connection.execute(text(f"update sweeper.{table} set at = at - :by"), {"by": by})


def remaining(connection: Connection) -> tuple[int, int]:
    """Return how many sweeps and how many job records are left."""
    return len(rows(connection, "sweeper.sweep")), len(rows(connection, "sweeper.job_log"))


def test_the_marks_of_readers_that_are_gone_are_deleted(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """Each process leaves one or a few; those of living readers stay."""
    for age in (timedelta(hours=25), timedelta()):
        shop.order(age=HOUR)
        sweep(app, "expire_dp")
        app.give_back.reads._free.clear()
        connection.execute(
            text("update sweeper.read_mark set last_vt = last_vt - :age"), {"age": age}
        )
    assert 2 <= len(rows(connection, "sweeper.read_mark"))

    app.pruner.prune(now)

    assert 1 == len(rows(connection, "sweeper.read_mark"))


def test_records_older_than_the_limit_are_deleted(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + HOUR + MS)
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    assert (2, 4) == remaining(connection)

    with capture_logs() as lines:
        app.pruner.prune(now)

    assert (1, 2) == remaining(connection)
    assert lines == [
        {
            "event": "history.pruned",
            "log_level": "info",
            "before": (now - KEEP).isoformat(),
            "sweeps": 1,
            "jobs": 2,
            "acts": 0,
        }
    ]


def test_records_within_the_limit_are_kept_and_nothing_is_logged(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP)

    with capture_logs() as lines:
        app.pruner.prune(now)

    assert ((1, 2), []) == (remaining(connection), lines)


def test_the_limit_is_a_setting(
    open_app: OpenApp, shop: Shop, connection: Connection, now: datetime
) -> None:
    app = open_app(history__keep="1d")
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, DAY + HOUR + MS)

    app.pruner.prune(now)

    assert (0, 0) == remaining(connection)


@pytest.mark.usefixtures("small_batches")
def test_any_number_of_records_is_deleted_in_batches(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.many(7, age=HOUR)
    sweep(app)
    grow_old(connection, KEEP + DAY)

    app.pruner.prune(now)

    assert (0, 0) == remaining(connection)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("transactions", range(8))
def test_the_ledger_balances_wherever_pruning_stops(
    transactions: int, app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """L8: a sweep is deleted before the records of its jobs."""
    shop.many(3, age=HOUR)
    sweep(app)
    sweep(app)
    grow_old(connection, KEEP + DAY)
    calls = iter(range(transactions))

    app.pruner.prune(now, lambda: next(calls, None) is None)

    assert () == app.auditor.audit().gaps


def test_the_job_of_a_sweep_that_is_kept_is_kept_too(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """L8: the clock of the host that recorded it may be behind that of the host that scanned."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP - MINUTE)
    connection.execute(text("update sweeper.job_log set at = at - interval '30 minutes'"))

    app.pruner.prune(now)

    assert ((1, 2), ()) == (remaining(connection), app.auditor.audit().gaps)


@pytest.mark.usefixtures("small_batches")
def test_pruning_ends_when_the_service_stops(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    shop.many(5, age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + DAY)
    stopping = iter([False, True, True])

    app.pruner.prune(now, lambda: next(stopping))

    assert (0, 10) == remaining(connection)


def test_two_machines_do_not_prune_at_the_same_time(
    app: App, shop: Shop, connection: Connection, connect: Connect, now: datetime
) -> None:
    """Otherwise one could see less than a full batch of sweeps and delete job records too early."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    grow_old(connection, KEEP + DAY)
    other = connect()
    row_lock.take(other, app.database, pruner._LOCK)
    pruning = Thread(target=app.pruner.prune, args=[now])

    pruning.start()
    wait_for_a_blocked_session(connection)
    before = remaining(connection)
    other.rollback()
    pruning.join()

    assert ((1, 2), (0, 0)) == (before, remaining(connection))


@pytest.mark.parametrize(("settings", "left"), [({}, 2), ({"history__keep_dead": "30d"}, 1)])
def test_dead_letters_are_kept_unless_a_setting_names_their_age(
    open_app: OpenApp,
    connection: Connection,
    now: datetime,
    settings: dict[str, str],
    left: int,
) -> None:
    """The age is by the database's clock: a wrong clock of this host deletes none of them."""
    app = open_app(**settings)
    for _ in range(2):
        send(app, "MAKE_COFFEE", {})
    drain(app)
    old = f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '30 d' where msg_id = 1"
    connection.execute(text(old))

    app.pruner.prune(now)
    Supervisor(app)._upkeep.prune()

    assert left == len(dead_letters(app))


def test_a_refund_that_is_owed_is_never_deleted(
    app: App, shop: Shop, connection: Connection, now: datetime
) -> None:
    """It waits until a person has paid it, however long that takes."""
    shop.order(status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR, dp_amount=180_000)
    sweep(app)
    grow_old(connection, 2 * KEEP)

    app.pruner.prune(now)

    assert 1 == len(rows(connection, "sweeper.refund"))


def test_a_failure_to_prune_is_logged_and_does_not_stop_the_service(
    app: App, connection: Connection
) -> None:
    connection.execute(text("alter table sweeper.sweep rename to elsewhere"))

    with capture_logs() as lines:
        Supervisor(app)._upkeep.prune()

    (line,) = lines
    assert ("history.failed", "error") == (line["event"], line["log_level"])
    assert 'relation "sweeper.sweep" does not exist' in line["error"]


def test_acts_are_kept_as_long_as_the_rest_of_the_ledger(
    app: App, connection: Connection, now: datetime
) -> None:
    """What was done by hand is explained for as long as what became of it."""
    for _ in range(2):
        with app.acts.recording(Action.DRAIN, "", By("ratih", Origin.COMMAND)):
            pass
    old = "update sweeper.act set at = :at where id = 1"
    connection.execute(text(old), {"at": now - KEEP - MS})

    with capture_logs() as lines:
        app.pruner.prune(now)

    assert [2] == [act["id"] for act in rows(connection, "sweeper.act")]
    assert [1] == [line["acts"] for line in lines]
