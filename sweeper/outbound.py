"""Messages become calls to the outside world; no transaction is open while one is made."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from sweeper import clock
from sweeper.database import gone, passing
from sweeper.job import Job, Lane, Message, Outside, Verdict
from sweeper.lease import Lease
from sweeper.settle import Desk, Tally
from sweeper.suspects import narrowed


@dataclass(slots=True)
class Outbound:
    """Works off the outbound queue.

    lease    -- how long a message that was read stays invisible
    size     -- messages in one read
    stopping -- asked between calls; what was read and not begun is then given back
    """

    desk: Desk
    lease: timedelta
    size: int
    stopping: Callable[[], bool] = lambda: False
    active: int = field(default=0, init=False)

    def step(self) -> Tally | None:
        """Read once and make the calls for what was read; None where nothing was visible."""
        try:
            return self._step()
        finally:
            self.active = 0

    def _step(self) -> Tally | None:
        queue = self.desk.queues.outbound
        messages = self.desk.read([queue], lease=self.lease, quantity=self.size)
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
        found = self.desk.sort(messages, Lane.OUTBOUND, now)
        lease.keep_only(job.message for job in found.jobs)
        self.active = len(found.jobs)
        return sum((self._work(group, now, lease) for group in found.by_type()), found.tally)

    def _work(self, jobs: list[Job[Any]], now: datetime, lease: Lease) -> Tally:
        began = time.monotonic()
        handler = cast("Outside[Any]", jobs[0].type.handler)
        try:
            with self.desk.database.transaction() as tx:
                prepared = self.desk.batch(tx, jobs, now)
                parcels = handler.prepare(prepared)
        except Exception as trouble:
            if gone(trouble):
                raise
            return self._one_by_one(jobs, trouble, now, lease)
        answers, failures = dict[int, Any](), list[tuple[Job[Any], Exception]]()
        ended = list[Job[Any]]()
        for job in jobs:
            if self.stopping():
                break
            msg_id = job.message.msg_id
            try:
                if msg_id in parcels:
                    answers[msg_id] = handler.call(parcels[msg_id])
                ended.append(job)
            except Exception as error:  # noqa: BLE001 -- a provider may raise anything
                failures.append((job, error))
        with lease.settling(job.message for job in ended):
            tally = self._record(ended, answers, prepared.verdicts, began)
        for job, failure in failures:
            with lease.settling([job.message]):
                tally += self.desk.fail(job, failure, clock.now())
        return tally

    def _one_by_one(
        self, jobs: list[Job[Any]], error: Exception, now: datetime, lease: Lease
    ) -> Tally:
        """Prepare apart what could not be prepared together, so that only the culprit fails."""
        if len(jobs) > 1:
            return sum((self._work([job], now, lease) for job in jobs), Tally())
        with lease.settling([jobs[0].message]):
            if passing(error):
                return self.desk.postpone(jobs, error)
            return self.desk.fail(jobs[0], error, now)

    def _record(
        self,
        jobs: Sequence[Job[Any]],
        answers: Mapping[int, Any],
        verdicts: Mapping[int, Verdict],
        began: float,
    ) -> Tally:
        if not jobs:
            return Tally()
        with self.desk.settling(jobs) as (tx, owned):
            if not owned:
                return Tally()
            batch = self.desk.batch(tx, owned, clock.now())
            batch.verdicts.update(verdicts)
            cast("Outside[Any]", jobs[0].type.handler).record(batch, answers)
            conclusion = self.desk.conclude(batch)
        conclusion.tell(time.monotonic() - began)
        return conclusion.tally
