"""The database: a connection pool, and transactions that set their timeouts, as poolers need."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import Self

import psycopg
from psycopg.sql import Identifier
from sqlalchemy import Connection, create_engine, event, text

from sweeper.postgres import arrays, deferred
from sweeper.postgres.in_use import ConnectionsInUse
from sweeper.postgres.url import SECRET, parse_url
from sweeper.settings import DatabaseSettings

_KNOWS_TRANSACTION_TIMEOUT = 170_000  # the server's version
_STATEMENTS = 8  # the most that a transaction has which may be slow

PLATFORM_SCHEMA = "public"
"""Where Prisma keeps the platform's tables, unless the URL names another schema."""


class Database:
    """A connection pool to one server; every transaction has timeouts and uses UTC.

    Tables of the platform, which have no schema in SQLAlchemy, get the one that the URL names. It
    is not in the search path, so that no function or operator that somebody plants there is called.

    url               -- as the platform writes it, with Prisma's own parameters
    statement_timeout -- the longest that one statement may run
    lock_timeout      -- the longest that a statement waits for another transaction's lock
    connect_timeout   -- the longest that opening a connection may take, and that an open
                         transaction may wait for us: a process that is frozen holds no row longer
    pool_size         -- the largest number of connections
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
        parsed, named, self.pooled = parse_url(url)
        self.schema = named or PLATFORM_SCHEMA
        self.schema_in_path = False
        self.url = parsed._replace(password=None).difference_update_query(SECRET)
        self.lock_timeout = lock_timeout
        self.statement_timeout = statement_timeout
        self._idle_timeout = connect_timeout
        # libpq's keepalives detect a peer that is gone, the server's timeouts one that is slow.
        self._engine = create_engine(
            parsed,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=connect_timeout.total_seconds(),
            pool_use_lifo=True,
            hide_parameters=True,
            connect_args={
                "autocommit": True,  # so that `_begin` sends the only "begin"
                "cursor_factory": deferred.CURSOR,
                "prepare_threshold": None,  # a pooler may give the next transaction another server
                "connect_timeout": max(2, round(connect_timeout.total_seconds())),
                "tcp_user_timeout": _milliseconds(connect_timeout),
                "keepalives_idle": 30,
                "application_name": "sweeper",
            },
        )
        arrays.listen(self._engine)
        deferred.listen(self._engine)
        self._engine = self._engine.execution_options(schema_translate_map={None: self.schema})
        event.listen(self._engine, "begin", self._begin)
        self._in_use = ConnectionsInUse(self._engine)
        self._connection: Connection | None = None

    @contextmanager
    def transaction(
        self, *, lock_timeout: timedelta | None = None, schema_in_path: bool = False
    ) -> Iterator[Connection]:
        """Open a transaction, which commits at the end and is rolled back by any error.

        schema_in_path -- whether the text of a statement may name the platform's tables without
                          their schema; no transaction of the service needs it
        """
        if self._connection is not None:
            with self._connection.begin_nested():
                milliseconds = _milliseconds(lock_timeout or self.lock_timeout)
                shorter = text(f"set local lock_timeout = {milliseconds}")
                deferred.defer(self._connection, shorter)
                try:
                    yield self._connection
                    deferred.flush(self._connection)
                except BaseException:
                    deferred.forget(self._connection)
                    raise
            return
        with self._engine.connect() as connection:
            if lock_timeout is not None:
                connection.execution_options(lock_timeout=lock_timeout)
            if schema_in_path:
                connection.execution_options(schema_in_path=True)
            with connection.begin():
                yield connection
                deferred.flush(connection)

    @contextmanager
    def rolled_back(self) -> Iterator[Self]:
        """Yield a copy of this database, all of whose changes are rolled back at the end.

        Its transactions are savepoints on one connection, so only one thread may use it.
        """
        with self._engine.connect() as connection, connection.begin() as outer:
            duplicate = copy(self)
            duplicate._connection = connection  # noqa: SLF001 -- of this same class
            yield duplicate
            outer.rollback()

    @contextmanager
    def glance(self) -> Iterator[Connection]:
        """Yield a connection each of whose queries is a whole transaction in one round trip.

        The server takes a query and its timeouts as one implicit transaction, which a pooler does
        not tear apart.
        """
        with self._engine.connect().execution_options(implicit=True) as connection:
            yield connection

    @contextmanager
    def autocommit(self) -> Iterator[Connection]:
        """Yield a connection for statements that must not be in a transaction; no timeout holds."""
        with self._engine.connect().execution_options(no_begin=True) as connection:
            yield connection

    def cancel(self, before: float) -> None:
        """Cancel the statements of transactions begun *before* this time, in monotonic seconds.

        They raise a transient error, so their jobs are postponed.
        """
        self._in_use.cancel(before)

    def close(self) -> None:
        """Close every idle connection."""
        self._engine.dispose()

    def _begin(self, connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("no_begin"):
            deferred.begin(connection, ())
            return
        timeouts = {
            "statement_timeout": self.statement_timeout,
            "lock_timeout": options.get("lock_timeout", self.lock_timeout),
        }
        if options.get("implicit"):
            deferred.begin(connection, self._set_local("pg_catalog", timeouts), repeated=True)
            return
        timeouts["idle_in_transaction_session_timeout"] = self._idle_timeout
        if _server_version(connection) >= _KNOWS_TRANSACTION_TIMEOUT:
            whole = _STATEMENTS * self.statement_timeout + self._idle_timeout
            timeouts["transaction_timeout"] = whole
        in_path = options.get("schema_in_path", self.schema_in_path)
        settings = self._set_local(self.schema if in_path else "pg_catalog", timeouts)
        deferred.begin(connection, ["begin isolation level read committed", *settings])

    def _set_local(self, schema: str, timeouts: Mapping[str, timedelta]) -> list[str]:
        # pg_temp, which would come first of itself, comes last.
        path = f"{Identifier(schema).as_string()}, pg_temp"
        settings = {"search_path": path, "timezone": "'UTC'", "row_security": "off"}
        settings |= {name: str(_milliseconds(length)) for name, length in timeouts.items()}
        return [f"set local {name} = {value}" for name, value in settings.items()]


def schema_of(connection: Connection) -> str:
    """Return the schema of the platform's tables, in which statements find them."""
    return str(connection.get_execution_options()["schema_translate_map"][None])


def _server_version(connection: Connection) -> int:
    """Return the server's version, which it told when the connection was opened."""
    opened = connection.connection.driver_connection
    return opened.info.server_version if isinstance(opened, psycopg.Connection) else 0


def connect(url: str, settings: DatabaseSettings) -> Database:
    """Return the database at *url*, with the timeouts and the pool that the settings name."""
    return Database(
        url,
        statement_timeout=settings.statement_timeout,
        lock_timeout=settings.lock_timeout,
        connect_timeout=settings.connect_timeout,
        pool_size=settings.pool_size,
    )


def _milliseconds(length: timedelta) -> int:
    return max(1, round(length / timedelta(milliseconds=1)))
