"""So many calls a second and no more, evenly spaced: what a lull leaves unused is gone."""

import math
from dataclasses import dataclass, field

_AHEAD = 0.5  # seconds for which slots are handed out in advance


@dataclass(slots=True)
class RateLimiter:
    """Hands out slots; the caller waits for the one that it took. Every time is in seconds.

    rate -- slots a second; infinity for as many as are wanted
    """

    rate: float
    _next: float = field(default=-math.inf, init=False)

    def free(self, now: float, most: int) -> int:
        """Return how many slots may be taken now, up to *most*; once all are past, at least one."""
        gap = 1 / self.rate
        if not gap:
            return most
        ahead = now + max(_AHEAD, gap) - max(self._next, now)
        return max(0, min(most, math.floor(ahead / gap) + 1))

    def take(self, now: float) -> float:
        """Take the next slot, and return how long it is until then."""
        slot = max(self._next, now)
        self._next = slot + 1 / self.rate
        return slot - now
