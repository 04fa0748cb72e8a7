"""What a run of a phase shows: the rates, and when the rate before was reached again."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

ENOUGH = 0.95
"""The share of the rate before that counts as recovered."""

_STEP = 0.1
_WINDOW = 2.0  # seconds over which a rate is taken; a scan of every second would make it jump
_USUAL = 1.2  # times the largest backlog before the fault


@dataclass(frozen=True, slots=True)
class Timeline:
    """When jobs came and when they were done, in seconds of one clock, both ascending.

    placed -- pairs of a time and a number of jobs
    done   -- the time of each job
    """

    placed: Sequence[tuple[float, int]]
    done: Sequence[float]

    def rate(self, begin: float, end: float) -> float:
        """Return the jobs done a second between two times."""
        count = bisect_left(self.done, end) - bisect_left(self.done, begin)
        return count / (end - begin) if end > begin else 0.0

    def arriving(self, begin: float, end: float) -> float:
        """Return the jobs placed a second between two times."""
        return sum(count for at, count in self.placed if begin <= at < end) / (end - begin)

    def backlog(self, at: float) -> int:
        """Return how many jobs were placed and not done at a time."""
        times = [time for time, _ in self.placed]
        sums = [0, *accumulate(count for _, count in self.placed)]
        return sums[bisect_right(times, at)] - bisect_right(self.done, at)

    def recovered(self, begin: float, fault: float, end: float, until: float) -> float | None:
        """Return the seconds from a fault's end until the rate before is reached, for good.

        Then the backlog is no larger than it was before the fault, and what arrives is done.

        begin, fault, end, until -- when the phase, the fault, what follows it and that began
        """
        before = self.rate(begin, fault)
        usual = _USUAL * max(self.backlog(at) for at in _steps(begin, fault)) + 1
        for at in _steps(end, until - _WINDOW):
            wanted = min(before, self.arriving(at, at + _WINDOW))
            is_enough = self.rate(at, at + _WINDOW) >= ENOUGH * wanted
            if is_enough and self.backlog(at) <= usual:
                return round(at - end, 1)
        return None

    def by_second(self, begin: float, until: float) -> list[float]:
        """Return the jobs done in each second between two times."""
        return [self.rate(at, at + 1) for at in _steps(begin, until, 1.0)]


def _steps(begin: float, end: float, step: float = _STEP) -> list[float]:
    return [begin + n * step for n in range(max(1, int((end - begin) / step)))]
