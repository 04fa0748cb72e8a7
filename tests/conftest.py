"""Fixtures of all tests: one real server, and a fresh database for each test.

The server is an embedded Postgres, or the one that SWEEPER_TEST_DATABASE_URL names; there, the
login must be allowed to create databases. SWEEPER_TEST_POSTGRES chooses the embedded major version,
SWEEPER_TEST_POOLER=1 leads every app through a real PgBouncer in transaction mode.
"""

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
import pytest
import structlog
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop, create_platform
from sweeper import catalog, redact, settings
from sweeper.admin.migrate import migrate
from sweeper.app import App
from sweeper.cli.main import main
from sweeper.event import Event
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.embedded import Embedded
from sweeper.queue.pgmq import Queues
from tests.support.log_schema import faults_of
from tests.support.pooler import pgbouncer
from tests.support.verbs import NOW, QUEUE, Connect, OpenApp, Run

# Nothing here outlives the run, so nothing need reach the disk.
_HURRY = ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "autovacuum = off")
_ROOM = 2 << 30
_PLATFORM = ("DATABASE_URL", "DIRECT_URL", "NOTIFY_SOCKET")
POOLER = os.environ.get("SWEEPER_TEST_POOLER")  # read before `clean` takes it away
_number = count(1)


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
    redact.set_secrets(())
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def spoken_as_promised(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hold every event that the test causes against the types in the catalogue."""
    faults: list[str] = []
    log = Event.log

    def checked(event: Event, **values: Any) -> None:
        log(event, **values)
        faults.extend(faults_of(event, values))

    monkeypatch.setattr(Event, "log", checked)
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
