"""The database worker: fetches messages, and handles and completes each batch in one transaction.

A batch that fails is halved, down to the single job that fails, so that the others in the batch do
not lose an attempt. Jobs that were postponed before are handled after the others, apart from them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any, cast

from sweeper import events
from sweeper.batch import Tally
from sweeper.job import Handler, Job, Lane, Message
from sweeper.postgres import clock
from sweeper.postgres.errors import in_one_line, is_disconnected
from sweeper.worker.completer import Completer
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.lease import Lease
from sweeper.worker.one_pass import Pass
from sweeper.worker.rest import PAUSE
from sweeper.worker.sorter import by_type

FAIR = 8
"""Among this many successive reads, at least one is of the lowest queue that has messages."""

PATIENCE = timedelta(seconds=5)
"""How long one step tries jobs that were postponed before; those behind wait for the next one."""


@dataclass(slots=True)
class Drain:
    """Handles the jobs of the database lane, from the high, normal and low queue.

    lease    -- how long a message that was read stays invisible to other workers
    size     -- the largest number of messages in one read, and so in one transaction
    only     -- the sweep whose messages are read; None for all messages
    stopping -- called between transactions; once true, messages not yet handled are given back
    """

    fetcher: Fetcher
    lease: timedelta
    size: int
    only: str | None = None
    stopping: Callable[[], bool] = lambda: False
    active: int = field(default=0, init=False)
    _queues: Iterator[Sequence[str]] = field(init=False)

    def __post_init__(self) -> None:
        high, normal, low = self.fetcher.queues.database
        high_first = [(high, normal, low)] * (FAIR // 2 - 1)
        self._queues = cycle([*high_first, (low, normal, high), *high_first, (normal, low, high)])

    @property
    def completer(self) -> Completer:
        """Completes the jobs."""
        return self.fetcher.completer

    def join(self, one: Pass) -> None:
        """Work in *one* pass: stop with it, and do not read the queues that it has left."""
        self.stopping = one.stopping
        self.fetcher = self.fetcher.joined(one)

    def step(self) -> Tally | None:
        """Read and handle messages once; return their tally, or None where none could be begun."""
        with self.fetcher.isolation.step() as admitted:
            try:
                return self._step() if admitted else None
            finally:
                self.active = 0

    def _step(self) -> Tally | None:
        messages = self.fetcher.read(
            next(self._queues),
            lease=self.lease,
            quantity=self.size,
            only=self.only,
            stopping=self.stopping,
        )
        if not messages:
            return None
        now, give_back = clock.now(), self.fetcher.give_back
        with self.fetcher.lease(messages, self.lease) as lease:
            try:
                tally = self._handle_all(messages, now, lease)
            except Exception:
                give_back.after_error(lease.left)
                raise
            give_back.give_back(lease.left)
        return tally

    def _handle_all(self, messages: Sequence[Message], now: datetime, lease: Lease) -> Tally:
        fetched = self.fetcher.sort(messages, Lane.DATABASE, now)
        lease.keep_only(job.message for job in fetched.jobs)
        self.active = len(fetched.jobs)
        tally = fetched.tally
        for jobs in by_type(job for job in fetched.jobs if not job.waited):
            tally += self._handle(jobs, now, lease)[0]
        until = time.monotonic() + PATIENCE.total_seconds()
        for jobs in by_type(job for job in fetched.jobs if job.waited):
            tally += self._probe(jobs, now, lease, until)
        return tally

    def _probe(self, jobs: list[Job[Any]], now: datetime, lease: Lease, until: float) -> Tally:
        """Handle *jobs*, which were postponed before: each alone, or more after each success.

        So those that still wait cost no halving, and those whose lock is free again little time.
        One that has timed out always stands alone, after the others. What is not begun *until*
        then, when at least one was, is given back for a moment: the next read finds fresh jobs.
        """
        tally, size = Tally(), 1
        waiting = sorted(jobs, key=lambda job: (job.timed_out, job.postponed))
        while waiting and not self.stopping():
            if len(waiting) < len(jobs) and time.monotonic() > until:
                break
            part = [job for job in waiting[:size] if not job.timed_out] or waiting[:1]
            waiting = waiting[len(part) :]
            outcome, well = self._handle(part, now, lease)
            tally, size = tally + outcome, 2 * size if well else 1
        if waiting and not self.stopping():
            messages = [job.message for job in waiting]
            with lease.settling(messages):
                self.fetcher.give_back.give_back(messages, PAUSE)
            tally += Tally(postponed=len(waiting))
        return tally

    def _handle(self, jobs: list[Job[Any]], now: datetime, lease: Lease) -> tuple[Tally, bool]:
        """Handle *jobs* as one batch; if it fails, halve it, down to the single job that fails.

        Returns whether it did not fail, too.
        """
        database, well = self.completer.database, True
        # A wait for a lock must not pass for a statement that is slow itself.
        usual = min(database.lock_timeout, database.statement_timeout)
        tally, parts, lock_timeout = Tally(), [jobs], usual / 2
        while parts and not self.stopping():
            part, began = parts.pop(), time.monotonic()
            # One that is slow itself would outlast its lease, and be visible once rolled back.
            longer = database.statement_timeout if part[0].timed_out else None
            try:
                with lease.settling((job.message for job in part), longer):
                    tally += self._attempt(part, now, lock_timeout)
            except Exception as error:
                if is_disconnected(error):
                    raise
                lock_timeout, well = usual / 40, False
                if len(part) > 1:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
                    events.BATCH_SPLIT.log(
                        type=part[0].type.name, size=len(part), error=in_one_line(error)
                    )
                    continue
                with lease.settling(job.message for job in part):
                    tally += self._give_up(part[0], error, now, time.monotonic() - began)
        return tally, well

    def _give_up(self, job: Job[Any], error: Exception, now: datetime, seconds: float) -> Tally:
        """Postpone or fail *job*; a stop cancels statements, which no job is charged for."""
        return self.completer.give_up(job, error, now, 0.0 if self.stopping() else seconds)

    def _attempt(self, jobs: Sequence[Job[Any]], now: datetime, lock_timeout: timedelta) -> Tally:
        began = time.monotonic()
        with self.completer.settling(jobs, lock_timeout=lock_timeout) as (tx, owned):
            if not owned:
                return Tally()
            batch = self.completer.batch(tx, owned, now)
            cast("Handler", jobs[0].type.handler)(batch)
            completion = self.completer.complete(batch)
        return self.completer.committed(completion, time.monotonic() - began)
