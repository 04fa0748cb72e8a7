"""The circuit breaker: stops the calls to a failing provider for growing pauses, then tests it."""

from dataclasses import dataclass, field

FAILURES_TO_OPEN = 3
"""The number of successive failures that open it; fewer than the executions that a job has."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


@dataclass(slots=True, eq=False)
class Streak:
    """Successive failures of calls, with no success between them.

    outage -- true once they have opened the circuit breaker, false once a call has succeeded
              before they did; None while neither has happened
    """

    outage: bool | None = None


@dataclass(slots=True)
class CircuitBreaker:
    """Counts the failures of calls, and says how long to pause. Every time is in seconds.

    since  -- the time when it opened; None while it is closed
    streak -- the failures since the last success
    """

    since: float | None = field(default=None, init=False)
    streak: Streak = field(default_factory=Streak, init=False)
    _failures: int = field(default=0, init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _until: float = field(default=0.0, init=False)

    def left(self, now: float) -> float:
        """Return how long no call may be made; 0 while calls may be made."""
        return 0.0 if self.since is None else max(0.0, self._until - now)

    def succeeded(self, now: float) -> None:
        """Close after a successful call; a success during a pause is ignored."""
        if not self.left(now):
            self.since, self._failures, self._pause = None, 0, FIRST_PAUSE
            self.streak.outage = self.streak.outage or False
            self.streak = Streak()

    def failed(self, now: float, *, fatal: bool = False) -> None:
        """Count a failed call; open at the third in a row, or at the first that is *fatal*.

        While the pause lasts, results of calls that were already in flight are ignored. Each
        failure after a pause doubles the next pause.
        """
        self._failures += 1
        if self.left(now) or (
            self.since is None and self._failures < FAILURES_TO_OPEN and not fatal
        ):
            return
        self.streak.outage = True
        self.hold(now, self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def hold(self, now: float, pause: float) -> None:
        """Open for at least *pause* seconds, as the provider asks."""
        self.since = now if self.since is None else self.since
        self._until = max(self._until, now + pause)
