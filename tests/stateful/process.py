"""A process of the service, without its loops: its memory, its connections, and what it can do."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import event

from sweeper.app import App
from sweeper.catalog import Catalog
from sweeper.errors import LockedError
from sweeper.job import Message
from sweeper.ledger import Trigger
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_transient
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.sweep.scan import ScanOptions
from sweeper.worker.drain import Drain
from sweeper.worker.lease import GiveBack
from tests.stateful.gate import GatedConnection, GatedCursor, GatedIsolation, Monitor, Walker

_ERRORS = 3  # after which an act ends: the service would go on, after a rest

Held = tuple[str, int, int]
"""One read of a message: its queue, its id, and its count of reads."""


class Process:
    """One process: an app with connections of its own, and the threads that work in it.

    database -- of a process that has ended, with an empty pool: it knows the statements already
    dead     -- whether it was killed: nothing that it does reaches the database any more
    stopping -- whether it was asked to stop
    delivers -- whether one of its threads works off the outbound lane, as only one may
    given    -- the reads that it has given back
    walkers  -- the threads at work
    """

    def __init__(
        self,
        catalog: Catalog,
        monitor: Monitor,
        settings: Mapping[str, Any],
        database: Database | None = None,
    ) -> None:
        self.dead = self.stopping = self.delivers = False
        self.monitor = monitor
        self.given = set[Held]()
        self.walkers = list[Walker]()
        self._connections = list[GatedConnection]()
        self.app = App.load(catalog, flags=settings)
        if database is not None:
            vars(self.app)["database"] = database
        event.listen(self.app.database._engine, "do_connect", self._connect)
        self._warm_up()
        vars(self.app)["give_back"] = _Noting(self)
        vars(self.app)["fetcher"] = replace(self.app.fetcher, isolation=GatedIsolation(self))
        self._outbound = self.app.outbound()
        self._outbound.stopping = self._asked_to_stop

    def begin(self, act: str, *, patient: bool = False) -> Walker:
        """Begin *act* in a thread, and return it at its first gate."""
        walker = Walker(lambda: ACTS[act](self), self.monitor, patient=patient)
        self.walkers.append(walker)
        walker.start()
        return walker

    def ended(self, walker: Walker) -> None:
        """Forget a thread that has ended; raise what ended it, if that was an error."""
        self.walkers.remove(walker)
        if walker.error:
            raise walker.error

    def kill(self) -> None:
        """End the process at once, wherever its threads are."""
        self.dead = True
        for connection in self._connections:
            if not connection.closed:
                self.monitor.terminate(connection.info.backend_pid)
        for walker in self.walkers:
            if walker.place is not None:
                walker.go()
            walker.join()
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self.app.close()
        for connection in self._connections:
            connection.close()
        event.remove(self.app.database._engine, "do_connect", self._connect)

    def held(self) -> Iterable[Held]:
        """Return the reads whose messages this process believes to hold."""
        for lease in self.app.fetcher.leases._active:
            for message in lease.left:
                if (read := held(message)) not in self.given:
                    yield read

    @property
    def owes(self) -> bool:
        """Whether it remembers what it could not give back, or a read without an answer."""
        return bool(self.app.give_back._owed or self.app.give_back.reads)

    def drain(self) -> None:
        """Work off the database lane."""
        worker: Drain = self.app.drain()
        worker.stopping = self._asked_to_stop
        self._repeat(worker.step)

    def deliver(self) -> None:
        """Work off the outbound lane."""
        self.delivers = True
        try:
            self._repeat(self._outbound.step)
        finally:
            self.delivers = False

    def scan(self, rule: str) -> None:
        """Scan one rule; the sweep's row says by its actor what the limit was."""
        limit = self.app.settings.safety.max_per_sweep
        options = ScanOptions(str(uuid.uuid4()), Trigger.MANUAL, limit, actor=str(limit))
        self._try(lambda: self.app.scanner.scan(self.app.rules[rule], options))

    def revive(self) -> None:
        """Retry every dead letter."""
        self._try(lambda: self.app.dead_letter_queue.retry(DeadLetterFilter()))

    def drop(self) -> None:
        """Drop every dead letter."""
        self._try(lambda: self.app.dead_letter_queue.drop(DeadLetterFilter()))

    def settle_debts(self) -> None:
        """Give back what is remembered, as the supervisor does at the end of a stop."""
        self._try(self.app.give_back.retry)

    def _repeat(self, step: Callable[[], object]) -> None:
        errors = 0
        while errors < _ERRORS and not self.stopping:
            worked = self._try(step)
            errors += worked is False
            if worked is None:
                return

    def _try(self, act: Callable[[], object]) -> object:
        """Return what *act* returns, or False where the database's trouble ended it."""
        try:
            return act()
        except LockedError:
            return False
        except Exception as error:
            if is_transient(error):
                return False
            raise

    def _asked_to_stop(self) -> bool:
        return self.stopping

    def _connect(self, _dialect: Any, _record: Any, arguments: Any, named: Any) -> GatedConnection:
        named = {**named, "cursor_factory": GatedCursor}
        connection = GatedConnection.connect(*arguments, **named)
        connection.owner = self
        self._connections.append(connection)
        return connection

    def _warm_up(self) -> None:
        """Open a connection outside any thread: what SQLAlchemy asks first needs no gate."""
        with self.app.database.transaction():
            pass


class _Noting(GiveBack):
    """Gives messages back, and notes for its process that it did so."""

    def __init__(self, process: Process) -> None:
        super().__init__(process.app.database, process.app.queues)
        self._process = process

    def _remember(self, messages: Iterable[Message], rest: Any) -> None:
        messages = list(messages)
        self._process.given |= set(map(held, messages))
        super()._remember(messages, rest)


def held(message: Message) -> Held:
    """Return the read by which *message* is held."""
    return message.queue, message.msg_id, message.read_ct


ACTS: Mapping[str, Callable[[Process], None]] = {
    "drain": Process.drain,
    "deliver": Process.deliver,
    "scan expire_dp": lambda process: process.scan("expire_dp"),
    "scan auto_refund": lambda process: process.scan("auto_refund"),
    "revive": Process.revive,
    "drop": Process.drop,
    "settle debts": Process.settle_debts,
}
"""What a thread of a process can be told to do."""
