"""The lock of the scans: only the service's login can hold it, and whoever does is named."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.errors import LockedError
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.postgres import row_lock
from sweeper.service.loops import Loops
from sweeper.service.outage import Outage
from sweeper.sweep import scan as scan_module
from tests.support.verbs import DAY, HOUR, MS, Connect, OpenApp, scan

TYPE = "ORDER_EXPIRE_DP"
NAME = f"scan.{TYPE}"


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the time that a scan waits for another one."""
    monkeypatch.setattr(scan_module, "_LOCK_TIMEOUT", 200 * MS)


def hold(app: App, session: Connection) -> int:
    """Take the lock in somebody else's session, and return that session's pid."""
    row_lock.take(session, app.database, NAME)
    return int(session.execute(text("select pg_backend_pid()")).scalar_one())


@pytest.mark.parametrize("name", ["sweeper.scan.ORDER_EXPIRE_DP", "sweeper.history"])
def test_an_advisory_lock_stops_no_scan(name: str, app: App, shop: Shop, connect: Connect) -> None:
    """L9: every login of the server can hold one."""
    shop.order(age=HOUR)
    stranger = connect()
    stranger.execute(
        text("select pg_advisory_lock(hashtextextended(cast(:name as text), 0))"), {"name": name}
    )

    assert 1 == scan(app).enqueued
    app.pruner.prune(shop.now)


@pytest.mark.parametrize(
    "statement",
    [
        "select from sweeper.lock for update",
        "select from sweeper.lock for key share",
        "lock table sweeper.lock in access share mode",
        "insert into sweeper.lock values ('scan.ORDER_EXPIRE_DP', now())",
    ],
)
def test_a_login_without_grants_cannot_take_the_lock(
    statement: str, app: App, shop: Shop, connection: Connection, connect: Connect
) -> None:
    """L9: even one that may use the schema and pgmq."""
    shop.order(age=HOUR)
    scan(app)
    connection.execute(text("create role stranger"))
    try:
        connection.execute(text("grant usage on schema sweeper, pgmq to stranger"))
        session = connect()
        session.execute(text("set role stranger"))
        with pytest.raises(DBAPIError, match="permission denied for table lock"):
            session.execute(text(statement))
        session.rollback()
    finally:
        connection.execute(text("drop owned by stranger"))
        connection.execute(text("drop role stranger"))


@pytest.mark.parametrize("scanned_before", [True, False])
def test_a_scan_that_cannot_get_the_lock_names_its_holder(
    *, scanned_before: bool, app: App, shop: Shop, connect: Connect
) -> None:
    if scanned_before:
        scan(app)
    shop.order(age=HOUR)
    session = connect()
    pid = hold(app, session)

    with pytest.raises(LockedError) as caught:
        scan(app)

    # A row that was never committed shows nobody who inserted it.
    assert (f"pid {pid}" in str(caught.value)) is scanned_before
    session.rollback()
    assert 1 == scan(app).enqueued


def test_a_holder_that_cannot_be_asked_for_is_still_told(
    open_app: OpenApp, connect: Connect
) -> None:
    """L9: a pool of one has no second connection to look with."""
    app = open_app(database__pool_size=1, database__connect_timeout="2s")
    scan(app)
    row_lock.take(connect(), app.database, NAME)

    with pytest.raises(LockedError, match="another session holds the lock"):
        scan(app)


def test_a_lock_of_the_whole_table_is_named_too(app: App, connect: Connect) -> None:
    session = connect()
    session.execute(text("lock table sweeper.lock in access exclusive mode"))
    pid = session.execute(text("select pg_backend_pid()")).scalar_one()

    with pytest.raises(LockedError, match=f"pid {pid}"):
        scan(app)


def test_the_service_is_not_ready_while_a_scan_cannot_get_its_lock(
    app: App, connect: Connect
) -> None:
    """L9: it says so at once, and who holds the lock."""
    rule = app.catalog.rule("expire_dp")
    health = Health({rule.name: DAY}, DAY, {}, timedelta(days=1))
    loops = Loops(app, {"drain 1": app.drain()}, Stats(), health, Outage())
    health.read()
    loops.scan(rule)
    before = health.ready()
    session = connect()
    pid = hold(app, session)

    with capture_logs() as lines:
        loops.scan(rule)
    (reason,) = health.ready()
    session.rollback()
    loops.scan(rule)

    assert ([], []) == (before, health.ready())
    assert reason.startswith("expire_dp cannot be scanned: ")
    assert f"pid {pid}" in reason
    (line,) = lines
    assert ("scan.failed", True) == (line["event"], f"pid {pid}" in line["error"])
