"""Statistics of this process since its start: job outcomes, scans, waiting and handling times."""

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

_NOT_ENDED = {Outcome.POSTPONED, Outcome.RETRIED}


@dataclass(slots=True)
class Histogram:
    """A histogram of seconds.

    bounds -- the upper limit of each bucket, in seconds
    counts -- how many values each bucket has; the last bucket has no upper limit
    """

    bounds: tuple[float, ...]
    total: float = 0.0
    counts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    @property
    def times(self) -> int:
        """How many values were added."""
        return sum(self.counts)

    def add(self, seconds: float, times: int = 1) -> None:
        """Add the value *seconds*, as many *times*."""
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times


class Stats:
    """Counters that the service's threads update; heartbeat, dashboard and metrics read them.

    jobs     -- by outcome; every retry counts
    scans    -- by rule and outcome: ok, braked or failed
    handling -- by job type: seconds for each job, its share of the batch
    waiting  -- by job type: seconds from the latest enqueue to the read
    active   -- returns how many jobs are fetched and not yet completed
    blocked  -- returns, by job type, whether the provider blocks its calls
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
        """Seconds since the process started."""
        return time.monotonic() - self._began

    @property
    def processed(self) -> int:
        """Jobs done or skipped."""
        return self.jobs.done + self.jobs.skipped

    @property
    def failed(self) -> int:
        """Executions that raised an error."""
        return self.jobs.failed

    @property
    def average_ms(self) -> float:
        """Average milliseconds for a job; 0 before the first job."""
        _, handling, _ = self.copy()
        times = sum(histogram.times for histogram in handling.values())
        return (
            1000 * sum(histogram.total for histogram in handling.values()) / times if times else 0.0
        )

    def add(self, tally: Tally) -> None:
        """Add the tally of one step."""
        with self._lock:
            self.jobs += tally

    def scanned(self, rule: str, outcome: str) -> None:
        """Count one scan of *rule* with this outcome: ok, braked or failed."""
        with self._lock:
            self.scans[rule, outcome] += 1

    def observe(self, completion: Completion, seconds: float) -> None:
        """Record how long a committed batch took, and how long its jobs had waited."""
        ended = [
            job
            for outcome, jobs in completion.jobs.items()
            if outcome not in _NOT_ENDED
            for job in jobs
        ]
        if not ended:
            return
        messages = (job.message for job in ended)
        waits = ((message.read_at - message.enqueued_at).total_seconds() for message in messages)
        self._record(ended[0].type.name, seconds / len(ended), waits, len(ended))

    def copy(self) -> tuple[Counter[tuple[str, str]], dict[str, Histogram], dict[str, Histogram]]:
        """Return a consistent copy of scans, handling and waiting."""
        with self._lock:
            return self.scans.copy(), deepcopy(self.handling), deepcopy(self.waiting)

    def _record(self, kind: str, share: float, waits: Iterable[float], jobs: int) -> None:
        with self._lock:
            self.handling.setdefault(kind, Histogram(HANDLING)).add(share, jobs)
            waiting = self.waiting.setdefault(kind, Histogram(WAITING))
            for wait in waits:
                waiting.add(max(0.0, wait))
