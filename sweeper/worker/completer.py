"""What becomes of a message: it is sorted, settled, retried, postponed or buried, never half."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, assert_never

from sqlalchemy import Connection, Select

from sweeper import events
from sweeper.errors import ClockSkewedError
from sweeper.job import Batch, Fate, Job, JobType, Lane, Message, Section, Verdict
from sweeper.ledger import Ending, Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database, in_one_line
from sweeper.queue.pgmq import DeadLetter, Queues, fingerprint
from sweeper.queue.wire import Crowd, Unreadable, again, understood
from sweeper.retry import Backoff, Dead, Reason, Retry, judge
from sweeper.worker.lease import Lease

_PAUSE = timedelta(seconds=1)  # what the database's trouble, or somebody's lock, costs a job


@dataclass(frozen=True, slots=True)
class Tally:
    """How jobs fared; `retried` and newly `dead` ones raised an error."""

    done: int = 0
    skipped: int = 0
    retried: int = 0
    postponed: int = 0
    dead: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def failed(self) -> int:
        """Jobs that raised an error."""
        return self.retried + self.dead


@dataclass(slots=True)
class Desk:
    """Where messages are sorted and verdicts are carried out.

    types       -- every job type by name
    sections    -- the job files' own settings
    cutoff      -- (job type, now) -> what is at least this old is due
    max_retries -- where neither a message nor its type says a number
    crash_limit -- reads without a verdict after which a message is dead
    max_skew    -- how far this host's clock and the database's may differ
    observe     -- is told of every batch that has committed, and of the seconds that it took
    """

    database: Database
    queues: Queues
    types: Mapping[str, JobType[Any]]
    sections: Mapping[type[Section], Section]
    cutoff: Callable[[JobType[Any], datetime], datetime]
    backoff: Backoff
    max_retries: int
    crash_limit: int
    max_skew: timedelta
    observe: Callable[["Conclusion", float], None] = lambda _conclusion, _seconds: None
    _debts: deque[Message] = field(default_factory=deque, init=False)

    def read(
        self, queues: Sequence[str], *, lease: timedelta, quantity: int, only: str | None = None
    ) -> list[Message]:
        """Lease messages of the first queue that has any, in a transaction of its own.

        only -- the sweep that sent them; None for whoever did

        A crash afterwards still counts the read, and that is how crashes are counted. Raises
        ClockSkewedError, with everything given back, where the clocks disagree.
        """
        self._pay_debts()
        before = clock.now()
        with self.database.transaction() as tx:
            messages = self.queues.read(tx, queues, lease=lease, quantity=quantity, only=only)
        if messages:
            try:
                clock.agree(before, messages[0].read_at, clock.now(), self.max_skew)
            except ClockSkewedError:
                self.give_back(messages, _PAUSE)
                raise
        return messages

    def lease(self, messages: Iterable[Message], length: timedelta) -> Lease:
        """Return the lease on what was read."""
        return Lease(self.database, self.queues, length, messages)

    def sort(self, messages: Iterable[Message], lane: Lane, now: datetime) -> "Sorted":
        """Return the jobs among *messages* that are worked in *lane*.

        What is unreadable or has crashed too often is buried, a message for several keys becomes
        several, and a job that another lane works is moved there. An outbound job that has crashed
        too often is handed on: its handler has written down that it is under way.
        """
        jobs, strays, crowds = list[Job[Any]](), list[Job[Any]](), list[Crowd]()
        crashed = list[Job[Any]]()
        dead = list[tuple[Message, DeadLetter]]()
        for message in messages:
            match understood(message, self.types, self.max_retries):
                case Unreadable() as unreadable:
                    dead.append((message, _unreadable_letter(unreadable, now)))
                case Crowd() as crowd:
                    crowds.append(crowd)
                case Job() as job if message.crashes >= self.crash_limit:
                    if job.type.lane is lane is Lane.OUTBOUND:
                        crashed.append(job)
                    else:
                        dead.append((message, _crashed_letter(job, now)))
                case Job() as job if job.type.lane is not lane:
                    strays.append(job)
                case Job() as job:
                    jobs.append(job)
                case other:
                    assert_never(other)
        tally = self._bury(dead, now)
        self._split(crowds)
        self._move(strays)
        return Sorted(jobs, tally, crashed)

    @contextmanager
    def settling(
        self, jobs: Sequence[Job[Any]], *, patience: timedelta | None = None
    ) -> Iterator[tuple[Connection, list[Job[Any]]]]:
        """Open the work's transaction with the deletion of its messages, of one queue.

        Only jobs that were still ours are handed on; the others are somebody else's by now.
        """
        messages = [job.message for job in jobs]
        with self._settled(messages, patience) as (tx, owned):
            ours = [job for job in jobs if job.message.msg_id in owned]
            yield tx, ours
        if len(ours) < len(jobs):
            lost = [job.key for job in jobs if job.message.msg_id not in owned]
            events.LEASE_LOST.tell(type=jobs[0].type.name, keys=lost)

    def batch(self, tx: Connection, jobs: Sequence[Job[Any]], now: datetime) -> Batch[Any]:
        """Return what the handler of *jobs*, all of one type, gets to see."""
        cutoff = self.cutoff(jobs[0].type, now)
        return Batch(tx, now, cutoff, jobs, self.sections, self._enqueue)

    def conclude(self, batch: Batch[Any]) -> "Conclusion":
        """Carry out what the handler said of its jobs, in its own transaction."""
        groups: dict[Fate, list[Job[Any]]] = {fate: [] for fate in Fate}
        for job in batch.jobs:
            groups[batch.verdict(job).fate].append(job)
        for delay, bodies in _waiting(batch, groups).items():
            self.queues.send(batch.tx, batch.jobs[0].message.queue, bodies, delay)
        letters = [
            _crashed_letter(job, batch.now)
            if fate is Fate.CRASHED
            else _letter(job, reason, batch.verdict(job).reason or "", batch.now)
            for fate, reason in _DEATHS.items()
            for job in groups[fate]
        ]
        ids = self.queues.bury(batch.tx, letters)
        endings = [
            _ending(job, outcome, batch.verdict(job).reason)
            for fate, outcome in _OUTCOMES.items()
            for job in groups[fate]
        ]
        record(batch.tx, endings, batch.now)
        buried = list(zip(ids, letters, strict=True))
        return Conclusion(batch, groups, buried, self.observe)

    def verdict(self, job: Job[Any], error: Exception) -> Verdict:
        """Return what is to be said of a job that raised *error*."""
        told = in_one_line(error)
        match judge(job.attempt, error, max_retries=job.max_retries, backoff=self.backoff):
            case Dead(reason):
                return Verdict(Fate(reason), told)
            case Retry(delay):
                return Verdict(Fate.RETRIED, told, delay)
            case other:
                assert_never(other)

    def fail(self, job: Job[Any], error: Exception, now: datetime) -> Tally:
        """Carry out the verdict on a job that raised *error*: it is sent again, or buried."""
        told = in_one_line(error)
        verdict = judge(job.attempt, error, max_retries=job.max_retries, backoff=self.backoff)
        match verdict:
            case Dead(reason):
                return self._bury([(job.message, _letter(job, reason, told, now))], now)
            case Retry(delay):
                with self._settled([job.message]) as (tx, owned):
                    if owned:
                        self.queues.send(tx, job.message.queue, [again(job, told)], delay)
                if not owned:
                    events.LEASE_LOST.tell(type=job.type.name, keys=[job.key])
                    return Tally()
                _tell_retried(job, delay, told)
                return Tally(retried=1)
            case other:
                assert_never(other)

    def postpone(self, jobs: Sequence[Job[Any]], error: BaseException) -> Tally:
        """Leave *jobs* for a moment, because the database was in trouble; no attempt is spent."""
        self.give_back((job.message for job in jobs), _PAUSE)
        events.JOB_POSTPONED.tell(
            type=jobs[0].type.name,
            keys=[job.key for job in jobs],
            delay_seconds=_PAUSE.total_seconds(),
            error=in_one_line(error),
        )
        return Tally(postponed=len(jobs))

    def give_back(self, messages: Iterable[Message], delay: timedelta = timedelta()) -> None:
        """Let go of leased messages as though they had not been read.

        Where the database is away they are remembered, and given back before the next read.
        """
        self._debts.extend(messages)
        self._pay_debts(delay)

    def _pay_debts(self, delay: timedelta = timedelta()) -> None:
        owed = list(self._debts)
        if not owed:
            return
        with self.database.transaction() as tx:
            for _, group in groupby(sorted(owed, key=attrgetter("queue")), attrgetter("queue")):
                self.queues.postpone(tx, list(group), delay)
        for message in owed:
            self._debts.remove(message)

    def _bury(self, dead: Sequence[tuple[Message, DeadLetter]], now: datetime) -> Tally:
        if not dead:
            return Tally()
        with self._settled([message for message, _ in dead]) as (tx, owned):
            ours = [(message, letter) for message, letter in dead if message.msg_id in owned]
            ids = self.queues.bury(tx, [letter for _, letter in ours])
            record(tx, [_dead_ending(*pair) for pair in ours], now)
        for msg_id, (_, letter) in zip(ids, ours, strict=True):
            _tell_dead(msg_id, letter)
        return Tally(dead=len(ids))

    def _split(self, crowds: Sequence[Crowd]) -> None:
        for crowd in crowds:
            home = self.queues.home(crowd.type)
            with self._settled([crowd.message]) as (tx, owned):
                if owned:
                    self.queues.send(tx, home, crowd.bodies, timedelta())

    def _move(self, strays: Sequence[Job[Any]]) -> None:
        for home in {self.queues.home(job.type) for job in strays}:
            jobs = [job for job in strays if self.queues.home(job.type) == home]
            with self._settled([job.message for job in jobs]) as (tx, owned):
                bodies = [job.body for job in jobs if job.message.msg_id in owned]
                self.queues.send(tx, home, bodies, timedelta())
            if bodies:
                source = jobs[0].message.queue
                events.JOB_MOVED.tell(count=len(bodies), source=source, target=home)

    @contextmanager
    def _settled(
        self, messages: Sequence[Message], patience: timedelta | None = None
    ) -> Iterator[tuple[Connection, frozenset[int]]]:
        with self.database.transaction(lock_timeout=patience) as tx:
            ids = [message.msg_id for message in messages]
            yield tx, self.queues.settle(tx, messages[0].queue, ids)

    def _enqueue(self, tx: Connection, job: JobType[Any], rows: Select[Any], now: datetime) -> int:
        sending = self.queues.sending(
            job, rows.cte("follow_ups"), now=now, max_retries=self.max_retries
        )
        return int(tx.execute(sending).scalar_one())


@dataclass(frozen=True, slots=True)
class Sorted:
    """The jobs that can be worked, and what became of the messages that cannot.

    crashed -- outbound jobs that crashed too often, and are still to be buried
    """

    jobs: list[Job[Any]]
    tally: Tally
    crashed: Sequence[Job[Any]] = ()

    def by_type(self) -> list[list[Job[Any]]]:
        """Return the jobs apart by type, in the order of the messages."""
        groups: dict[str, list[Job[Any]]] = {}
        for job in self.jobs:
            groups.setdefault(job.type.name, []).append(job)
        return list(groups.values())


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a committed batch came to."""

    batch: Batch[Any]
    groups: Mapping[Fate, Sequence[Job[Any]]]
    buried: Sequence[tuple[int, DeadLetter]]
    observe: Callable[["Conclusion", float], None]

    @property
    def tally(self) -> Tally:
        """The same in numbers."""
        return Tally(
            done=len(self.groups[Fate.DONE]),
            skipped=len(self.groups[Fate.SKIPPED]),
            retried=len(self.groups[Fate.RETRIED]),
            postponed=len(self.groups[Fate.POSTPONED]),
            dead=len(self.buried),
        )

    def tell(self, seconds: float) -> None:
        """Log it, now that it has happened: one line for the batch, one for each failure."""
        keys = {fate: [job.key for job in jobs] for fate, jobs in self.groups.items()}
        events.BATCH_DONE.tell(
            type=self.batch.jobs[0].type.name,
            done=keys[Fate.DONE],
            skipped=keys[Fate.SKIPPED],
            postponed=keys[Fate.POSTPONED],
            duration_ms=round(seconds * 1000, 1),
        )
        for job in self.groups[Fate.RETRIED]:
            verdict = self.batch.verdict(job)
            _tell_retried(job, verdict.delay or _PAUSE, verdict.reason or "")
        for msg_id, letter in self.buried:
            _tell_dead(msg_id, letter)
        self.batch.committed()
        self.observe(self, seconds)


