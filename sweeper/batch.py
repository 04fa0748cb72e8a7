"""A batch: the jobs that a handler works on in one transaction, and the decision on each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from sqlalchemy import Connection, Executable, Select

from sweeper.event import Event
from sweeper.job import Job, JobType, Payload, Section
from sweeper.ledger import Outcome
from sweeper.redact import one_line
from sweeper.retry import DeadReason

P = TypeVar("P", bound=Payload)
S = TypeVar("S", bound=Section)


@dataclass(frozen=True, slots=True)
class Tally:
    """How many jobs had each outcome; those that are `retried` or newly `dead` have failed."""

    done: int = 0
    skipped: int = 0
    retried: int = 0
    postponed: int = 0
    dead: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*map(sum, zip(astuple(self), astuple(other), strict=True)))

    def __str__(self) -> str:
        """Say in one line how many jobs had which outcome; empty where there was none."""
        named = {"retried": "failed (will retry)"}
        counts = ((named.get(name, name), getattr(self, name)) for name in self.__slots__)
        return ", ".join(f"{count} {name}" for name, count in counts if count)

    @property
    def failed(self) -> int:
        """The number of jobs that failed."""
        return self.retried + self.dead


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome that was decided for one job.

    reason -- why, in one line; None where the outcome needs no reason
    delay  -- how long a retried or postponed job waits; None for a postponed job whose rests grow
    death  -- why a dead job was dead-lettered; None for every other outcome
    """

    outcome: Outcome
    reason: str | None = None
    delay: timedelta | None = None
    death: DeadReason | None = None


DONE = Decision(Outcome.DONE)
_NONE: Mapping[str, Any] = {}


class FollowUps(Protocol):
    """Makes the statement that enqueues one follow-up job for each row of another statement."""

    def __call__(
        self, job: JobType[Any], rows: Select[Any], now: datetime
    ) -> tuple[Executable, Mapping[str, Any]]:
        """Return the statement, and the values of its parameters beside those of *rows*."""


class Later(NamedTuple):
    """A statement that the handler does not wait for, its values, and what gets its rows."""

    statement: Executable
    values: Mapping[str, Any]
    then: Callable[[Sequence[tuple[Any, ...]]], object] = lambda _rows: None


@dataclass(slots=True)
class Batch(Generic[P]):
    """Jobs of one type that are handled together in one transaction.

    tx         -- the transaction, in which the jobs' messages have already been deleted
    now        -- the time of this step, aware, UTC; a handler never reads a clock
    cutoff     -- rows at least this old are due; equals `now` for jobs that no rule enqueues
    jobs       -- in the order of their messages; two may have one key
    sections   -- the settings of all job files, by class; `settings` returns one
    follow_ups -- makes the statements of `enqueue`
    decisions  -- by message id; a job without a decision is done
    later      -- statements that `run` has collected, which are sent with the commit
    at_the_end -- statements that `run_last` has collected, which follow those of the ledger
    """

    tx: Connection
    now: datetime
    cutoff: datetime
    jobs: Sequence[Job[P]]
    sections: Mapping[type[Section], Section]
    follow_ups: FollowUps
    decisions: dict[int, Decision] = field(default_factory=dict)
    later: list[Later] = field(default_factory=list, init=False)
    at_the_end: list[Later] = field(default_factory=list, init=False)
    _events: list[tuple[Event, dict[str, Any]]] = field(default_factory=list, init=False)

    @property
    def keys(self) -> list[str]:
        """The jobs' keys without duplicates, in the order of the messages."""
        return list(dict.fromkeys(job.key for job in self.jobs))

    def settings(self, section: type[S]) -> S:
        """Return the settings of the job file that exports *section*.

        Raises KeyError for a class that no file of the job package exports.
        """
        found = self.sections[section]
        assert isinstance(found, section)  # noqa: S101 -- narrows what the catalog has checked
        return found

    def run(
        self,
        statement: Executable,
        values: Mapping[str, Any] = _NONE,
        then: Callable[[Sequence[tuple[Any, ...]]], object] = lambda _rows: None,
    ) -> None:
        """Execute *statement* behind all that the handler waits for; it costs no round trip.

        values -- of its parameters, by name; a statement that is built once, and has its values in
                  parameters, costs a batch little
        then   -- called with its rows; it must not raise, because the commit may have been sent
        """
        self.later.append(Later(statement, values, then))

    def run_last(self, statement: Executable, values: Mapping[str, Any] = _NONE) -> None:
        """Execute *statement* immediately before the commit.

        It is for the rows that many transactions want: they are locked as short as can be.
        """
        self.at_the_end.append(Later(statement, values))

    def enqueue(
        self, job: JobType[Any], rows: Select[Any], values: Mapping[str, Any] = _NONE
    ) -> None:
        """Enqueue one follow-up job for each of *rows*, whose labels are payload fields."""
        statement, added = self.follow_ups(job, rows, self.now)
        self.run(statement, {**values, **added})

    def skip(self, job: Job[P], reason: str) -> None:
        """Complete *job* without an effect, for *reason*."""
        self.decisions[job.message.msg_id] = Decision(Outcome.SKIPPED, one_line(reason))

    def postpone(self, job: Job[P], reason: str) -> None:
        """Run *job* again later, for *reason*, without counting an attempt; its rests grow."""
        self.decisions[job.message.msg_id] = Decision(Outcome.POSTPONED, one_line(reason))

    def reject(self, job: Job[P], reason: str) -> None:
        """Dead-letter *job* for *reason*, because no retry can succeed."""
        rejected = Decision(Outcome.DEAD, one_line(reason), death=DeadReason.REJECTED)
        self.decisions[job.message.msg_id] = rejected

    def log(self, event: Event, **values: Any) -> None:
        """Log *event* after the transaction has committed; never log it after a rollback."""
        self._events.append((event, values))

    def committed(self) -> None:
        """Log the events that were held until the commit."""
        for event, values in self._events:
            event.log(**values)

    def decision(self, job: Job[P]) -> Decision:
        """Return the decision on *job*."""
        return self.decisions.get(job.message.msg_id, DONE)

    def claimed(self, claims: Mapping[str, bool]) -> None:
        """Complete, skip or postpone every job according to what happened to its row.

        claims -- by key: true where this transaction changed the row, false where the row is due
                  but locked by another transaction; a missing key means that it is not due
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
