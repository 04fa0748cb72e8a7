"""Messages that were read, parsed and sorted: into jobs to handle, and what is settled at once."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar, assert_never

from sweeper import events
from sweeper.batch import Tally
from sweeper.job import Job, JobType, Lane, Message
from sweeper.ledger import Ending, Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.errors import is_transient
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.pgmq import Queues
from sweeper.queue.wire import MalformedMessage, MultiKeyMessage, parse
from sweeper.worker.completer import Completer
from sweeper.worker.completion import log_undecided

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


def by_type(jobs: Iterable[Job[Any]]) -> list[list[Job[Any]]]:
    """Return *jobs* in one list for each type, in their order."""
    groups: dict[str, list[Job[Any]]] = {}
    for job in jobs:
        groups.setdefault(job.type.name, []).append(job)
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class Sorter:
    """Parses messages, and settles those that do not become a job of the lane.

    completer   -- settles them
    types       -- every known job type by name
    crash_limit -- the number of reads without a decision after which a message is dead-lettered
    """

    completer: Completer
    types: Mapping[str, JobType[Any]]
    crash_limit: int

    @property
    def queues(self) -> Queues:
        """The queues that the messages were read from."""
        return self.completer.queues

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
        tally += self._settle([(each.message, each) for each in to_split], self._split)
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
        """Replace each message by one message for each of its keys, in the same lane's queue.

        A message without keys is skipped.
        """
        skipped = 0
        for message, multi_key in messages:
            queue, home, bodies = message.queue, self.queues.home(multi_key.type), multi_key.bodies
            target = home if self.queues.outbound in {queue, home} else queue
            with self.completer.settling_messages([message]) as (tx, owned):
                for begin in range(0, len(bodies) if owned else 0, _CHUNK):
                    self.queues.send(tx, target, bodies[begin : begin + _CHUNK], timedelta())
                if owned and not bodies:
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
