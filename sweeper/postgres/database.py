"""The door to Postgres: transactions that bring their own timeouts, so that any pooler will do."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import Self
from urllib.parse import parse_qsl, unquote

from psycopg import errors as pg
from psycopg.pq import Conninfo
from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import redact
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError

_LIBPQ = frozenset(option.keyword.decode() for option in Conninfo.get_defaults()) - {"options"}
_BEGIN = SQL(
    "begin; set local timezone = 'UTC'; set local row_security = off; "
    "set local statement_timeout = {statement}; set local lock_timeout = {lock}"
)

# What passes by itself, by SQLSTATE: connections, rollbacks (deadlock, serialization), resources,
# an operator's or a standby's doing; a lock held by somebody else; a server that only reads.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_PASSING_CLASSES = frozenset({"08", "40", "53", "57"})
_PASSING_STATES = frozenset({"55P03", "25006"})


class Database:
    """One server, one pool; every transaction is bounded in time and reads in UTC.

    url               -- as the platform has it, Prisma's own parameters included
    statement_timeout -- the longest that the server works at one statement
    lock_timeout      -- the longest that a statement waits for somebody else's lock
    connect_timeout   -- the longest that a connection may take to come about
    pool_size         -- connections at most
    """

    def __init__(
        self,
        url: str,
        *,
        statement_timeout: timedelta = timedelta(seconds=30),
        lock_timeout: timedelta = timedelta(seconds=1),
        connect_timeout: timedelta = timedelta(seconds=10),
        pool_size: int = 5,
    ) -> None:
        whole, self.schema, self.pooled = understood(url)
        self.url = whole.difference_update_query(("password", "sslpassword"))
        self.lock_timeout = lock_timeout
        self._statement_timeout = statement_timeout
        # libpq's own keepalives notice a peer that is gone; the server's timeouts, a slow one.
        self._engine = create_engine(
            whole,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_timeout.total_seconds(),
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args={
                "autocommit": True,  # so that the "begin" below is the only one
                "prepare_threshold": None,  # a pooler does not keep named statements
                "connect_timeout": max(2, round(connect_timeout.total_seconds())),
                "tcp_user_timeout": _milliseconds(connect_timeout),
                "keepalives_idle": 30,
                "application_name": "sweeper",
            },
        )
        event.listen(self._engine, "begin", self._begin)
        self._stage: Connection | None = None

    @contextmanager
    def transaction(self, *, lock_timeout: timedelta | None = None) -> Iterator[Connection]:
        """Open one transaction: committed at the end, rolled back by any error."""
        if self._stage is not None:
            with self._stage.begin_nested():
                patience = _milliseconds(lock_timeout or self.lock_timeout)
                self._stage.exec_driver_sql(f"set local lock_timeout = {patience}")
                yield self._stage
            return
        with self._engine.connect() as connection:
            if lock_timeout is not None:
                connection.execution_options(lock_timeout=lock_timeout)
            with connection.begin():
                yield connection

    @contextmanager
    def rehearsal(self) -> Iterator[Self]:
        """Lend a double of this door; whatever goes through it is rolled back in the end.

        Its transactions are savepoints on one connection: it is for one thread.
        """
        with self._engine.connect() as connection, connection.begin() as whole:
            double = copy(self)
            double._stage = connection  # noqa: SLF001 -- a double of our own
            yield double
            whole.rollback()

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """Lend a connection for one quick statement that needs no transaction."""
        with self._engine.connect().execution_options(glance=True) as connection:
            yield connection

    def close(self) -> None:
        """Close every idle connection."""
        self._engine.dispose()

    def _begin(self, connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("glance"):
            return
        begin = _BEGIN.format(
            statement=Literal(_milliseconds(self._statement_timeout)),
            lock=Literal(_milliseconds(options.get("lock_timeout", self.lock_timeout))),
        )
        if self.schema:
            begin += SQL("; set local search_path = {}").format(Identifier(self.schema))
        # One round trip: without parameters, the server takes several statements at once.
        connection.exec_driver_sql(begin.as_string())


def understood(url: str) -> tuple[URL, str | None, bool]:
    """Return *url* as SQLAlchemy's, the schema that it names, and whether a pooler is behind it.

    Prisma's parameters are understood or dropped; a password may hold any character.
    Raises SettingsError, without the password, for what is no Postgres URL.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        message = "database.url is no Postgres URL; it begins with postgresql://"
        raise SettingsError(message)
    credentials, _, place = rest.rpartition("@")
    location, _, query = place.partition("?")
    address, _, name = location.partition("/")
    user, _, password = credentials.partition(":")
    host, port = _host_and_port(address)
    asked = dict(parse_qsl(query))
    parameters = {key: value for key, value in asked.items() if key in _LIBPQ}
    made = URL.create(
        "postgresql+psycopg",
        unquote(user) or None,
        unquote(password) or None,
        host,
        port,
        unquote(name) or None,
        parameters,
    )
    pooled = asked.get("pgbouncer") == "true" or port == 6543  # noqa: PLR2004 -- Supabase's pooler
    return made, asked.get("schema"), pooled


def passing(error: BaseException) -> bool:
    """Return whether *error* is the database's trouble, not the job's: it costs no attempt."""
    state = _state(error)
    return gone(error) or (
        state is not None and (state[:2] in _PASSING_CLASSES or state in _PASSING_STATES)
    )


def gone(error: BaseException) -> bool:
    """Return whether the connection is lost, or none can be had."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    told = isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or (told and _state(error) is None)


def _state(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def in_one_line(error: BaseException) -> str:
    """Return what went wrong, without the statement, its values or a row's contents."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    first = (diagnosis or str(cause) or type(cause).__name__).strip().splitlines()[0]
    return redact.text(f"{type(cause).__name__}: {first}")[:500]


def unusable(error: DBAPIError | PoolTimeoutError, database: Database) -> SweeperError:
    """Return *error* as an operator should read it: what cannot be used, and what to do."""
    where = str(database.url.host or database.url.query.get("host", "localhost"))
    where += f":{database.url.port}" if database.url.port else ""
    why = in_one_line(error).partition(": ")[2]
    remedy = _remedy(error)
    if remedy is None:
        return SweeperError(f"the database refused a statement: {in_one_line(error)}")
    return DatabaseUnusableError(f"database at {where}: {why}\n{remedy}")


def _remedy(error: DBAPIError | PoolTimeoutError) -> str | None:
    match getattr(error, "orig", None):
        case pg.InsufficientPrivilege() as orig if "row-level security" in str(orig):
            return (
                "row-level security hides rows from this login: "
                "use the tables' owner, or alter role ... bypassrls"
            )
        case pg.InsufficientPrivilege():
            return "the login lacks a grant on it"
        case pg.UndefinedTable() | pg.UndefinedFunction() | pg.InvalidSchemaName():
            return "is this the platform's database, and was `sweeper migrate` run on it?"
    if passing(error):
        return "check DATABASE_URL, and that the server runs and lets this host in"
    return None


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    host, separator, port = unquote(address).rpartition(":")
    if not separator or port.endswith("]"):
        return unquote(address).strip("[]") or None, None
    if not port.isdigit():
        message = "database.url names a port that is no number"
        raise SettingsError(message)
    return host.strip("[]") or None, int(port)


def _milliseconds(length: timedelta) -> int:
    return max(1, round(length / timedelta(milliseconds=1)))
