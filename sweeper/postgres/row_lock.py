"""Locks on rows of our own schema: unlike an advisory lock, no login without a grant holds one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Column, Connection, Table, Text, bindparam, func, text
from sqlalchemy.dialects.postgresql import TIMESTAMP, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper.errors import LockedError
from sweeper.ledger import METADATA
from sweeper.postgres import deferred
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_locked

LOCK = Table(
    "lock",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("taken_at", TIMESTAMP(timezone=True), nullable=False),
)

_NOW = {"taken_at": func.now()}
# Whoever has locked the whole table; asked first, because the other query reads that table.
_OF_TABLE = text(
    "select pid from pg_locks where locktype = 'relation' and granted"
    " and database = (select oid from pg_database where datname = current_database())"
    " and relation = cast('sweeper.lock' as regclass)"
    " and mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
)
_OF_ROW = text(
    "select pid from pg_locks where locktype = 'transactionid' and granted"
    " and transactionid = (select xmax from sweeper.lock where name = :name)"
)


def take(tx: Connection, database: Database, name: str) -> None:
    """Hold the lock *name* until the end of *tx*, after waiting for whoever holds it.

    Raises LockedError, which names that session, where the transaction's lock timeout ends first.
    """
    with taken(tx, database, name):
        deferred.send(tx)


@contextmanager
def taken(tx: Connection, database: Database, name: str) -> Iterator[None]:
    """Take the lock *name* with the first statement of the block, as `take` does.

    The block must send what is deferred. Whatever waits for a lock in it is told as this one:
    LockedError is raised, and names the session that holds it.
    """
    row = insert(LOCK).values(name=name, taken_at=func.now())
    deferred.defer(tx, row.on_conflict_do_update(index_elements=[LOCK.c.name], set_=_NOW))
    try:
        yield
    except DBAPIError as error:
        if not is_locked(error):
            raise
        pid = _holder(database, name)
        who = "another session" if pid is None else f"another session (pid {pid})"
        message = (
            f"{who} holds the lock {name}: it works long, or hangs; if it still does in half a"
            " minute, the doctor says who it is and how to end it\nrun: sweeper doctor"
        )
        raise LockedError(message) from error


def _holder(database: Database, name: str) -> int | None:
    """Return the pid of the session that holds the lock; None where it cannot be found."""
    of_row = _OF_ROW.bindparams(bindparam("name", name, literal_execute=True))
    # On a connection of its own, because the caller's transaction has failed.
    with suppress(DBAPIError, PoolTimeoutError), database.glance() as connection:
        for query in (_OF_TABLE, of_row):
            if (pid := connection.execute(query).scalar()) is not None:
                return int(pid)
    return None
