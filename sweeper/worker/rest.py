"""The rest of a postponed job: how long it is, and what is counted of it in the message."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sweeper import events
from sweeper.job import Job
from sweeper.postgres.errors import is_cancelled, is_locked, is_transient
from sweeper.queue.wire import postponement
from sweeper.retry import FIRST_REST, rest_after

PAUSE = FIRST_REST
"""How long a job waits after trouble of the whole database, which is not counted."""


@dataclass(frozen=True, slots=True)
class Rest:
    """How long a postponed job rests.

    counts -- the keys of the message's body that count the postponement; none where it is not
    """

    delay: timedelta = PAUSE
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def times(self) -> int:
        """How often the job has been postponed now; 0 where that is not counted."""
        return self.counts.get("postponed", 0)


@dataclass(frozen=True, slots=True)
class Patience:
    """Tells what is the job's own from the database's trouble.

    slow_limit        -- the statement timeouts of a job alone of which the last is a failure, and
                         the postponements for a lock after which that is told as `job.blocked`
    statement_timeout -- a cancelled job that took less was cancelled by a stop, or by a person
    """

    slow_limit: int
    statement_timeout: timedelta

    def rest(self, job: Job[Any], error: Exception, seconds: float = 0.0) -> Rest | None:
        """Return the rest of *job*, which raised *error* alone; None where that is a failure.

        A lock is somebody else's, so that waiting for it is never a failure. Everything else that
        is transient is trouble of the whole database, and rests shortly without being counted.

        seconds -- how long the job took
        """
        if not is_transient(error):
            return None
        if is_cancelled(error) and seconds >= self.statement_timeout.total_seconds():
            if job.timed_out + 1 >= self.slow_limit:
                return None
            return Rest(rest_after(job.postponed + 1), postponement(job, timed_out=True))
        return held(job) if is_locked(error) else Rest()

    def tell(self, job: Job[Any], rest: Rest, error: str) -> None:
        """Log that somebody holds a lock for long: at the limit, and at each multiple of it."""
        if rest.times and rest.times % self.slow_limit == 0:
            events.JOB_BLOCKED.log(
                type=job.type.name,
                key=job.key,
                times=rest.times,
                delay_seconds=rest.delay.total_seconds(),
                error=error,
            )


def held(job: Job[Any]) -> Rest:
    """Return the rest of a job whose row somebody else has locked."""
    return Rest(rest_after(job.postponed + 1), postponement(job))