_DEATHS = {
    Fate.REJECTED: Reason.REJECTED,
    Fate.EXHAUSTED: Reason.EXHAUSTED,
    Fate.CRASHED: Reason.CRASHED,
}
_OUTCOMES = {
    Fate.DONE: Outcome.DONE,
    Fate.SKIPPED: Outcome.SKIPPED,
    **dict.fromkeys(_DEATHS, Outcome.DEAD),
}


def _waiting(
    batch: Batch[Any], groups: Mapping[Fate, Sequence[Job[Any]]]
) -> Mapping[timedelta, Sequence[Mapping[str, Any]]]:
    """Return the bodies of what is sent again, by how long it rests."""
    waiting: dict[timedelta, list[Mapping[str, Any]]] = {}
    for job in (*groups[Fate.POSTPONED], *groups[Fate.RETRIED]):
        verdict = batch.verdict(job)
        failed = verdict.fate is Fate.RETRIED
        body = again(job, verdict.reason or "") if failed else job.body
        waiting.setdefault(verdict.delay or _PAUSE, []).append(body)
    return waiting


def _letter(
    job: Job[Any], reason: Reason, error: str, now: datetime, attempts: int | None = None
) -> DeadLetter:
    return DeadLetter(
        type=job.type.name,
        key=job.key,
        reason=reason,
        error=error,
        attempts=job.attempt if attempts is None else attempts,
        died_at=now,
        queue=job.message.queue,
        fingerprint=fingerprint(job.type.name, error),
        body=job.message.raw,
        sweep_id=job.sweep_id,
    )


