"""Messages become calls to the outside world; no transaction is open while one is made.

A job is read, prepared, called and recorded. Many calls are under way at once, and whatever has
come back is recorded together; only what can be called at once is read at all.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import Connection

from sweeper import clock
from sweeper.database import gone, in_one_line, passing
from sweeper.errors import SettingsError
from sweeper.job import Answer, Fate, Job, Lane, Outside, Verdict
from sweeper.lease import Lease
from sweeper.line import Landing, Line
from sweeper.settle import Conclusion, Desk, Sorted, Tally
from sweeper.suspects import narrowed

_TURN = 0.5  # seconds after which more is begun, although no call has come back
_GATHER = 0.02  # seconds in which calls that come back are recorded together
_MOMENT = timedelta(seconds=1)


@dataclass(slots=True, eq=False)
class Flight:
    """A job whose call is under way, or has come back and is still to be recorded.

    said -- what `prepare` said of the job
    """

    job: Job[Any]
    said: Verdict | None
    call: "Future[Landing]"


@dataclass(slots=True)
class Outbound:
    """Works off the outbound queue.

    lease    -- how long a message that was read stays invisible
    size     -- messages in one step, more or less
    stopping -- asked between calls; what was read and not called is then given back
    active   -- calls under way, and answers that are still to be recorded
    """

    desk: Desk
    lease: timedelta
    size: int
    stopping: Callable[[], bool] = lambda: False
    active: int = field(default=0, init=False)
    _flights: list[Flight] = field(default_factory=list, init=False)
    _lines: dict[str, Line] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name, job in self.desk.types.items():
            if not isinstance(job.handler, Outside):
                continue
            pace = job.handler.pace(self.desk.sections)
            if pace.timeout >= self.lease:
                message = (
                    f"{name} waits {pace.timeout.total_seconds():g} s for an answer, which is not "
                    f"less than queue.visibility ({self.lease.total_seconds():g} s)"
                )
                raise SettingsError(message)
            self._lines[name] = Line(name, job.handler, pace, self._halted)

    def step(self) -> Tally | None:
        """Make the calls for what is visible, and record them; None where nothing was visible.

        Answers that could not be recorded, because the database was away, are kept and come first.
        """
        found = None if self._flights else self._read()
        if found is None and not self._flights:
            return None
        tally, begun, calm = Tally(), 0, True
        with self.desk.lease((each.job.message for each in self._flights), self.lease) as lease:
            while found is not None or self._flights:
                if found is not None:
                    tally += found.tally + self._begin(found, lease)
                    begun += len(found.jobs)
                    calm = not any(job.message.crashes for job in found.jobs)
                tally += self._land(lease)
                found = self._read() if calm and begun < self.size else None
        return tally

    @property
    def blocked(self) -> dict[str, bool]:
        """Whether the outside world refuses us, by job type."""
        return {name: line.blocked for name, line in self._lines.items()}

    def _room(self, name: str) -> int:
        return self._lines[name].room(sum(each.job.type.name == name for each in self._flights))

    def _halted(self) -> bool:
        return self.stopping()

    def _read(self) -> Sorted | None:
        """Read what can be called at once; where a line rests, all that would wait for it."""
        rests = any(line.pause for line in self._lines.values())
        quantity = self.size if rests else min(self.size, sum(map(self._room, self._lines)))
        if self.stopping() or not quantity:
            return None
        queue = self.desk.queues.outbound
        messages = self.desk.read([queue], lease=self.lease, quantity=quantity)
        if not messages:
            return None
        begun, spared = narrowed(messages, quantity, self.desk.crash_limit)
        self.desk.give_back(spared)
        return self.desk.sort(begun, Lane.OUTBOUND, clock.now())

    def _begin(self, found: Sorted, lease: Lease) -> Tally:
        """Call for as many jobs as there is room for, and give the others back."""
        tally = Tally()
        lease.add(job.message for job in (*found.jobs, *found.crashed))
        crashed = Verdict(Fate.CRASHED, "crashed")
        self._flights += [Flight(job, crashed, _landed(Answer())) for job in found.crashed]
        for jobs in found.by_type():
            name = jobs[0].type.name
            line, room = self._lines[name], self._room(name)
            rest = line.pause or _MOMENT
            begun, left = jobs[:room], jobs[room:]
            try:
                tally += self._prepare(line, begun, lease)
            finally:
                with lease.settling(job.message for job in left):
                    self.desk.give_back((job.message for job in left), rest)
            tally += Tally(postponed=len(left))
        self.active = len(self._flights)
        return tally

    def _prepare(self, line: Line, jobs: Sequence[Job[Any]], lease: Lease) -> Tally:
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
                return sum((self._prepare(line, [job], lease) for job in jobs), Tally())
            self._flights.append(Flight(jobs[0], None, _landed(Answer(error=error))))
            return Tally()
        batch.committed()
        for job in jobs:
            msg_id = job.message.msg_id
            call = line.call(parcels[msg_id]) if msg_id in parcels else _landed(Answer())
            self._flights.append(Flight(job, batch.verdicts.get(msg_id), call))
        return Tally()

    def _land(self, lease: Lease) -> Tally:
        """Wait until some calls have come back, and record them."""
        calls = [each.call for each in self._flights]
        back, out = wait(calls, _TURN, FIRST_COMPLETED)
        if back and out:
            wait(out, _GATHER)
        landed = [each for each in self._flights if each.call.done()]
        kind = attrgetter("job.type.name")
        groups = groupby(sorted(landed, key=kind), kind)
        tally = sum((self._record(list(group), lease) for _, group in groups), Tally())
        self.active = len(self._flights)
        return tally

    def _record(self, flights: Sequence[Flight], lease: Lease) -> Tally:
        began, jobs = time.monotonic(), [each.job for each in flights]
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
            self._flights.remove(flights[0])
            with lease.settling([jobs[0].message]):
                return self.desk.fail(jobs[0], error, clock.now())
        self._flights = [each for each in self._flights if each not in flights]
        if conclusion is None:
            return Tally()
        conclusion.tell(time.monotonic() - began)
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


def _landed(answer: Answer) -> "Future[Landing]":
    """Return the call of a job for which none is made."""
    call: Future[Landing] = Future()
    call.set_result(Landing(answer))
    return call
