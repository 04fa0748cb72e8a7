"""What this process has done since its start: how jobs fared, what they waited, what they took."""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from threading import Lock

from sweeper.batch import Tally
from sweeper.ledger import Outcome
from sweeper.worker.completion import Completion

HANDLING = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)
WAITING = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 86_400.0)

_AGAIN = {Outcome.POSTPONED, Outcome.RETRIED}


@dataclass(slots=True)
class Histogram:
    """How seconds spread over *bounds*, each the upper limit of its count; the last has none."""

    bounds: tuple[float, ...]
    total: float = 0.0
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    @property
    def times(self) -> int:
        """How often something was added."""
        return sum(self.counts)

    def add(self, seconds: float, times: int = 1) -> None:
        """Count *seconds* in, so many times."""
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times


class Stats:
    """Counted by the service's threads, read by the heartbeat, the page and the metrics.

    jobs     -- how they fared, every retry counted
    scans    -- by rule and outcome: ok, braked or failed
    handling -- by job type: each job's share of its batch's time
    waiting  -- by job type: from being sent, or sent again, to being read
    active   -- asks for the jobs that are read and not yet settled
    blocked  -- asks, by job type, whether the outside world refuses us
    """

    def __init__(
        self,
        active: Callable[[], int] = lambda: 0,
        blocked: Callable[[], Mapping[str, bool]] = dict,
    ) -> None:
        self.active = active
        self.blocked = blocked
        self.jobs = Tally()
        self.scans = Counter[tuple[str, str]]()
        self.handling: dict[str, Histogram] = {}
        self.waiting: dict[str, Histogram] = {}
        self._began = time.monotonic()
        self._lock = Lock()

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    @property
    def processed(self) -> int:
        """Jobs done or skipped."""
        return self.jobs.done + self.jobs.skipped

    @property
    def failed(self) -> int:
        """Executions that raised."""
        return self.jobs.failed

    @property
    def average_ms(self) -> float:
        """Milliseconds that a job took on average; 0 before the first."""
        _, handling, _ = self.copy()
        times = sum(histogram.times for histogram in handling.values())
        return (
            1000 * sum(histogram.total for histogram in handling.values()) / times if times else 0.0
        )

    def add(self, tally: Tally) -> None:
        """Count a step's work in."""
        with self._lock:
            self.jobs += tally

    def scanned(self, rule: str, outcome: str) -> None:
        """Count a scan in."""
        with self._lock:
            self.scans[rule, outcome] += 1

    def observe(self, completion: Completion, seconds: float) -> None:
        """Count in how long a committed batch took, and what its jobs had waited."""
        ended = [
            job
            for outcome, jobs in completion.jobs.items()
            if outcome not in _AGAIN
            for job in jobs
        ]
        if not ended:
            return
        messages = (job.message for job in ended)
        waits = ((message.read_at - message.enqueued_at).total_seconds() for message in messages)
        self._observed(ended[0].type.name, seconds / len(ended), waits, len(ended))

    def copy(self) -> tuple[Counter[tuple[str, str]], dict[str, Histogram], dict[str, Histogram]]:
        """Return scans, handling and waiting as they are at one moment."""
        with self._lock:
            return self.scans.copy(), deepcopy(self.handling), deepcopy(self.waiting)

    def _observed(self, kind: str, share: float, waits: Iterable[float], jobs: int) -> None:
        with self._lock:
            self.handling.setdefault(kind, Histogram(HANDLING)).add(share, jobs)
            waiting = self.waiting.setdefault(kind, Histogram(WAITING))
            for wait in waits:
                waiting.add(max(0.0, wait))
