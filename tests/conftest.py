"""Fixtures for all tests: one real server, and a new database for each test.

The server is an embedded Postgres, or the one at SWEEPER_TEST_DATABASE_URL, whose login must be
allowed to create databases. SWEEPER_TEST_POSTGRES is the major version of the embedded server.
With SWEEPER_TEST_POOLER=1, every app connects through a real PgBouncer in transaction mode.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from pathlib import Path
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
from sweeper.queue.pgmq import Queues
from tests.support.log_schema import faults_of
from tests.support.pooler import pgbouncer
from tests.support.server import embedded_server
from tests.support.verbs import NOW, QUEUE, Connect, OpenApp, Run

_SHARED_VARIABLES = ("DATABASE_URL", "DIRECT_URL", "NOTIFY_SOCKET")
POOLER = os.environ.get("SWEEPER_TEST_POOLER")  # read before `clean` deletes it
_number = count(1)


# The server, and a database for each test.


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Start the server; yield the URL of its administrator."""
    if given := os.environ.get("SWEEPER_TEST_DATABASE_URL"):
        yield given
        return
    with embedded_server(int(os.environ.get("SWEEPER_TEST_POSTGRES", "18"))) as url:
        yield url


@pytest.fixture(scope="session")
def admin(server_url: str) -> Iterator[psycopg.Connection]:
    """Open a session of the administrator."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(server_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Create a database with the platform's tables, pgmq and the sweeper's schema, all empty."""
    with _new_database(admin, "template1") as name:
        url = _with_database(server_url, name)
        engine = _engine(url)
        with engine.begin() as connection:
            create_platform(connection)
        database = Database(url)
        migrate(database, Queues(QUEUE), catalog.load("jobs"), install=True)
        database.close()
        yield name


@pytest.fixture
def database_url(server_url: str, admin: psycopg.Connection, template: str) -> Iterator[str]:
    """Create a migrated database with the platform's empty tables; yield its URL."""
    with _new_database(admin, template) as name:
        yield _with_database(server_url, name)


@pytest.fixture
def bare_database_url(server_url: str, admin: psycopg.Connection) -> Iterator[str]:
    """Create an empty database without pgmq; yield its URL."""
    with _new_database(admin, "template1") as name:
        yield _with_database(server_url, name)


@pytest.fixture
def platform_url(bare_database_url: str) -> str:
    """Create a database with the platform's empty tables, and nothing of ours; return its URL."""
    engine = _engine(bare_database_url)
    with engine.begin() as connection:
        create_platform(connection)
    return bare_database_url


# The environment, the clock, and the sessions of a test.


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide this host's settings from the tests, and reset logging."""
    for name in list(os.environ):
        if name.startswith("SWEEPER_") or name in _SHARED_VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setattr(settings, "SYSTEM_FILE", tmp_path / "missing.toml")
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    redact.set_secrets(())
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def valid_events(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail the test if an event that it logs violates the schema of the event reference."""
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
    """Stop this host's clock at NOW; the clock of the database continues."""
    # They measure durations, and wait for connections.
    real = ["_pytest.timing", "sqlalchemy.util.queue"]
    with freeze_time(NOW, ignore=real) as frozen_clock:
        assert isinstance(frozen_clock, FrozenDateTimeFactory)
        yield frozen_clock


@pytest.fixture
def now(request: pytest.FixtureRequest) -> datetime:
    """Return the time when the test begins: NOW if the clock is frozen."""
    if "frozen" in request.fixturenames:
        request.getfixturevalue("frozen")
    return clock.now()


@pytest.fixture
def connect(database_url: str) -> Iterator[Connect]:
    """Return a function that opens a session of another client, in a transaction of its own."""
    opened: list[Connection] = []

    def open_one() -> Connection:
        opened.append(_engine(database_url).connect())
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Open a session of the platform, which commits every statement."""
    engine = _engine(database_url).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


@pytest.fixture
def shop(connection: Connection, now: datetime) -> Shop:
    """Return a shop that writes the platform's rows; each is committed at once."""
    return Shop(connection, now)


@pytest.fixture(scope="session")
def through_pooler(server_url: str) -> Iterator[Callable[[str], str]]:
    """Return a function that leads a URL through PgBouncer, with SWEEPER_TEST_POOLER=1."""
    if not POOLER:
        yield lambda url: url
        return
    administrator = make_url(server_url).username  # the pooler maps every login to it
    with pgbouncer(server_url) as pooler:

        def pooled(url: str) -> str:
            direct = make_url(url)
            if direct.username != administrator:
                return url  # tests of a login's privileges do not use the pooler
            schema = f"&schema={direct.query['schema']}" if "schema" in direct.query else ""
            return _with_database(
                f"{pooler.render_as_string()}/?pgbouncer=true{schema}", str(direct.database)
            )

        yield pooled


@pytest.fixture
def open_app(database_url: str, through_pooler: Callable[[str], str]) -> Iterator[OpenApp]:
    """Return a function that builds apps; they accept a clock skew, because tests freeze time."""
    opener = _Opener(database_url, through_pooler)
    yield opener
    for app in opener.opened:
        app.close()


class _Opener:
    """Opens apps on the test's database, with settings that suit tests."""

    def __init__(self, database_url: str, through_pooler: Callable[[str], str]) -> None:
        self._database_url = database_url
        self._through_pooler = through_pooler
        self.opened: list[App] = []

    def __call__(self, *, url: str | None = None, package: str = "jobs", **flags: Any) -> App:
        direct = url or self._database_url
        defaults = {
            "database.url": self._through_pooler(direct),
            "database.direct_url": direct,
            "safety.max_clock_skew": "36500d",
            **({"stock.taken_at": "checkout"} if package == "jobs" else {}),
        }
        given = {name.replace("__", "."): value for name, value in flags.items()}
        self.opened.append(App.load(catalog.load(package), flags=defaults | given))
        return self.opened[-1]

    def close(self, app: App) -> None:
        app.close()
        self.opened.remove(app)


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return an app with the default settings, whose platform takes stock at checkout."""
    return open_app()


@pytest.fixture
def run(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """Return a function that runs a command; it returns exit code, stdout and stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    defaults = {
        "DATABASE_URL": database_url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "COLUMNS": "200",
    }

    def run_command(*arguments: str, **variables: str) -> tuple[int, str, str]:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.setattr(os, "environ", {**os.environ, **defaults, **variables})
            patch.setattr(sys, "argv", ["sweeper", *arguments])
            with pytest.raises(SystemExit) as ended:
                main()
        return (int(ended.value.code or 0), *capfd.readouterr())

    yield run_command
    root.handlers[:] = handlers
    root.setLevel(level)


@contextmanager
def _new_database(admin: psycopg.Connection, template: str) -> Iterator[str]:
    name = f"sweeper_test_{os.getpid()}_{next(_number)}"
    create = SQL("create database {} template {}").format(Identifier(name), Identifier(template))
    # Copying files needs a checkpoint, which is fast only if nothing is synced to disk.
    (synced,) = admin.execute("show fsync").fetchone() or ("on",)
    admin.execute(create + SQL(" strategy file_copy") if synced == "off" else create)
    yield name
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


def _with_database(url: str, database: str) -> str:
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def _engine(url: str) -> Engine:
    return create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
