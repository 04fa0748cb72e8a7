"""The fetcher: reads messages under a lease, and parses and sorts them into jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar, assert_never

from sweeper import events
from sweeper.batch import Tally
from sweeper.errors import ClockSkewedError
from sweeper.job import Job, JobType, Lane, Message
from sweeper.ledger import Ending, Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_transient
from sweeper.queue import dead_letter
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import MalformedMessage, MultiKeyMessage, parse
from sweeper.worker.completer import Completer
from sweeper.worker.completion import PAUSE, log_undecided
from sweeper.worker.lease import GiveBack, Lease

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

    types       -- every known job type by name
    max_retries -- the default where neither a message nor its type has a number
    crash_limit -- the number of reads without a decision after which a message is dead-lettered
    max_skew    -- the largest allowed difference of this host's clock from the database's
    """

    database: Database
    queues: Queues
    completer: Completer
    give_back: GiveBack
    types: Mapping[str, JobType[Any]]
    max_retries: int
    crash_limit: int
    max_skew: timedelta

    def read(
        self, queues: Sequence[str], *, lease: timedelta, quantity: int, only: str | None = None
    ) -> list[Message]:
        """Read messages of the first of *queues* that has any, in a transaction of its own.

        The read is thus counted even if the worker crashes later, which is how crashes are counted.
        Suspected poison messages are returned in smaller groups, and the others are given back.

        only -- the sweep whose messages are read; None for all messages

        Raises ClockSkewedError, after giving the messages back, where the clocks differ too much.
        """
        self.give_back.retry()
        before = clock.now()
        with self.database.transaction() as tx:
            messages = self.queues.read(tx, queues, lease=lease, quantity=quantity, only=only)
        if not messages:
            return []
        try:
            clock.agree(before, messages[0].read_at, clock.now(), self.max_skew)
        except ClockSkewedError:
            self.give_back.give_back(messages, PAUSE)
            raise
        to_begin, others = isolate_poison(messages, quantity, self.crash_limit)
        self.give_back.give_back(others)
        return to_begin

    def lease(self, messages: Iterable[Message], length: timedelta) -> Lease:
        """Return a lease of *length* on messages that were read."""
        return Lease(self.database, self.queues, length, messages)

    def sort(self, messages: Iterable[Message], lane: Lane, now: datetime) -> Fetched:
        """Parse *messages* and return the jobs that are handled in *lane*.

        A malformed message, or one that has crashed too often, is dead-lettered; a message for
        several keys is split into one for each key, one for no keys is skipped; a misrouted job is
        moved to its own queue. An outbound job that has crashed too often is returned in `crashed`,
        because its handler has recorded that a call was begun and must record its end.
        """
        jobs, misrouted, to_split = list[Job[Any]](), list[Job[Any]](), list[MultiKeyMessage]()
        crashed = list[Job[Any]]()
        dead = list[tuple[Message, DeadLetter]]()
        for message in messages:
            match parse(message, self.types, self.max_retries):
                case MalformedMessage() as malformed:
                    dead.append((message, dead_letter.of_malformed(malformed, now)))
                case MultiKeyMessage() as multi_key:
                    to_split.append(multi_key)
                case Job() as job if message.crashes >= self.crash_limit:
                    if job.type.lane is lane is Lane.OUTBOUND:
                        crashed.append(job)
                    else:
                        dead.append((message, dead_letter.of_crashed(job, now)))
                case Job() as job if job.type.lane is not lane:
                    misrouted.append(job)
                case Job() as job:
                    jobs.append(job)
                case other:
                    assert_never(other)
        tally = self._settle(dead, lambda part: self.completer.dead_letter(part, now))
        tally += self._settle([(each.message, each) for each in to_split], self._split)
        self._settle([(job.message, job) for job in misrouted], self._move)
        return Fetched(jobs, tally, crashed)

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
        """Replace each message by one message for each of its keys; without keys it is skipped."""
        skipped = 0
        for message, multi_key in messages:
            home = self.queues.home(multi_key.type)
            with self.completer.settling_messages([message]) as (tx, owned):
                if owned and multi_key.bodies:
                    self.queues.send(tx, home, multi_key.bodies, timedelta())
                elif owned:
                    record(tx, [_without_keys(multi_key)], clock.now())
                    skipped += 1
        return Tally(skipped=skipped)

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


def _without_keys(message: MultiKeyMessage) -> Ending:
    return Ending(
        job_type=message.type.name,
        key=None,
        msg_id=message.message.msg_id,
        sweep_id=None,
        outcome=Outcome.SKIPPED,
        reason="it names no keys",
        attempt=1,
    )


def isolate_poison(
    messages: Sequence[Message], size: int, crash_limit: int
) -> tuple[list[Message], list[Message]]:
    """Return the messages to begin, and those to give back at once.

    A poison message crashes its worker, which must not cost other messages a read: the more often a
    message was read without a decision, the fewer are begun together with it, and finally none.
    """
    worst = max(message.crashes for message in messages)
    if worst == 0 or worst >= crash_limit:
        return list(messages), []
    suspects = [message for message in messages if message.crashes == worst]
    to_begin = suspects[: max(1, size >> 2 * worst)]
    chosen = {message.msg_id for message in to_begin}
    return to_begin, [message for message in messages if message.msg_id not in chosen]
