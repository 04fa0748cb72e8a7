"""Messages become effects: each batch is read, settled, handled and written down.

Settling comes first inside the work's own transaction: whoever deletes the message owns the job,
and the deletion, the effect, the follow-ups and the books commit or vanish together.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any, cast

from sweeper import events
from sweeper.job import Handler, Job, Lane, Message
from sweeper.postgres import clock
from sweeper.postgres.database import gone, in_one_line, passing
from sweeper.worker.completer import Desk, Tally
from sweeper.worker.fetcher import narrowed
from sweeper.worker.lease import Lease

FAIR = 8
"""Of this many reads in a row, at least one goes to the lowest queue that has work waiting."""


@dataclass(slots=True)
class Drain:
    """Works off the queues whose jobs live in the database.

    lease    -- how long a message that was read stays invisible
    size     -- messages in one read, and so in one transaction
    only     -- the sweep whose messages are read; None for all
    stopping -- asked between transactions; what was read and not begun is then given back
    """

    desk: Desk
    lease: timedelta
    size: int
    only: str | None = None
    stopping: Callable[[], bool] = lambda: False
    active: int = field(default=0, init=False)
    _orders: Iterator[Sequence[str]] = field(init=False)

    def __post_init__(self) -> None:
        high, normal, low = self.desk.queues.database
        downwards = [(high, normal, low)] * (FAIR // 2 - 1)
        self._orders = cycle([*downwards, (low, normal, high), *downwards, (normal, low, high)])

    def step(self) -> Tally | None:
        """Read once and work off what was read; return None where nothing was visible."""
        try:
            return self._step()
        finally:
            self.active = 0

    def _step(self) -> Tally | None:
        messages = self.desk.read(
            next(self._orders), lease=self.lease, quantity=self.size, only=self.only
        )
        if not messages:
            return None
        now = clock.now()
        begun, spared = narrowed(messages, self.size, self.desk.crash_limit)
        self.desk.give_back(spared)
        with self.desk.lease(begun, self.lease) as lease:
            try:
                tally = self._work_off(begun, now, lease)
            except Exception as error:
                if gone(error):
                    self.desk.give_back(lease.left)
                raise
            self.desk.give_back(lease.left)
        return tally

    def _work_off(self, messages: Sequence[Message], now: datetime, lease: Lease) -> Tally:
        found = self.desk.sort(messages, Lane.DATABASE, now)
        lease.keep_only(job.message for job in found.jobs)
        self.active = len(found.jobs)
        return sum((self._work(group, now, lease) for group in found.by_type()), found.tally)

    def _work(self, jobs: list[Job[Any]], now: datetime, lease: Lease) -> Tally:
        """Handle *jobs* as one batch; if that fails, halve it, down to the single culprit."""
        tally, parts, patience = Tally(), [jobs], self.desk.database.lock_timeout / 2
        while parts and not self.stopping():
            part = parts.pop()
            try:
                with lease.settling(job.message for job in part):
                    tally += self._attempt(part, now, patience)
            except Exception as error:
                if gone(error):
                    raise
                patience = self.desk.database.lock_timeout / 40
                if len(part) > 1:
                    half = len(part) // 2
                    parts += [part[half:], part[:half]]
                    events.BATCH_SPLIT.tell(
                        type=part[0].type.name, size=len(part), error=in_one_line(error)
                    )
                    continue
                with lease.settling(job.message for job in part):
                    tally += self._verdict(part[0], error, now)
        return tally

    def _verdict(self, job: Job[Any], error: Exception, now: datetime) -> Tally:
        if passing(error):
            return self.desk.postpone([job], error)
        return self.desk.fail(job, error, now)

    def _attempt(self, jobs: Sequence[Job[Any]], now: datetime, patience: timedelta) -> Tally:
        began = time.monotonic()
        with self.desk.settling(jobs, patience=patience) as (tx, owned):
            if not owned:
                return Tally()
            batch = self.desk.batch(tx, owned, now)
            cast("Handler[Any]", jobs[0].type.handler)(batch)
            conclusion = self.desk.conclude(batch)
        conclusion.tell(time.monotonic() - began)
        return conclusion.tally
