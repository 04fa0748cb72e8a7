"""A job: its type, payload, message and lane, and how outbound calls are made for it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Priority(StrEnum):
    """How soon a job is fetched; each priority has a queue of its own."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class Lane(StrEnum):
    """How a job is handled: inside one database transaction, or by calls to a provider."""

    DATABASE = "database"
    OUTBOUND = "outbound"


class Payload(BaseModel):
    """The base class of every payload: camelCase on the wire, unknown keys ignored."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class Section(BaseModel):
    """The base class of a job file's own settings, which stand under `[name]` in the TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: ClassVar[str]

    def faults(self) -> Iterable[str]:
        """Return a message for each missing setting; without it this section's jobs wait."""
        return ()

    def notes(self) -> Iterable[str]:
        """Return what a person should know about the settings, although nothing is wrong."""
        return ()


P = TypeVar("P", bound=Payload)


Handler: TypeAlias = Callable[[Any], None]
"""Handles a whole `Batch[P]` in its transaction; an exception rolls everything back."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The rate limit, concurrency and timeout of the calls to a provider.

    rate        -- calls per second
    concurrency -- calls in flight at once
    timeout     -- how long a call waits for a reply; shorter than a message's lease
    """

    rate: float = 10.0
    concurrency: int = 8
    timeout: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one job's call.

    prepared -- what `prepare` returned for the job; None where no call was prepared
    value    -- what `call` returned; None where it raised, or was not made
    error    -- the exception that `prepare` or `call` raised; None where neither did
    """

    prepared: Any = field(default=None, repr=False)
    value: Any = field(default=None, repr=False)
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class Outside(Generic[P]):
    """The handler of an outbound job: no transaction is open while `call` runs.

    prepare -- `Batch[P]` -> the input of each job's call, by message id, in a short transaction; a
               job without an input is not called for, and may be skipped or rejected here
    call    -- input -> the provider's reply for one job; raises an OutsideError where the failure
               is the provider's, not the job's
    record  -- (`Batch[P]`, answers by message id) -> None, in the transaction that completes the
               jobs; the batch already holds a decision on every job, which may be replaced
    pace    -- the job files' settings -> how fast to call
    reopen  -- (transaction, jobs, now) -> None, in the transaction in which an operator brings dead
               jobs back: what their death has closed is opened for them
    """

    prepare: Callable[[Any], Mapping[int, Any]]
    call: Callable[[Any], Any]
    record: Callable[[Any, Mapping[int, Answer]], None]
    pace: Callable[[Mapping[type[Section], Section]], Pace] = lambda _sections: Pace()
    reopen: Callable[[Any, Sequence["Job[Any]"], datetime], None] = lambda _tx, _jobs, _now: None


@dataclass(frozen=True, slots=True)
class JobType(Generic[P]):
    """One kind of job; a job file exports it under the name JOB.

    name        -- the `type` on the wire
    payload     -- the model that validates its payload
    key         -- the attribute of the payload that identifies the row that the job is about
    handler     -- handles a whole batch in one transaction, or calls a provider
    priority    -- which queue it is enqueued in
    max_retries -- executions after the first; None means the setting `retry.max_retries`
    many        -- the wire name of a list of keys, each of which stands for one job; or None
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
        """The lane that handles the job, which follows from the kind of its handler."""
        return Lane.OUTBOUND if isinstance(self.handler, Outside) else Lane.DATABASE

    def wire(self, attribute: str) -> str:
        """Return the wire name of a payload field."""
        model_field = self.payload.model_fields.get(attribute)
        return (model_field.alias if model_field else None) or to_camel(attribute)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as pgmq returned it.

    raw     -- the JSON text of its body, not validated; None where it is SQL NULL. It may name
               people, so it is in no repr, and thus in no error's text
    read_at -- the database's time when the message was read
    size    -- the bytes of that text; above `pgmq.BODY_BYTES` the text stays in the database
    """

    queue: str
    msg_id: int
    read_ct: int
    enqueued_at: datetime
    raw: str | None = field(repr=False)
    read_at: datetime
    size: int = 0

    @property
    def crashes(self) -> int:
        """How many earlier reads ended without a decision; each decision deletes the message.

        A sender may have written any number of reads, also one below zero.
        """
        return max(0, self.read_ct - 1)


@dataclass(frozen=True, slots=True)
class Job(Generic[P]):
    """A message that was parsed successfully.

    type, payload            -- its job type, and what it is about, validated by the type's model
    body                     -- the wire body, known keys normalized, unknown keys kept
    retry_count, max_retries -- failed executions so far, and how many are allowed
    sweep_id                 -- the sweep that enqueued it; None for a message of another sender
    postponed                -- how often it was postponed since it was enqueued or last retried
    timed_out                -- how often, handled alone, it ran into the statement timeout
    key                      -- the identifier of the row that the job is about
    """

    message: Message
    type: JobType[P]
    payload: P = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    retry_count: int
    max_retries: int
    sweep_id: str | None
    postponed: int = 0
    timed_out: int = 0
    key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", str(getattr(self.payload, self.type.key)))

    @property
    def waited(self) -> bool:
        """Whether it was postponed or timed out before, so that it is handled apart from others."""
        return self.postponed > 0 or self.timed_out > 0

    @property
    def attempt(self) -> int:
        """The number of this execution, counted from 1."""
        return self.retry_count + 1
