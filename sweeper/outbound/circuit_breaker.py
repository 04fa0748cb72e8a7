"""The circuit breaker: stops the calls to a failing provider for growing pauses, then tests it."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES_TO_OPEN = 3
"""The number of successive failures that open it; fewer than the executions that a job has."""

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 4.0
"""The longest pause where the call that tests the provider costs nothing."""

LONGEST_COSTLY_PAUSE = 300.0
"""The longest pause where it may be carried out unanswered, or may lock the account."""

_SHARE = 0.25  # of the outage so far, that a costly pause lasts at least
_JITTER = 0.25  # of a pause, taken off at random, so that processes do not call together


@dataclass(slots=True, eq=False)
class Streak:
    """Successive failures of calls, of which no success has shown that they were the jobs' own.

    began  -- when the first of them was seen; None before it
    outage -- true once they have opened the circuit breaker, false once a call that began after
              the first of them has succeeded before they did; None while neither has happened
    over   -- whether a call that began after the first of them has succeeded
    """

    began: float | None = None
    outage: bool | None = None
    over: bool = False


@dataclass(slots=True)
class CircuitBreaker:
    """Counts the failures of calls, and says how long to pause. Every time is in seconds.

    chance -- a number from 0 to 1, by which a pause is shorter
    since  -- the time when it opened; None while it is closed
    streak -- the failures since a success of a call that began after them
    """

    chance: Callable[[], float] = random.random
    since: float | None = field(default=None, init=False)
    streak: Streak = field(default_factory=Streak, init=False)
    _failures: int = field(default=0, init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _until: float = field(default=0.0, init=False)

    def left(self, now: float) -> float:
        """Return how long no call may be made; 0 while calls may be made."""
        return 0.0 if self.since is None else max(0.0, self._until - now)

    def succeeded(self, began: float) -> None:
        """Close after a successful call, which *began* then.

        A call that began before the pause's end shows nothing. One that began before a failure was
        seen does not show that this was the job's own: the provider may have failed since.
        """
        if self._began_before_the_end(began):
            return
        self.since, self._failures, self._pause = None, 0, FIRST_PAUSE
        if self.streak.began is not None and began >= self.streak.began:
            self.streak.outage = self.streak.outage or False
            self.streak.over = True
            self.streak = Streak()

    def failed(
        self, now: float, began: float, *, fatal: bool = False, costly: bool = False
    ) -> None:
        """Count a failed call, which *began* then.

        Open at the third in a row, or at the first that is *fatal*. Results of calls that began
        before the pause's end are ignored. Each failure after a pause doubles the next pause, and
        the pause after one that is *fatal* or *costly* grows with the outage.
        """
        if self.streak.began is None:
            self.streak.began = now
        self._failures += 1
        if self._began_before_the_end(began) or (
            self.since is None and self._failures < FAILURES_TO_OPEN and not fatal
        ):
            return
        self.streak.outage = True
        pause, lasted = self._pause, 0.0 if self.since is None else now - self.since
        if fatal or costly:
            pause = min(max(pause, _SHARE * lasted), LONGEST_COSTLY_PAUSE)
        self.hold(now, pause * (1 - _JITTER * self.chance()))
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def hold(self, now: float, pause: float) -> None:
        """Open for at least *pause* seconds, as the provider asks."""
        self.since = now if self.since is None else self.since
        self._until = max(self._until, now + pause)

    def _began_before_the_end(self, began: float) -> bool:
        """Return whether a call began while it was closed, or in the pause that followed."""
        return self.since is not None and began < self._until
