"""The outbound worker: jobs become calls to providers; no transaction is open while one is made.

A job is fetched, prepared, called and recorded. Many calls are in flight at once, results that come
back together are recorded together, and only what can be called at once is read at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sweeper.batch import Decision, Tally
from sweeper.errors import SettingsError
from sweeper.job import Answer, Lane, Outside
from sweeper.ledger import Outcome
from sweeper.outbound.call_pool import CallPool
from sweeper.outbound.in_flight import InFlight
from sweeper.postgres import clock
from sweeper.retry import DeadReason
from sweeper.worker.completer import Completer
from sweeper.worker.completion import PAUSE
from sweeper.worker.fetcher import Fetched, Fetcher
from sweeper.worker.lease import Lease

_CRASHED = Decision(Outcome.DEAD, "crashed", death=DeadReason.CRASHED)


@dataclass(slots=True)
class OutboundWorker:
    """Works on the outbound queue.

    lease    -- how long a message that was read stays invisible
    size     -- messages that one step begins, more or less
    stopping -- asked between calls; what was read and not called is then given back
    """

    fetcher: Fetcher
    completer: Completer
    lease: timedelta
    size: int
    stopping: Callable[[], bool] = lambda: False
    _in_flight: InFlight = field(init=False)
    _pools: dict[str, CallPool] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._in_flight = InFlight(self.completer)
        for name, job in self.fetcher.types.items():
            if not isinstance(job.handler, Outside):
                continue
            pace = job.handler.pace(self.completer.sections)
            if pace.timeout >= self.lease:
                message = (
                    f"{name} waits {pace.timeout.total_seconds():g} s for an answer, which is not "
                    f"less than queue.visibility ({self.lease.total_seconds():g} s)"
                )
                raise SettingsError(message)
            self._pools[name] = CallPool(name, job.handler, pace, self._halted)

    @property
    def active(self) -> int:
        """How many calls are in flight, or have been answered and are still to be recorded."""
        return len(self._in_flight)

    @property
    def blocked(self) -> dict[str, bool]:
        """Whether the provider refuses our calls, by job type."""
        return {name: pool.blocked for name, pool in self._pools.items()}

    def step(self) -> Tally | None:
        """Make the calls for what is visible, and record them; None where nothing was visible.

        Results that could not be recorded, because the database was away, are kept and come first.
        """
        fetched = None if self._in_flight else self._fetch()
        if fetched is None and not self._in_flight:
            return None
        tally, begun, calm = Tally(), 0, True
        with self.fetcher.lease(self._in_flight.messages, self.lease) as lease:
            while fetched is not None or self._in_flight:
                if fetched is not None:
                    tally += fetched.tally + self._begin(fetched, lease)
                    begun += len(fetched.jobs)
                    calm = not any(job.message.crashes for job in fetched.jobs)
                tally += self._in_flight.collect(lease)
                fetched = self._fetch() if calm and begun < self.size else None
        return tally

    def _fetch(self) -> Fetched | None:
        """Read what can be called at once; while a pool pauses, all that would wait for it."""
        pauses = any(pool.pause for pool in self._pools.values())
        quantity = self.size if pauses else min(self.size, sum(map(self._room, self._pools)))
        if self.stopping() or not quantity:
            return None
        queue = self.fetcher.queues.outbound
        messages = self.fetcher.read([queue], lease=self.lease, quantity=quantity)
        return self.fetcher.sort(messages, Lane.OUTBOUND, clock.now()) if messages else None

    def _begin(self, fetched: Fetched, lease: Lease) -> Tally:
        """Call for as many jobs as there is room for, and give the others back."""
        tally = Tally()
        lease.add(job.message for job in (*fetched.jobs, *fetched.crashed))
        for job in fetched.crashed:
            self._in_flight.skip_call(job, _CRASHED, Answer())
        for jobs in fetched.by_type():
            name = jobs[0].type.name
            pool, room = self._pools[name], self._room(name)
            left, rest = [job.message for job in jobs[room:]], pool.pause or PAUSE
            try:
                tally += self._in_flight.begin(pool, jobs[:room], lease)
            finally:
                with lease.settling(left):
                    self.fetcher.give_back.give_back(left, rest)
            tally += Tally(postponed=len(left))
        return tally

    def _room(self, name: str) -> int:
        return self._pools[name].room(self._in_flight.of(name))

    def _halted(self) -> bool:
        return self.stopping()
