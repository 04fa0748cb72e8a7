"""What a job is: its type, its payload, its message, and how outbound calls are made for it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Priority(StrEnum):
    """How soon a job is read; each priority has a queue of its own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(StrEnum):
    """Where a job's work happens: inside one database transaction, or in calls to a provider."""

    DATABASE = "database"
    OUTBOUND = "outbound"


class Payload(BaseModel):
    """The base of every payload: camelCase on the wire, unknown keys ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Section(BaseModel):
    """The base of a job file's own settings, which stand under `[name]` in the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    def faults(self) -> Iterable[str]:
        """Return which missing settings keep this section's jobs from running; they wait."""
        return ()


P = TypeVar("P", bound=Payload)


Handler: TypeAlias = Callable[[Any], None]
"""Works on a whole `Batch[P]` in its transaction; an exception rolls everything back."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a provider may be called.

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

    prepared -- what `prepare` made for it; None where there was nothing to call
    value    -- what `call` returned; None where it raised, or was not made after all
    error    -- what either raised
    """

    prepared: Any = None
    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Outside(Generic[P]):
    """The handler of an outbound job: no transaction is open while `call` runs.

    prepare -- `Batch[P]` -> what each job's call needs, by message id, in a short transaction; jobs
               may be skipped or rejected here, and then no call is made for them
    call    -- calls the provider for one job and returns its answer, or raises: an OutsideError
               says how the provider is
    record  -- (`Batch[P]`, answers by message id) -> None, in the transaction that completes the
               jobs; every job that was prepared comes with its decision, which may be overruled
    pace    -- how fast to call, from the job files' settings
    """

    prepare: Callable[[Any], Mapping[int, Any]]
    call: Callable[[Any], Any]
    record: Callable[[Any, Mapping[int, Answer]], None]
    pace: Callable[[Mapping[type[Section], Section]], Pace] = lambda _sections: Pace()


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """One kind of job, as a job file exports it under the name JOB.

    name        -- the `type` on the wire
    payload     -- the model that its payload must satisfy
    key         -- the attribute of the payload that says which row the job is about
    handler     -- works on a whole batch in one transaction, or calls a provider
    priority    -- the queue that it is sent to
    max_retries -- executions after the first; None means the setting `retry.max_retries`
    many        -- the wire name of a list of keys that stands for one job each, if there is one
    """

    name: str
    payload: type[P]
    key: str
    handler: Handler | Outside[P]
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

    raw     -- the JSON text of its body, whatever the sender wrote; None where it is SQL NULL
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
        """How many earlier reads ended without a decision: every decision makes a new message."""
        return self.read_ct - 1


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A message that was parsed.

    body                     -- the wire body, normalized where we know it, unknown keys kept
    retry_count, max_retries -- failed executions so far, and how many are allowed
    sweep_id                 -- the sweep that found it; None for a message of another sender
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
        """Which row the job is about."""
        return str(getattr(self.payload, self.type.key))

    @property
    def attempt(self) -> int:
        """The number of this execution, counted from 1."""
        return self.retry_count + 1
