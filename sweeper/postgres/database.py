"""The database: a connection pool, and transactions that set their timeouts, as poolers need."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from typing import Self

from psycopg.sql import SQL, Identifier, Literal
from sqlalchemy import Connection, create_engine, event

from sweeper.postgres.in_use import ConnectionsInUse
from sweeper.postgres.url import parse_url

_BEGIN = SQL(
    "begin; set local timezone = 'UTC'; set local row_security = off; "
    "set local statement_timeout = {statement}; set local lock_timeout = {lock}"
)


class Database:
    """A connection pool to one server; every transaction has timeouts and uses UTC.

    url               -- as the platform writes it, with Prisma's own parameters
    statement_timeout -- the longest that one statement may run
    lock_timeout      -- the longest that a statement waits for another transaction's lock
    connect_timeout   -- the longest that opening a connection may take
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
        parsed, self.schema, self.pooled = parse_url(url)
        self.url = parsed.difference_update_query(("password", "sslpassword"))
        self.lock_timeout = lock_timeout
        self._statement_timeout = statement_timeout
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
                "prepare_threshold": None,  # a pooler may give the next transaction another server
                "connect_timeout": max(2, round(connect_timeout.total_seconds())),
                "tcp_user_timeout": _milliseconds(connect_timeout),
                "keepalives_idle": 30,
                "application_name": "sweeper",
            },
        )
        event.listen(self._engine, "begin", self._begin)
        self._in_use = ConnectionsInUse(self._engine)
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self, *, lock_timeout: timedelta | None = None) -> Iterator[Connection]:
        """Open a transaction, which commits at the end and is rolled back by any error."""
        if self._connection is not None:
            with self._connection.begin_nested():
                milliseconds = _milliseconds(lock_timeout or self.lock_timeout)
                self._connection.exec_driver_sql(f"set local lock_timeout = {milliseconds}")
                yield self._connection
            return
        with self._engine.connect() as connection:
            if lock_timeout is not None:
                connection.execution_options(lock_timeout=lock_timeout)
            with connection.begin():
                yield connection

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
    def autocommit(self) -> Iterator[Connection]:
        """Yield a connection for one quick statement that needs no transaction."""
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
            return
        begin = _BEGIN.format(
            statement=Literal(_milliseconds(self._statement_timeout)),
            lock=Literal(_milliseconds(options.get("lock_timeout", self.lock_timeout))),
        )
        if self.schema:
            begin += SQL("; set local search_path = {}").format(Identifier(self.schema))
        # One round trip: without parameters, the server takes several statements at once.
        connection.exec_driver_sql(begin.as_string())


def _milliseconds(length: timedelta) -> int:
    return max(1, round(length / timedelta(milliseconds=1)))
