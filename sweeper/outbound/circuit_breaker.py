"""When the outside world is down, it is left alone for growing pauses, and tried with one call."""

from dataclasses import dataclass, field

PATIENCE = 3
"""So many failures in a row are an outage: fewer than the executions that a job has."""

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 300.0


@dataclass(slots=True)
class CircuitBreaker:
    """Remembers how calls fared. Every time is in seconds.

    since -- when it opened; None while it is closed
    """

    since: float | None = field(default=None, init=False)
    _failures: int = field(default=0, init=False)
    _pause: float = field(default=FIRST_PAUSE, init=False)
    _until: float = field(default=0.0, init=False)

    def left(self, now: float) -> float:
        """Return how long to leave the outside world alone; 0 while calls may be made."""
        return 0.0 if self.since is None else max(0.0, self._until - now)

    def succeeded(self, now: float) -> None:
        """Close: the outside world works."""
        if not self.left(now):
            self.since, self._failures, self._pause = None, 0, FIRST_PAUSE

    def failed(self, now: float, *, fatal: bool = False) -> None:
        """Count a failure; open at the third in a row, or at the first that is *fatal*.

        Once open, only a call that was made after the pause counts, either way: those that were
        already under way tell nothing new. Each further failure doubles the pause.
        """
        self._failures += 1
        if self.left(now) or (self.since is None and self._failures < PATIENCE and not fatal):
            return
        self.hold(now, self._pause)
        self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def hold(self, now: float, pause: float) -> None:
        """Open for at least *pause*, as the outside world itself asks."""
        self.since = now if self.since is None else self.since
        self._until = max(self._until, now + pause)
