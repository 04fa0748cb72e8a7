"""Messages become calls to the outside world; no transaction is open while one is made.

A job is read, prepared, called and recorded. Many calls are under way at once, what has come back
is recorded together, and only what can be called at once is read at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sweeper.errors import SettingsError
from sweeper.job import Answer, Fate, Lane, Outside, Verdict
from sweeper.outbound.call_pool import Line
from sweeper.outbound.in_flight import Flights
from sweeper.postgres import clock
from sweeper.worker.completer import Desk, Sorted, Tally
from sweeper.worker.fetcher import narrowed
from sweeper.worker.lease import Lease

_MOMENT = timedelta(seconds=1)
_CRASHED = Verdict(Fate.CRASHED, "crashed")


@dataclass(slots=True)
class Outbound:
    """Works off the outbound queue.

    lease    -- how long a message that was read stays invisible
    size     -- messages that one step begins, more or less
    stopping -- asked between calls; what was read and not called is then given back
    """

    desk: Desk
    lease: timedelta
    size: int
    stopping: Callable[[], bool] = lambda: False
    _flights: Flights = field(init=False)
    _lines: dict[str, Line] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._flights = Flights(self.desk)
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

    @property
    def active(self) -> int:
        """How many calls are under way, or have been answered and are still to be recorded."""
        return len(self._flights)

    @property
    def blocked(self) -> dict[str, bool]:
        """Whether the outside world refuses us, by job type."""
        return {name: line.blocked for name, line in self._lines.items()}

    def step(self) -> Tally | None:
        """Make the calls for what is visible, and record them; None where nothing was visible.

        Answers that could not be recorded, because the database was away, are kept and come first.
        """
        found = None if self._flights else self._read()
        if found is None and not self._flights:
            return None
        tally, begun, calm = Tally(), 0, True
        with self.desk.lease(self._flights.messages, self.lease) as lease:
            while found is not None or self._flights:
                if found is not None:
                    tally += found.tally + self._begin(found, lease)
                    begun += len(found.jobs)
                    calm = not any(job.message.crashes for job in found.jobs)
                tally += self._flights.land(lease)
                found = self._read() if calm and begun < self.size else None
        return tally

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
        for job in found.crashed:
            self._flights.ground(job, _CRASHED, Answer())
        for jobs in found.by_type():
            name = jobs[0].type.name
            line, room = self._lines[name], self._room(name)
            left, rest = [job.message for job in jobs[room:]], line.pause or _MOMENT
            try:
                tally += self._flights.begin(line, jobs[:room], lease)
            finally:
                with lease.settling(left):
                    self.desk.give_back(left, rest)
            tally += Tally(postponed=len(left))
        return tally

    def _room(self, name: str) -> int:
        return self._lines[name].room(self._flights.of(name))

    def _halted(self) -> bool:
        return self.stopping()
