"""A batch of jobs as its handler sees it, and what became of each job in it."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import Connection, Select

from sweeper.event import Event
from sweeper.job import Job, JobType, Payload, Section
from sweeper.ledger import Outcome
from sweeper.retry import DeadReason

P = TypeVar("P", bound=Payload)
S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs had each outcome; `retried` and newly `dead` ones raised an error."""

    done: int = 0
    skipped: int = 0
    retried: int = 0
    postponed: int = 0
    dead: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    @property
    def failed(self) -> int:
        """Jobs that raised an error."""
        return self.retried + self.dead


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a job.

    reason -- why, in one line; None where there is nothing to say
    delay  -- how long a retried or postponed job rests; None for the usual moment
    death  -- why a dead job is dead; None for every other outcome
    """

    outcome: Outcome
    reason: str | None = None
    delay: timedelta | None = None
    death: DeadReason | None = None


DONE = Decision(Outcome.DONE)


class Enqueue(Protocol):
    """Sends the rows of a statement as follow-up jobs in the batch's own transaction."""

    def __call__(self, tx: Connection, job: JobType[Any], rows: Select[Any], now: datetime) -> int:
        """Return how many jobs were sent."""


@dataclass(slots=True)
class Batch(Generic[P]):
    """Jobs of one type, worked on together in one transaction.

    tx        -- the transaction, in which the jobs' messages are deleted already
    now       -- the time of this step, aware, UTC; a handler asks no clock
    cutoff    -- what is at least this old is due; `now` itself for jobs that no rule sends
    decisions -- by message id; a job without one is done
    """

    tx: Connection
    now: datetime
    cutoff: datetime
    jobs: Sequence[Job[P]]
    sections: Mapping[type[Section], Section]
    send: Enqueue
    decisions: dict[int, Decision] = field(default_factory=dict)
    _events: list[tuple[Event, dict[str, Any]]] = field(default_factory=list, init=False)

    @property
    def keys(self) -> list[str]:
        """Each key once, in the order of the messages."""
        return list(dict.fromkeys(job.key for job in self.jobs))

    def settings(self, section: type[S]) -> S:
        """Return a job file's own settings."""
        found = self.sections[section]
        assert isinstance(found, section)  # noqa: S101 -- narrows what the catalog has checked
        return found

    def enqueue(self, job: JobType[Any], rows: Select[Any]) -> int:
        """Send one follow-up job for each of *rows*, whose labels are payload fields."""
        return self.send(self.tx, job, rows, self.now)

    def skip(self, job: Job[P], reason: str) -> None:
        """Finish *job* without an effect."""
        self.decisions[job.message.msg_id] = Decision(Outcome.SKIPPED, reason)

    def postpone(self, job: Job[P], reason: str) -> None:
        """Leave *job* for a little later; it costs no attempt."""
        self.decisions[job.message.msg_id] = Decision(Outcome.POSTPONED, reason)

    def reject(self, job: Job[P], reason: str) -> None:
        """Dead-letter *job*: no retry can help it."""
        rejected = Decision(Outcome.DEAD, reason, death=DeadReason.REJECTED)
        self.decisions[job.message.msg_id] = rejected

    def log(self, event: Event, **values: Any) -> None:
        """Log *event* once the transaction has committed, and never if it does not."""
        self._events.append((event, values))

    def committed(self) -> None:
        """Log the events that waited for the commit."""
        for event, values in self._events:
            event.log(**values)

    def decision(self, job: Job[P]) -> Decision:
        """Return what becomes of *job*."""
        return self.decisions.get(job.message.msg_id, DONE)

    def claimed(self, claims: Mapping[str, bool]) -> None:
        """Decide on every job by what became of its row.

        claims -- by key: true, this transaction changed the row; false, the row is due but held
                  by another transaction; a key that is missing is not due
        """
        done = set[str]()
        for job in self.jobs:
            match claims.get(job.key):
                case True if job.key not in done:
                    done.add(job.key)
                case True:
                    self.skip(job, "duplicate")
                case False:
                    self.postpone(job, "row locked")
                case None:
                    self.skip(job, "not due")
