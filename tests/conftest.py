"""What the tests stand on: one real server, a fresh database for each test, and verbs, not sleeps.

The server is an embedded Postgres, or the one that SWEEPER_TEST_DATABASE_URL names; there, the
login must be allowed to create databases. SWEEPER_TEST_POSTGRES chooses the embedded major version,
SWEEPER_TEST_POOLER=1 leads every app through a real PgBouncer in transaction mode.
"""

import json
import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Protocol

import psycopg
import pytest
import structlog
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Engine, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop, create_platform
from sweeper import Outside, catalog, clock, events, redact, settings
from sweeper.app import App
from sweeper.cli import main
from sweeper.database import Database
from sweeper.dead import Choice
from sweeper.embedded import Embedded
from sweeper.migrate import migrate
from sweeper.queue import DeadLetter, Queues
from sweeper.scan import Found
from sweeper.settle import Tally
from sweeper.sweep import Report
from tests.pooler import pgbouncer
from tests.spoken import faults_of

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STORED_NOW = NOW.replace(tzinfo=None)  # as the platform's columns hold it
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

QUEUE = "jastipin_jobs"
HIGH, LOW = f"{QUEUE}_high", f"{QUEUE}_low"
OUTBOUND, DEAD = f"{QUEUE}_outbound", f"{QUEUE}_dead"

# Nothing here outlives the run, so nothing need reach the disk.
_HURRY = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")
_ROOM = 2 << 30
_PLATFORM = ("DATABASE_URL", "DIRECT_URL", "NOTIFY_SOCKET")
POOLER = os.environ.get("SWEEPER_TEST_POOLER")  # read before `clean` takes it away
_number = count(1)


class OpenApp(Protocol):
    """Puts an App together on the test's database; it is closed after the test."""

    def __call__(self, *, url: str | None = None, package: str = "jobs", **flags: Any) -> App:
        """Return it; *flags* are settings whose dots are written as double underscores."""


Connect = Callable[[], Connection]
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message as it lies in its queue; *delay* is how long it stays invisible."""

    msg_id: int
    read_ct: int
    delay: timedelta
    body: Any


# The verbs.


def sweep(app: App, *rules: str, limit: int | None = None, **options: Any) -> Report:
    """Make one full pass, as `sweeper sweep` does."""
    chosen = [app.catalog.rule(name) for name in rules or app.rules]
    return app.sweep().run(chosen, limit=limit or app.settings.safety.max_per_sweep, **options)


def scan(app: App, rule: str = "expire_dp", **options: Any) -> Found:
    """Make the first half of a pass, for one rule."""
    return sweep(app, rule, scan_only=True, **options).rules[rule]


def drain(app: App) -> Tally:
    """Make the second half: work off every visible message."""
    return app.sweep().drain()


def send(app: App, kind: str, payload: Any, *, queue: str = QUEUE, **body: Any) -> int:
    """Send a message as the platform's own worker would, and return its id.

    What *body* names replaces what the platform writes; an ellipsis leaves it out.
    """
    usual = {
        "type": kind,
        "payload": payload,
        "retryCount": 0,
        "maxRetries": 3,
        "createdAt": "2026-01-31T11:58:00.000Z",
    }
    whole = {key: value for key, value in (usual | body).items() if value is not ...}
    return send_raw(app, json.dumps(whole), queue=queue)


def send_raw(app: App, raw: str | None, *, queue: str = QUEUE) -> int:
    """Send any JSON text, or SQL NULL, and return the message's id."""
    with app.database.transaction() as tx:
        return int(
            tx.execute(
                text("select pgmq.send(cast(:queue as text), cast(cast(:raw as text) as jsonb))"),
                {"queue": queue, "raw": raw},
            ).scalar_one()
        )


def messages(app: App, queue: str = QUEUE) -> list[Parcel]:
    """Return what lies in *queue*, the oldest first."""
    with app.database.transaction() as tx:
        rows = tx.execute(
            text(
                "select msg_id, read_ct, vt - clock_timestamp() as delay, message"
                f" from pgmq.q_{queue} order by msg_id"
            )
        )
        return [Parcel(*row) for row in rows]


def make_visible(app: App) -> None:
    """Let the time pass for which messages are hidden, in every live queue."""
    with app.database.transaction() as tx:
        for queue in app.queues.live:
            tx.execute(text(f"update pgmq.q_{queue} set vt = clock_timestamp() - interval '1 ms'"))


