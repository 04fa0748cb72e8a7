"""Calls under way: from the moment in which they are prepared until their answers are recorded."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import Connection

from sweeper.job import Answer, Fate, Job, Message, Outside, Verdict
from sweeper.outbound.call_pool import Landing, Line
from sweeper.postgres import clock
from sweeper.postgres.database import gone, in_one_line, passing
from sweeper.worker.completer import Conclusion, Desk, Tally
from sweeper.worker.lease import Lease

_TURN = 0.5  # seconds after which the lane looks about, although no call has come back
_GATHER = 0.02  # seconds in which calls that come back are recorded together
_MOMENT = timedelta(seconds=1)


@dataclass(slots=True, eq=False)
class Flight:
    """One job on its way, from *began* on; *said* is what `prepare` said of it."""

    job: Job[Any]
    said: Verdict | None
    call: "Future[Landing]"
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class Flights:
    """All jobs that are on their way, and those that are back and could not be recorded yet."""

    desk: Desk
    _all: list[Flight] = field(default_factory=list, init=False)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def messages(self) -> Iterator[Message]:
        """Their messages, whose leases must be kept."""
        return (each.job.message for each in self._all)

    def of(self, name: str) -> int:
        """Return how many of them are jobs of one type."""
        return sum(each.job.type.name == name for each in self._all)

    def ground(self, job: Job[Any], said: Verdict | None, answer: Answer) -> None:
        """Let *job* be recorded without a call."""
        call: Future[Landing] = Future()
        call.set_result(Landing(answer))
        self._all.append(Flight(job, said, call))

    def begin(self, line: Line, jobs: Sequence[Job[Any]], lease: Lease) -> Tally:
        """Prepare *jobs*, all of one type, and make their calls."""
        if not jobs:
            return Tally()
        try:
            with self.desk.database.transaction() as tx:
                batch = self.desk.batch(tx, jobs, clock.now())
                parcels = line.handler.prepare(batch)
        except Exception as error:  # noqa: BLE001 -- whatever it is, it is the jobs' answer
            if passing(error):
                with lease.settling(job.message for job in jobs):
                    return self.desk.postpone(jobs, error)
            if len(jobs) > 1:  # so that only the culprit fails
                return sum((self.begin(line, [job], lease) for job in jobs), Tally())
            self.ground(jobs[0], None, Answer(error=error))
            return Tally()
        batch.committed()
        for job in jobs:
            msg_id = job.message.msg_id
            said = batch.verdicts.get(msg_id)
            if msg_id in parcels:
                self._all.append(Flight(job, said, line.call(parcels[msg_id])))
            else:
                self.ground(job, said, Answer())
        return Tally()

    def land(self, lease: Lease) -> Tally:
        """Wait until some calls have come back, and record them."""
        back, out = wait([each.call for each in self._all], _TURN, FIRST_COMPLETED)
        if back and out:
            wait(out, _GATHER)
        landed = [each for each in self._all if each.call.done()]
        kind = attrgetter("job.type.name")
        groups = groupby(sorted(landed, key=kind), kind)
        return sum((self._record(list(group), lease) for _, group in groups), Tally())

    def _record(self, flights: Sequence[Flight], lease: Lease) -> Tally:
        jobs = [each.job for each in flights]
        try:
            with lease.settling(job.message for job in jobs), self.desk.settling(jobs) as (tx, own):
                conclusion = self._conclude(tx, own, flights) if own else None
        except Exception as error:
            if gone(error):
                raise
            if len(flights) > 1:
                return sum((self._record([each], lease) for each in flights), Tally())
            if passing(error):  # the answer is kept until it can be written down
                time.sleep(_MOMENT.total_seconds())
                return Tally()
            self._forget(flights)
            with lease.settling([jobs[0].message]):
                return self.desk.fail(jobs[0], error, clock.now())
        self._forget(flights)
        if conclusion is None:
            return Tally()
        conclusion.tell(time.monotonic() - min(each.began for each in flights))
        return conclusion.tally

    def _conclude(
        self, tx: Connection, own: Sequence[Job[Any]], flights: Sequence[Flight]
    ) -> Conclusion:
        batch, answers = self.desk.batch(tx, own, clock.now()), dict[int, Answer]()
        for each in flights:
            msg_id, landing = each.job.message.msg_id, each.call.result()
            answers[msg_id] = landing.answer
            if verdict := self._verdict(each, landing):
                batch.verdicts[msg_id] = verdict
        cast("Outside[Any]", own[0].type.handler).record(batch, answers)
        return self.desk.conclude(batch)

    def _verdict(self, flight: Flight, landing: Landing) -> Verdict | None:
        error = landing.answer.error
        if landing.wait is not None:
            reason = in_one_line(error) if error else "the lane was halted before the call"
            return Verdict(Fate.POSTPONED, reason, landing.wait)
        return self.desk.verdict(flight.job, error) if error else flight.said

    def _forget(self, flights: Sequence[Flight]) -> None:
        self._all = [each for each in self._all if each not in flights]
