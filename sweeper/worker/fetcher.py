"""The fetcher: reads messages under a lease, with suspected poison messages apart."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy.exc import DBAPIError

from sweeper.errors import ClockSkewedError
from sweeper.job import JobType, Lane, Message
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_out_of_range
from sweeper.queue.pgmq import Queues
from sweeper.worker.completer import Completer
from sweeper.worker.isolation import Isolation, isolate_poison
from sweeper.worker.lease import GiveBack, Lease, Leases
from sweeper.worker.one_pass import Pass
from sweeper.worker.rest import PAUSE
from sweeper.worker.sorter import Fetched, Sorter

_BEYOND = timedelta(seconds=1)  # as a lease is rounded up to seconds
_STOP_CHECK = 0.2  # seconds between two checks whether to stop waiting


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Reads messages from the queues and turns them into jobs.

    completer   -- settles what cannot become a job; its database and queues are read from
    types       -- every known job type by name
    crash_limit -- the number of reads without a decision after which a message is dead-lettered
    max_skew    -- the largest allowed difference of this host's clock from the database's
    isolation   -- shared by all workers of the process, as the leases are
    left        -- the queues that are not read, because a pass has left them
    """

    completer: Completer
    types: Mapping[str, JobType[Any]]
    crash_limit: int
    max_skew: timedelta
    isolation: Isolation = field(default_factory=Isolation)
    leases: Leases = field(default_factory=Leases)
    left: set[str] | frozenset[str] = frozenset()

    @property
    def database(self) -> Database:
        """The database that the messages are read from."""
        return self.completer.database

    @property
    def queues(self) -> Queues:
        """The queues that the messages are read from."""
        return self.completer.queues

    @property
    def give_back(self) -> GiveBack:
        """Gives back the messages that are not handled."""
        return self.completer.give_back

    def joined(self, one: Pass) -> "Fetcher":
        """Return a fetcher that works in *one* pass."""
        return replace(self, completer=replace(self.completer, decided=one.decided), left=one.left)

    def read(
        self,
        queues: Sequence[str],
        *,
        lease: timedelta,
        quantity: int,
        only: str | None = None,
        busy: bool = False,
        stopping: Callable[[], bool] = lambda: False,
    ) -> list[Message]:
        """Read messages of the first of *queues* that has any, in a transaction of its own.

        The read is thus counted even if the worker crashes later, which is how crashes are counted.
        Suspected poison messages are returned in smaller groups, and the others are given back. The
        suspects themselves are given back until no other thread of this process is at work.

        only     -- the sweep whose messages are read; None for all messages
        busy     -- whether the caller itself has begun other messages, so that it reads no suspects
        stopping -- once true, suspects are not waited for

        Raises ClockSkewedError, after giving the messages back, where the clocks differ too much.
        """
        self.give_back.retry()
        queues = [queue for queue in queues if queue not in self.left]
        if not queues:
            return []
        read = partial(self._read_capped, queues, lease=lease, quantity=quantity, only=only)
        while (messages := read(busy=busy)) is None:
            if busy or not self._wait_to_be_alone(stopping):
                return []
        return messages

    def _read_capped(self, queues: Sequence[str], **how: Any) -> list[Message] | None:
        """Read as `_read` does, also where a sender wrote a count of reads that cannot be raised.

        pgmq raises it, so that one such message would block its queue; it is then a crashed one.
        """
        try:
            return self._read(queues, **how)
        except DBAPIError as error:
            if not is_out_of_range(error):
                self.give_back.after_error(())  # what was read, where only the answer was lost
                raise
        with self.database.transaction() as tx:
            self.queues.cap_reads(tx)
        return self._read(queues, **how)

    def _read(
        self,
        queues: Sequence[str],
        *,
        lease: timedelta,
        quantity: int,
        only: str | None,
        busy: bool,
    ) -> list[Message] | None:
        """Read the messages to begin; None where they are suspects, and others are under way.

        What is not begun is given back. The read is committed before, in the same round trip, but
        for messages that another worker of the process still holds: it must not miss their counts.
        """
        before = clock.now()
        overdue = self.leases.are_overdue
        with self.give_back.reads.marked() as mark, self.database.transaction() as tx:
            messages, beyond = self.queues.read(
                tx,
                queues,
                lease=lease,
                quantity=quantity,
                only=only,
                commit=not overdue,
                mark=mark,
            )
            if overdue and (held := self.leases.held(messages)):
                # A second more than the read's: if its answer is lost, these are not its own.
                self.queues.postpone(tx, held, lease + _BEYOND)
                messages = [message for message in messages if message not in held]
        self._return(beyond, messages)
        if not messages:
            return []
        try:
            clock.agree(before, messages[0].read_at, clock.now(), self.max_skew)
        except ClockSkewedError:
            self.give_back.give_back(messages, PAUSE)
            raise
        to_begin, others = isolate_poison(messages, quantity, self.crash_limit)
        suspected = any(0 < each.crashes < self.crash_limit for each in to_begin)
        may_begin = not suspected or (not busy and self.isolation.alone())
        if not may_begin:
            to_begin, others = [], messages
        self._return(others, to_begin)
        return to_begin if may_begin else None

    def _return(self, others: Sequence[Message], kept: Sequence[Message]) -> None:
        """Give *others* back; where that fails, *kept* too, because nobody will begin them."""
        if not others:
            return
        try:
            self.give_back.give_back(others)
        except Exception:
            self.give_back.after_error(kept)
            raise

    def _wait_to_be_alone(self, stopping: Callable[[], bool]) -> bool:
        """Wait until no other thread is at work; False where another waits for that, or at a stop.

        No message is held meanwhile, so that no lease can run out.
        """
        while not self.isolation.alone(_STOP_CHECK):
            if self.isolation.claimed() or stopping():
                return False
        return True

    @contextmanager
    def lease(self, messages: Iterable[Message], length: timedelta) -> Iterator[Lease]:
        """Hold messages that were read under a lease of *length*."""
        with (
            Lease(self.database, self.queues, length, messages) as lease,
            self.leases.including(lease),
        ):
            yield lease

    def sort(self, messages: Iterable[Message], lane: Lane, now: datetime) -> Fetched:
        """Parse *messages* and return the jobs that are handled in *lane*."""
        return Sorter(self.completer, self.types, self.crash_limit).sort(messages, lane, now)