def dead_letters(app: App, **choice: Any) -> list[DeadLetter]:
    """Return the dead letters, the oldest first."""
    return app.graveyard.find(Choice(**choice))


def rows(connection: Connection, table: str, order_by: str = "1") -> list[dict[str, Any]]:
    """Return a whole table; our own have `sweeper.` before their names."""
    found = connection.execute(text(f"select * from {table} order by {order_by}"))
    return [dict(row) for row in found.mappings()]


def endings(connection: Connection) -> list[tuple[Any, ...]]:
    """Return how jobs ended: type, key, outcome, reason, in the order of the books."""
    log = text("select job_type, key, outcome, reason from sweeper.job_log order by id")
    return [tuple(row) for row in connection.execute(log)]


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a row that are no longer what they were, with their new values."""
    return {name: value for name, value in after.items() if before[name] != value}


@contextmanager
def broken(app: App, table: str, when: str = "true", error: str = "P0001") -> Iterator[None]:
    """Have the platform's *table* refuse updates for rows that meet *when*, with this SQLSTATE."""
    with app.database.transaction() as tx:
        tx.execute(
            text(
                "create function refuse() returns trigger language plpgsql as"
                f" $$ begin raise exception 'out of order' using errcode = '{error}'; end $$"
            )
        )
        tx.execute(
            text(
                f'create trigger refuse before update on "{table}" for each row'
                f" when ({when}) execute function refuse()"
            )
        )
    yield
    with app.database.transaction() as tx:
        tx.execute(text("drop function refuse cascade"))


def worked_by(app: App, kind: str, handler: Any) -> App:
    """Return *app* with another handler for one job type; they share their connections."""
    job = replace(app.catalog.jobs[kind], handler=handler)
    other = App(replace(app.catalog, jobs={**app.catalog.jobs, kind: job}), app.settings)
    vars(other)["database"] = app.database
    return other


def answered_by(app: App, kind: str, answer: Callable[[Any, Callable[[Any], Any]], Any]) -> App:
    """Return *app* with another outside world: *answer* gets each parcel, and the real call."""
    handler = app.catalog.jobs[kind].handler
    assert isinstance(handler, Outside)
    return worked_by(app, kind, replace(handler, call=lambda parcel: answer(parcel, handler.call)))


def wait_for_a_blocked_session(connection: Connection) -> None:
    """Return once a session of this database waits for another one's lock."""
    waits = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    for _ in range(1_000):
        if connection.execute(waits).scalar_one():
            return
        Event().wait(0.01)
    pytest.fail("nobody waited for a lock within ten seconds")


# The server, and a database for each test.


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Return where the server's administrator connects."""
    if given := os.environ.get("SWEEPER_TEST_DATABASE_URL"):
        yield given
        return
    with TemporaryDirectory(prefix="sweeper-test-", dir=_roomy_memory()) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = Embedded(folder / "data", major=int(os.environ.get("SWEEPER_TEST_POSTGRES", "18")))
        try:
            with psycopg.connect(server.url, autocommit=True) as admin:
                for setting in _HURRY:
                    admin.execute(SQL("alter system set ") + SQL(setting))
                admin.execute("select pg_reload_conf()")
            yield server.url
        finally:
            server.stop()


@pytest.fixture(scope="session")
def admin(server_url: str) -> Iterator[psycopg.Connection]:
    """Lend the administrator's session."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(server_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Make a database with the platform's tables, pgmq and our own schema, all empty."""
    with _database(admin, "template1") as name:
        url = _named(server_url, name)
        engine = _engine(url)
        with engine.begin() as connection:
            create_platform(connection)
        database = Database(url)
        migrate(database, Queues(QUEUE), "jobs", install=True)
        database.close()
        yield name


@pytest.fixture
def database_url(server_url: str, admin: psycopg.Connection, template: str) -> Iterator[str]:
    """Make a fresh database, migrated, with an empty platform in it."""
    with _database(admin, template) as name:
        yield _named(server_url, name)


