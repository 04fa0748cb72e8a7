"""What a job is, and the batch in which its handler meets it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from sqlalchemy import Connection, Select

from sweeper.events import Event


class Priority(StrEnum):
    """How soon a job is read; each level is a queue of its own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(StrEnum):
    """Where a job's work happens: inside one transaction, or in the outside world."""

    DATABASE = "database"
    OUTBOUND = "outbound"


class Payload(BaseModel):
    """The base of every payload: camelCase on the wire, foreign keys ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Section(BaseModel):
    """The base of a job file's own settings, which stand under `[name]` in the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    def faults(self) -> Iterable[str]:
        """Return what keeps this section's jobs from being done; they wait meanwhile."""
        return ()


P = TypeVar("P", bound=Payload)
S = TypeVar("S", bound=Section)


Handler: TypeAlias = Callable[["Batch[P]"], None]
"""Works a whole batch in its transaction; an exception rolls everything back."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How hard the outside world may be called.

    rate        -- calls a second
    concurrency -- calls under way at once
    timeout     -- how long a call waits for an answer; shorter than a message's lease
    """

    rate: float = 10.0
    concurrency: int = 8
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one job's call.

    parcel -- what `prepare` made for it; None where there was nothing to call
    value  -- what `call` returned; None where it raised, or was not made after all
    error  -- what either raised
    """

    parcel: Any = None
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Outside(Generic[P]):
    """The handler of an outbound job: no transaction is open while `call` runs.

    prepare -- in a short transaction: what each job's call needs, by message id; jobs may be
               skipped or rejected here, and then are not called
    call    -- calls the outside world for one job and returns its answer, or raises: an
               OutsideError says how the outside world is
    record  -- in the settling transaction: writes down the answers, by message id. Every job that
               was prepared comes here, and its verdict stands already; it may be overruled
    pace    -- how hard to call, from the job files' settings
    """

    prepare: Callable[["Batch[P]"], Mapping[int, Any]]
    call: Callable[[Any], Any]
    record: Callable[["Batch[P]", Mapping[int, Answer]], None]
    pace: Callable[[Mapping[type[Section], Section]], Pace] = lambda _sections: Pace()


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """One kind of job, as a job file exports it under the name JOB.

    name        -- the `type` on the wire
    payload     -- the model that its payload must satisfy
    key         -- the attribute of the payload that says whose job it is (an order id)
    handler     -- works a whole batch in one transaction, or calls the outside world
    priority    -- the queue that it is sent to
    max_retries -- executions after the first; None means the setting `retry.max_retries`
    many        -- the wire name of a list of keys that stands for one job each, if there is one
    """

    name: str
    payload: type[P]
    key: str
    handler: "Handler[P] | Outside[P]"
    priority: Priority = Priority.NORMAL
    max_retries: int | None = None
    many: str | None = None

    @property
    def lane(self) -> Lane:
        """Where the work happens; it follows from the kind of handler."""
        return Lane.OUTBOUND if isinstance(self.handler, Outside) else Lane.DATABASE

    def wire(self, attribute: str) -> str:
        """Return the wire name of a payload field."""
        model_field = self.payload.model_fields.get(attribute)
        return (model_field.alias if model_field else None) or to_camel(attribute)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as pgmq handed it out.

    raw     -- the JSON text of its body, whatever a stranger sent; None where it is SQL NULL
    read_at -- the database's time at the read
    """

    queue: str
    msg_id: int
    read_ct: int
    enqueued_at: datetime
    raw: str | None
    read_at: datetime

    @property
    def crashes(self) -> int:
        """How many earlier reads ended without a verdict: every verdict makes a new message."""
        return self.read_ct - 1


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A message that was understood.

    body                     -- the wire body, strict where we know it, foreign keys and all
    retry_count, max_retries -- failed executions so far, and how many are forgiven
    sweep_id                 -- the sweep that found it; None for a stranger's message
    """

    message: Message
    type: JobType[P]
    payload: P
    body: Mapping[str, Any]
    retry_count: int
    max_retries: int
    sweep_id: str | None

    @property
    def key(self) -> str:
        """Whose job it is: an order id, mostly."""
        return str(getattr(self.payload, self.type.key))

    @property
    def attempt(self) -> int:
        """The number of this execution, counted from 1."""
        return self.retry_count + 1


class Enqueue(Protocol):
    """Sends the rows of a statement as follow-up jobs in the batch's own transaction."""

    def __call__(self, tx: Connection, job: JobType[Any], rows: Select[Any], now: datetime) -> int:
        """Return how many jobs were sent."""


class Fate(StrEnum):
    """What is said of a job; what is not named is done. The last three are dead."""

    DONE = "done"
    SKIPPED = "skipped"
    POSTPONED = "postponed"
    RETRIED = "retried"
    REJECTED = "rejected"
    EXHAUSTED = "exhausted"
    CRASHED = "crashed"

    @property
    def dead(self) -> bool:
        """Whether only a person brings such a job back."""
        return self in {Fate.REJECTED, Fate.EXHAUSTED, Fate.CRASHED}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A job's fate and the reason for it; *delay* is how long it rests if it is run again."""

    fate: Fate
    reason: str | None = None
    delay: timedelta | None = None


_DONE = Verdict(Fate.DONE)


@dataclass(slots=True)
class Batch(Generic[P]):
    """Jobs of one type, worked together in one transaction.

    tx     -- the transaction in which the messages are already settled
    now    -- the time of this step, aware, UTC; nothing here asks a clock
    cutoff -- what is at least this old is due; `now` itself for jobs that no rule sends
    """

    tx: Connection
    now: datetime
    cutoff: datetime
    jobs: Sequence[Job[P]]
    sections: Mapping[type[Section], Section]
    send: Enqueue
    verdicts: dict[int, Verdict] = field(default_factory=dict)
    _told: list[tuple[Event, dict[str, Any]]] = field(default_factory=list, init=False)

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
        self.verdicts[job.message.msg_id] = Verdict(Fate.SKIPPED, reason)

    def postpone(self, job: Job[P], reason: str) -> None:
        """Leave *job* for a little later; it costs no attempt."""
        self.verdicts[job.message.msg_id] = Verdict(Fate.POSTPONED, reason)

    def reject(self, job: Job[P], reason: str) -> None:
        """Bury *job*: no retry can help it."""
        self.verdicts[job.message.msg_id] = Verdict(Fate.REJECTED, reason)

    def tell(self, event: Event, **values: Any) -> None:
        """Log *event* once the transaction has committed, and never if it does not."""
        self._told.append((event, values))

    def committed(self) -> None:
        """Log what was to be told."""
        for event, values in self._told:
            event.tell(**values)

    def verdict(self, job: Job[P]) -> Verdict:
        """Return what was said of *job*."""
        return self.verdicts.get(job.message.msg_id, _DONE)

    def claimed(self, claims: Mapping[str, bool]) -> None:
        """Judge every job by what became of its row.

        claims -- by key: true, this transaction changed the row; false, the row is due but held
                  by somebody else; a key that is missing is not due
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
