"""How often each peer may ask."""

from collections import OrderedDict

_PEERS = 1_024  # whose requests are remembered


class RateLimit:
    """So many requests for each peer: a burst at once, and then so many a second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str, now: float) -> bool:
        """Return whether *peer* may make one more request; *now* is in seconds."""
        left, since = self._left.pop(peer, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._left[peer] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _PEERS:
            self._left.popitem(last=False)
        return left >= 1
