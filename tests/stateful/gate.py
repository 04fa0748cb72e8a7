"""A gate before every round trip to the database, at which a thread waits until it is let through.

So a test decides which of several workers goes on, and what becomes of its connection there.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

import psycopg
from psycopg.pq import TransactionStatus

from sweeper.worker.isolation import Isolation

_PATIENCE = 60.0  # seconds until a thread that neither waits nor arrives fails the test
_LOOK = 0.005  # seconds between two looks whether a thread waits for a lock
_LOCK_TIMEOUT = re.compile(r"(set local lock_timeout = )\d+")


class Killed(BaseException):
    """The process of this thread was killed, which nothing may handle."""


class Order(StrEnum):
    """What a test tells a thread that waits at its gate."""

    GO = "go on"
    LOSE = "the connection is lost before the statement arrives"
    DEAF = "the connection is lost before the reply arrives"


class Monitor:
    """Looks at the server's sessions, and ends them."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def waits(self, pid: int) -> bool:
        """Return whether the session waits for another one's lock."""
        query = "select cardinality(pg_blocking_pids(%s)) > 0"
        row = self._connection.execute(query, [pid]).fetchone()
        return bool(row and row[0])

    def terminate(self, pid: int) -> None:
        """End the session, and wait until it has released its locks."""
        self._connection.execute("select pg_terminate_backend(%s)", [pid])
        there = "select from pg_stat_activity where pid = %s"
        while self._connection.execute(there, [pid]).fetchone() is not None:
            time.sleep(0.001)


class Walker:
    """A thread that does some work, and waits at a gate before each round trip.

    patient -- whether it waits for locks as long as they are held; otherwise 20 ms
    place   -- where it waits; None while it runs
    error   -- what its work raised
    """

    def __init__(self, work: Callable[[], object], monitor: Monitor, *, patient: bool) -> None:
        self.patient = patient
        self.place: str | None = None
        self.pid: int | None = None
        self.blocked = False
        self.ended = False
        self.error: BaseException | None = None
        self._work = work
        self._monitor = monitor
        self._order: Order | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Run until the first gate."""
        self._thread.start()
        self.settle()

    def go(self, order: Order = Order.GO) -> None:
        """Let the thread through, and wait until it is at the next gate, ends, or is blocked."""
        with self._changed:
            self._order, self.place = order, None
            self._changed.notify_all()
        self.settle()

    def settle(self) -> None:
        """Wait until the thread is at a gate, has ended, or waits for another session's lock."""
        looks, self.blocked = 0, False
        while not self._still(_LOOK):
            looks += 1
            assert looks * _LOOK < _PATIENCE, "a thread neither waits nor arrives"
            if self.patient and self.pid is not None and self._monitor.waits(self.pid):
                self.blocked = True
                return

    def join(self) -> None:
        """Wait until the thread has ended; nothing holds it up any more."""
        self._thread.join(_PATIENCE)
        assert self.ended, "a thread does not end"

    def arrive(self, place: str) -> Order:
        """Wait at the gate, in the walker's own thread, and return what the test says."""
        with self._changed:
            self.place = place
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._order is not None)
            order, self._order = self._order, None
        return order or Order.GO

    def _still(self, seconds: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.ended or self.place is not None, seconds)

    def _run(self) -> None:
        _current.walker = self
        try:
            self._work()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 -- the machine raises it in its own thread
            self.error = error
        finally:
            with self._changed:
                self.ended = True
                self._changed.notify_all()


class Owner(Protocol):
    """The process that a connection belongs to."""

    dead: bool
    monitor: Monitor


class GatedConnection(psycopg.Connection[Any]):
    """A connection whose round trips begin at the gate of the thread that makes them."""

    owner: Owner

    def commit(self) -> None:
        """Commit, unless nothing is open."""
        if self.info.transaction_status != TransactionStatus.IDLE:
            with self._gate("commit"):
                super().commit()

    def rollback(self) -> None:
        """Roll back, unless nothing is open; the server does so for a process that is gone."""
        if self.info.transaction_status != TransactionStatus.IDLE and not self.owner.dead:
            with self._gate("rollback"):
                super().rollback()

    @contextmanager
    def _gate(self, place: str) -> Iterator[Walker | None]:
        walker: Walker | None = getattr(_current, "walker", None)
        order = walker.arrive(place) if walker else Order.GO
        if not self.owner.dead and order is Order.LOSE:
            self.owner.monitor.terminate(self.info.backend_pid)
        if walker:
            walker.pid = self.info.backend_pid
        try:
            if self.owner.dead:
                raise _gone(walker)
            yield walker
        except psycopg.Error:
            if self.owner.dead:
                raise _gone(walker) from None
            raise
        finally:
            if walker:
                walker.pid = None
        if order is Order.DEAF:
            self.owner.monitor.terminate(self.info.backend_pid)
            self.close()
            message = "the reply did not arrive"
            raise psycopg.OperationalError(message)


class GatedCursor(psycopg.ClientCursor[Any]):
    """A cursor whose statements wait at the gate."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Send the statement when the gate is open."""
        connection = self.connection
        assert isinstance(connection, GatedConnection)
        with connection._gate(str(query)) as walker:
            if walker:
                limit = 0 if walker.patient else 20
                query = _LOCK_TIMEOUT.sub(rf"\g<1>{limit}", query)
            return super().execute(query, params, **options)


class GatedIsolation(Isolation):
    """An isolation whose waiting for the other threads is a gate, too."""

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self._owner = owner

    def alone(self, seconds: float = 0.0) -> bool:
        """Ask whether the calling thread is alone; never wait for it but at the gate."""
        walker: Walker | None = getattr(_current, "walker", None)
        if seconds and walker:
            walker.arrive(WAITS_TO_BE_ALONE)
            if self._owner.dead:
                raise Killed
        return super().alone()


WAITS_TO_BE_ALONE = "waits to be alone"
_current = threading.local()


def _gone(walker: Walker | None) -> BaseException:
    return Killed() if walker else psycopg.OperationalError("the process was killed")
