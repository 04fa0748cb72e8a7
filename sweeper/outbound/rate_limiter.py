"""The rate limiter: evenly spaced slots for calls, without bursts after an idle time."""

import math
from dataclasses import dataclass, field

_AHEAD = 0.5  # seconds in advance that a slot may be taken


@dataclass(slots=True)
class RateLimiter:
    """Gives each call a slot, for which the caller must wait. Every time is in seconds.

    rate -- slots per second; infinity for no limit
    """

    rate: float
    _next: float = field(default=-math.inf, init=False)

    def free(self, now: float, most: int) -> int:
        """Return how many slots may be taken now, up to *most*; at least 1 if none lies ahead."""
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
