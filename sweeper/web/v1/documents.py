"""What the API answers, as types, where no read model is the type already."""

from typing import Generic, TypeVar

from typing_extensions import TypedDict

from sweeper.queue.inspect import Depth

T = TypeVar("T")
Before = TypeVar("Before")


class Page(TypedDict, Generic[T, Before]):
    """A part of a list; `next` is the `before` of the part that follows, null at the end."""

    items: list[T]
    next: Before | None


class Late(TypedDict):
    """A row that is due, and what happens to it next."""

    key: str
    code: str | None
    since: str
    why: str


class Anomaly(TypedDict):
    """A row that looks due and must not be touched."""

    key: str
    code: str | None
    reason: str


class Cause(TypedDict):
    """Dead letters with the same cause; error, ids and keys are those of the latest ones."""

    type: str | None
    reason: str
    fingerprint: str
    count: int
    first_at: str
    last_at: str
    error: str
    ids: list[int]
    keys: list[str | None]


class Backlog(TypedDict):
    """Which rows are overdue and why, by rule, and why letters are dead."""

    at: str
    late: dict[str, list[Late]]
    anomalies: dict[str, list[Anomaly]]
    causes: list[Cause]
    has_more: bool


class Queues(TypedDict):
    """The queues that are worked, by name, and how many dead letters there are."""

    at: str
    queues: dict[str, Depth]
    dead: int


class DeadLetter(TypedDict):
    """A dead letter."""

    msg_id: int
    type: str | None
    key: str | None
    code: str | None
    reason: str
    error: str
    attempts: int
    died_at: str
    queue: str
    fingerprint: str
    sweep_id: str | None


class WholeDeadLetter(DeadLetter):
    """A dead letter with its message's body: masked text, cut where it is very long."""

    body: str | None


class Taken(TypedDict):
    """How many dead letters were retried or dropped, and the ids of the first 1000."""

    count: int
    ids: list[int]


class Scan(TypedDict):
    """A scan of one rule: found = enqueued + already_queued + dead + braked."""

    id: str
    rule: str
    job_type: str
    trigger: str
    actor: str | None
    reason: str | None
    host: str
    at: str
    cutoff: str
    found: int
    enqueued: int
    already_queued: int
    dead: int
    braked: int
    anomalies: int
    ok: bool