def _crashed_letter(job: Job[Any], now: datetime) -> DeadLetter:
    reads = job.message.crashes
    error = f"{reads} reads ended without a verdict: the worker was killed, or lost its lease"
    return _letter(job, Reason.CRASHED, error, now, attempts=job.retry_count + reads)


def _unreadable_letter(unreadable: Unreadable, now: datetime) -> DeadLetter:
    return DeadLetter(
        type=unreadable.type,
        key=None,
        reason=unreadable.reason,
        error=unreadable.error,
        attempts=0,
        died_at=now,
        queue=unreadable.message.queue,
        fingerprint=fingerprint(unreadable.type, unreadable.error),
        body=unreadable.message.raw,
    )


def _ending(job: Job[Any], outcome: Outcome, reason: str | None) -> Ending:
    return Ending(
        job_type=job.type.name,
        key=job.key,
        msg_id=job.message.msg_id,
        sweep_id=job.sweep_id,
        outcome=outcome,
        reason=reason,
        attempt=job.attempt,
    )


def _dead_ending(message: Message, letter: DeadLetter) -> Ending:
    return Ending(
        job_type=letter.type or "",
        key=letter.key,
        msg_id=message.msg_id,
        sweep_id=letter.sweep_id,
        outcome=Outcome.DEAD,
        reason=letter.reason,
        attempt=letter.attempts,
    )


def _tell_retried(job: Job[Any], delay: timedelta, error: str) -> None:
    events.JOB_RETRIED.tell(
        type=job.type.name,
        key=job.key,
        attempt=job.attempt,
        delay_seconds=delay.total_seconds(),
        error=error,
    )


def _tell_dead(msg_id: int, letter: DeadLetter) -> None:
    events.JOB_DEAD.tell(
        type=letter.type,
        key=letter.key,
        msg_id=msg_id,
        reason=letter.reason,
        attempts=letter.attempts,
        error=letter.error,
    )