@pytest.fixture
def bare_database_url(server_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Make a fresh database with nothing in it, not even pgmq."""
    with _database(admin, "template1") as name:
        yield _named(server_url, name)


# The test's own hands.


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep this host's own settings and log set-up out of the tests."""
    for name in list(os.environ):
        if name.startswith("SWEEPER_") or name in _PLATFORM:
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "missing.toml")
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    redact.know(())
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def spoken_as_promised(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every event that the test causes against the types in the catalogue."""
    faults: list[str] = []
    tell = events.Event.tell

    def checked(event: events.Event, **values: Any) -> None:
        tell(event, **values)
        faults.extend(faults_of(event, values))

    monkeypatch.setattr(events.Event, "tell", checked)
    yield
    assert [] == faults


@pytest.fixture
def frozen() -> Iterator[FrozenDateTimeFactory]:
    """Stop this host's clock at NOW; the database's goes on."""
    real = [
        "_pytest.timing",
        "sqlalchemy.util.queue",
    ]  # whose clocks measure, and wait for connections
    with freeze_time(NOW, ignore=real) as hand:
        assert isinstance(hand, FrozenDateTimeFactory)
        yield hand


@pytest.fixture
def now(request: pytest.FixtureRequest) -> datetime:
    """Return the time at the test's beginning: NOW where the clock is frozen."""
    if "frozen" in request.fixturenames:
        request.getfixturevalue("frozen")
    return clock.now()


@pytest.fixture
def connect(database_url: str) -> Iterator[Connect]:
    """Open sessions of somebody else, each in a transaction until it commits or rolls back."""
    opened: list[Connection] = []

    def open_one() -> Connection:
        opened.append(_engine(database_url).connect())
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Lend the platform's own session, which commits every statement."""
    engine = _engine(database_url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def shop(connection: Connection, now: datetime) -> Shop:
    """Lend the platform's hand; what it writes is committed at once."""
    return Shop(connection, now)


@pytest.fixture(scope="session")
def through_pooler(server_url: str) -> Iterator[Callable[[str], str]]:
    """Lead a database's URL through PgBouncer where SWEEPER_TEST_POOLER asks for it."""
    if not POOLER:
        yield lambda url: url
        return
    everybody = make_url(server_url).username  # whom this pooler takes all logins for
    with pgbouncer(server_url) as pooler:

        def led(url: str) -> str:
            asked = make_url(url)
            if asked.username != everybody:
                return url  # a test of what one login may is no test of the pooler
            return _named(f"{pooler.render_as_string()}/?pgbouncer=true", str(asked.database))

        yield led


@pytest.fixture
def open_app(database_url: str, through_pooler: Callable[[str], str]) -> Iterator[OpenApp]:
    """Put apps together; the clocks may differ, because this host's is often frozen."""
    opened: list[App] = []

    def open_one(*, url: str | None = None, package: str = "jobs", **flags: Any) -> App:
        usual = {
            "database.url": through_pooler(url or database_url),
            "database.direct_url": url or database_url,
            "safety.max_clock_skew": "36500d",
            **({"stock.taken_at": "checkout"} if package == "jobs" else {}),
        }
        own = {name.replace("__", "."): value for name, value in flags.items()}
        opened.append(App.load(catalog.load(package), flags=usual | own))
        return opened[-1]

    yield open_one
    for app in opened:
        app.database.close()


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return the app of most tests: stock is taken at checkout, the rest stands at its default."""
    return open_app()


@pytest.fixture
def run(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Run a command on the test's database; return its exit code, stdout and stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    ready = {
        "DATABASE_URL": database_url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "COLUMNS": "200",
    }

    def run_it(*arguments: str, **variables: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, **ready, **variables})
            patch.setattr(sys, "argv", ["sweeper", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    yield run_it
    root.handlers[:] = handlers
    root.setLevel(level)


def _roomy_memory() -> str | None:
    """Return the folder that this host keeps in memory, where it has one with room to spare."""
    folder = Path("/dev/shm")  # noqa: S108 -- what is made in it has a name of its own
    roomy = folder.is_dir() and shutil.disk_usage(folder).free > _ROOM
    return str(folder) if roomy and os.access(folder, os.W_OK) else None


@contextmanager
def _database(admin: psycopg.Connection, template: str) -> Iterator[str]:
    name = f"sweeper_test_{os.getpid()}_{next(_number)}"
    made = SQL("create database {} template {}").format(Identifier(name), Identifier(template))
    # Copying files needs a checkpoint: quick where nothing is synced to disk, and only there.
    (synced,) = admin.execute("show fsync").fetchone() or ("on",)
    admin.execute(made + SQL(" strategy file_copy") if synced == "off" else made)
    yield name
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def _named(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _engine(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
