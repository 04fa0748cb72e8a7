"""The rate limit on requests, for each peer."""

from collections import OrderedDict

_PEERS = 1_024  # how many peers are remembered


class RateLimit:
    """A token bucket for each peer: *burst* requests at once, then *rate* requests per second."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, peer: str, now: float) -> bool:
        """Count one request of *peer*, and return whether it is allowed; *now* is in seconds."""
        left, since = self._left.pop(peer, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        self._left[peer] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _PEERS:
            self._left.popitem(last=False)
        return left >= 1
