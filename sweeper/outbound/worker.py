"""The outbound worker: calls providers for jobs, with no transaction open during a call.

A job is fetched, prepared, called for and recorded. Many calls are in flight at once, results that
arrive together are recorded together, and no more messages are read than can be called for at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from sweeper.batch import Decision, Tally
from sweeper.errors import SettingsError
from sweeper.job import Answer, Lane, Outside
from sweeper.ledger import Outcome
from sweeper.outbound.call_pool import CallPool
from sweeper.outbound.circuit_breaker import LONGEST_PAUSE
from sweeper.outbound.in_flight import InFlight
from sweeper.postgres import clock
from sweeper.retry import DeadReason
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.lease import Lease
from sweeper.worker.one_pass import Pass
from sweeper.worker.rest import PAUSE
from sweeper.worker.sorter import Fetched, by_type

_SHORT = timedelta(seconds=LONGEST_PAUSE)

_CRASHED = Decision(Outcome.DEAD, "crashed", death=DeadReason.CRASHED)


@dataclass(slots=True)
class OutboundWorker:
    """Handles the jobs of the outbound queue.

    lease    -- how long a message that was read stays invisible to other workers
    size     -- about how many messages one step begins
    stopping -- called between calls; once true, messages without a call are given back
    """

    fetcher: Fetcher
    lease: timedelta
    size: int
    stopping: Callable[[], bool] = lambda: False
    _in_flight: InFlight = field(init=False)
    _pools: dict[str, CallPool] = field(default_factory=dict, init=False)
    _postponed: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._in_flight = InFlight(self.fetcher.completer)
        for name, job in self.fetcher.types.items():
            if not isinstance(job.handler, Outside):
                continue
            pace = job.handler.pace(self.fetcher.completer.sections)
            if pace.timeout >= self.lease:
                message = (
                    f"{name} waits {pace.timeout.total_seconds():g} s for an answer, which is not "
                    f"less than queue.visibility ({self.lease.total_seconds():g} s)"
                )
                raise SettingsError(message)
            self._pools[name] = CallPool(name, job.handler, pace, self._halted)

    @property
    def active(self) -> int:
        """How many calls are in flight, or have ended and are not recorded yet."""
        return len(self._in_flight)

    @property
    def blocked(self) -> dict[str, bool]:
        """Whether the provider refuses our calls, by job type."""
        return {name: pool.blocked for name, pool in self._pools.items()}

    def join(self, one: Pass) -> None:
        """Work in *one* pass: stop with it, and do not read the queues that it has left."""
        self.stopping = one.stopping
        self.fetcher = self.fetcher.joined(one)
        self._in_flight.completer = self.fetcher.completer

    @property
    def pause(self) -> timedelta:
        """How long no call at all may be made; 0 while any may be."""
        return min((pool.pause for pool in self._pools.values()), default=timedelta())

    @property
    def resting(self) -> bool:
        """Whether the lane leaves its messages alone until the pause of its calls ends."""
        return bool(self.pause) and (self.pause <= _SHORT or self._postponed >= self.size)

    def step(self) -> Tally | None:
        """Fetch messages, make their calls and record the results; return None if there were none.

        Results that an earlier step could not record, for lack of the database, are recorded first.
        """
        with self.fetcher.isolation.step() as admitted:
            return self._step() if admitted else None

    def _step(self) -> Tally | None:
        fetched = None if self._in_flight else self._fetch()
        if fetched is None and not self._in_flight:
            return None
        tally, begun, all_fresh = Tally(), 0, True
        with self.fetcher.lease(self._in_flight.messages, self.lease) as lease:
            try:
                while fetched is not None or self._in_flight:
                    if fetched is not None:
                        tally += fetched.tally + self._begin(fetched, lease)
                        begun += len(fetched.jobs)
                        all_fresh = not any(job.message.crashes for job in fetched.jobs)
                    tally += self._in_flight.collect(lease)
                    fetched = self._fetch() if all_fresh and begun < self.size else None
            except Exception:
                called = {message.msg_id for message in self._in_flight.messages}
                not_called = [left for left in lease.left if left.msg_id not in called]
                self.fetcher.give_back.after_error(not_called)
                raise
        return tally

    def _fetch(self) -> Fetched | None:
        """Fetch as many jobs as can be called for now; in a pause, jobs to postpone.

        While all job types pause that is one batch, so that a pause costs the same for any backlog,
        and nothing in a short pause, which would cost a batch every few seconds.
        """
        pauses = [bool(pool.pause) for pool in self._pools.values()]
        if not any(pauses):
            self._postponed, quantity = 0, min(self.size, sum(map(self._room, self._pools)))
        elif self.resting:
            quantity = 0
        else:
            quantity = max(0, self.size - self._postponed) if all(pauses) else self.size
        if self.stopping() or not quantity or self.fetcher.isolation.claimed():
            return None
        queue = self.fetcher.queues.outbound
        messages = self.fetcher.read(
            [queue],
            lease=self.lease,
            quantity=quantity,
            busy=bool(self._in_flight),
            stopping=self.stopping,
        )
        if all(pauses):
            self._postponed += len(messages)
        try:
            return self.fetcher.sort(messages, Lane.OUTBOUND, clock.now()) if messages else None
        except Exception:
            self.fetcher.give_back.after_error(messages)
            raise

    def _begin(self, fetched: Fetched, lease: Lease) -> Tally:
        """Begin as many calls as the pools have room for, and give the other jobs back."""
        tally = Tally()
        lease.add(job.message for job in (*fetched.jobs, *fetched.crashed))
        for job in fetched.crashed:
            self._in_flight.skip_call(job, _CRASHED, Answer())
        for jobs in by_type(fetched.jobs):
            name = jobs[0].type.name
            pool, room = self._pools[name], self._room(name)
            others, delay = [job.message for job in jobs[room:]], pool.pause or PAUSE
            try:
                quick = [job for job in jobs[:room] if not job.timed_out]
                tally += self._in_flight.begin(pool, quick, lease)
                for job in jobs[:room]:
                    if job.timed_out:  # apart, so that it does not hold up the others
                        tally += self._in_flight.begin(pool, [job], lease)
            finally:
                with lease.settling(others):
                    self.fetcher.give_back.give_back(others, delay)
            tally += Tally(postponed=len(others))
        return tally

    def _room(self, name: str) -> int:
        return self._pools[name].room(self._in_flight.of(name))

    def _halted(self) -> bool:
        return self.stopping()
