"""The fetcher: reads messages under a lease, and parses and sorts them into jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeAlias, TypeVar, assert_never

from sweeper import events
from sweeper.batch import Tally
from sweeper.errors import ClockSkewedError
from sweeper.job import Job, JobType, Lane, Message
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_transient
from sweeper.queue import dead_letter
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import MalformedMessage, MultiKeyMessage, parse
from sweeper.worker.completer import Completer
from sweeper.worker.completion import PAUSE, log_undecided
from sweeper.worker.isolation import Isolation, isolate_poison
from sweeper.worker.lease import GiveBack, Lease
from sweeper.worker.one_pass import Pass

_STOP_CHECK = 0.2  # seconds between two checks whether to stop waiting

_CHUNK = 1_000  # messages in one statement, when a message for several keys is split

T = TypeVar("T")
Pairs: TypeAlias = Sequence[tuple[Message, T]]


@dataclass(frozen=True, slots=True)
class Fetched:
    """The jobs that can be handled, and the tally of messages that were dead-lettered instead.

    crashed -- outbound jobs that crashed too often, which their worker must dead-letter
    """

    jobs: list[Job[Any]]
    tally: Tally
    crashed: Sequence[Job[Any]] = ()

    def by_type(self) -> list[list[Job[Any]]]:
        """Return the jobs in one list for each type, in the order of the messages."""
        groups: dict[str, list[Job[Any]]] = {}
        for job in self.jobs:
            groups.setdefault(job.type.name, []).append(job)
        return list(groups.values())


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Reads messages from the queues and turns them into jobs.

    completer   -- settles what cannot become a job; its database and queues are read from
    types       -- every known job type by name
    crash_limit -- the number of reads without a decision after which a message is dead-lettered
    max_skew    -- the largest allowed difference of this host's clock from the database's
    isolation   -- shared by all workers of the process
    left        -- the queues that are not read, because a pass has left them
    """

    completer: Completer
    types: Mapping[str, JobType[Any]]
    crash_limit: int
    max_skew: timedelta
    isolation: Isolation = field(default_factory=Isolation)
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
        read = partial(self._read, queues, lease=lease, quantity=quantity, only=only)
        while (messages := read(busy=busy)) is None:
            if busy or not self._wait_to_be_alone(stopping):
                return []
        return messages

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

        What is not begun is given back in the same transaction.
        """
        before, skewed = clock.now(), None
        with self.database.transaction() as tx:
            messages = self.queues.read(tx, queues, lease=lease, quantity=quantity, only=only)
            if not messages:
                return []
            try:
                clock.agree(before, messages[0].read_at, clock.now(), self.max_skew)
            except ClockSkewedError as error:
                skewed = error
                self.queues.postpone(tx, messages, PAUSE)
            else:
                to_begin, others = isolate_poison(messages, quantity, self.crash_limit)
                suspected = any(0 < each.crashes < self.crash_limit for each in to_begin)
                may_begin = not suspected or (not busy and self.isolation.alone())
                if to_give_back := others if may_begin else messages:
                    self.queues.postpone(tx, to_give_back, timedelta())
        if skewed:
            raise skewed
        return to_begin if may_begin else None

    def _wait_to_be_alone(self, stopping: Callable[[], bool]) -> bool:
        """Wait until no other thread is at work; False where another waits for that, or at a stop.

        No message is held meanwhile, so that no lease can run out.
        """
        while not self.isolation.alone(_STOP_CHECK):
            if self.isolation.claimed() or stopping():
                return False
        return True

    def lease(self, messages: Iterable[Message], length: timedelta) -> Lease:
        """Return a lease of *length* on messages that were read."""
        return Lease(self.database, self.queues, length, messages)

    def sort(self, messages: Iterable[Message], lane: Lane, now: datetime) -> Fetched:
        """Parse *messages* and return the jobs that are handled in *lane*.

        A malformed message, or one that has crashed too often, is dead-lettered; a message for
        several keys is split into one for each key; a misrouted job is moved to its own queue. An
        outbound job that has crashed too often is returned in `crashed`, because its handler has
        recorded that a call was begun and must record its end.
        """
        jobs, misrouted, to_split = list[Job[Any]](), list[Job[Any]](), list[MultiKeyMessage]()
        crashed = list[Job[Any]]()
        dead = list[tuple[Message, DeadLetter]]()
        for message in messages:
            match parse(message, self.types, self.completer.max_retries):
                case MalformedMessage() as malformed:
                    dead.append((message, dead_letter.of_malformed(malformed, now)))
                case Job() as job if (
                    self._crashed(message) and job.type.lane is lane is Lane.OUTBOUND
                ):
                    crashed.append(job)
                case Job() | MultiKeyMessage() as poison if self._crashed(message):
                    dead.append((message, dead_letter.of_crashed(poison, now)))
                case MultiKeyMessage() as multi_key:
                    to_split.append(multi_key)
                case Job() as job if job.type.lane is not lane:
                    misrouted.append(job)
                case Job() as job:
                    jobs.append(job)
                case other:
                    assert_never(other)
        tally = self._settle(dead, lambda part: self.completer.dead_letter(part, now))
        self._settle([(each.message, each) for each in to_split], self._split)
        self._settle([(job.message, job) for job in misrouted], self._move)
        return Fetched(jobs, tally, crashed)

    def _crashed(self, message: Message) -> bool:
        return message.crashes >= self.crash_limit

    def _settle(
        self, messages: Sequence[tuple[Message, T]], settle: Callable[[Pairs[T]], Tally]
    ) -> Tally:
        """Settle *messages* together, or each alone where one of them makes that fail.

        That one stays leased, which counts as a crash; the database's own failures are raised.
        """
        try:
            return settle(messages) if messages else Tally()
        except Exception as error:
            if is_transient(error):
                raise
            if len(messages) > 1:
                return sum((self._settle([each], settle) for each in messages), Tally())
            log_undecided(messages[0][0], error)
            return Tally()

    def _split(self, messages: Pairs[MultiKeyMessage]) -> Tally:
        """Replace each message by one message for each of its keys, in the same lane's queue."""
        for message, multi_key in messages:
            queue, home, bodies = message.queue, self.queues.home(multi_key.type), multi_key.bodies
            target = home if self.queues.outbound in {queue, home} else queue
            with self.completer.settling_messages([message]) as (tx, owned):
                for begin in range(0, len(bodies) if owned else 0, _CHUNK):
                    self.queues.send(tx, target, bodies[begin : begin + _CHUNK], timedelta())
        return Tally()

    def _move(self, misrouted: Pairs[Job[Any]]) -> Tally:
        """Move jobs of another lane to their own queues."""
        for home in {self.queues.home(job.type) for _, job in misrouted}:
            jobs = [job for _, job in misrouted if self.queues.home(job.type) == home]
            messages = [job.message for job in jobs]
            with self.completer.settling_messages(messages) as (tx, owned):
                bodies = [job.body for job in jobs if job.message.msg_id in owned]
                self.queues.send(tx, home, bodies, timedelta())
            if bodies:
                source = messages[0].queue
                events.JOB_MOVED.log(count=len(bodies), source=source, target=home)
        return Tally()
