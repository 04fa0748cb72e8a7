"""What the API answers, as types, where no read model is the type already."""

from typing import Any, Generic, Literal, TypeVar

from typing_extensions import TypedDict

from sweeper.monitoring.about.sweep import SentJob
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


class Counted(TypedDict):
    """What a scan of one rule counted: found = enqueued + already_queued + dead + braked."""

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


class Scan(Counted):
    """A scan of one rule, with the id of its sweep."""

    id: str


class WholeScan(Counted):
    """A scan with the first of its jobs, and how many it has sent beside them."""

    jobs: list[SentJob]
    left_out: int


class Sweep(TypedDict):
    """One sweep: its scans, by rule."""

    sweep_id: str
    scans: list[WholeScan]


class Hit(TypedDict):
    """Something that was found, and why it may be meant."""

    kind: Literal["key", "letter", "sweep", "message"]
    id: str
    what: str
    code: str | None


class Found(TypedDict):
    """The hits for a text, the likeliest first, and what was looked at."""

    typed: str
    hits: list[Hit]
    tried: list[str]


class Point(TypedDict):
    """The value of the step that begins then; null where it is not known."""

    at: str
    value: float | None


class Series(TypedDict):
    """One number as it went."""

    name: str
    label: str
    unit: str
    points: list[Point]


class History(TypedDict):
    """How things went in a period, all with the same steps: `sweeper history --json`."""

    period: Literal["hour", "day", "month"]
    since: str
    until: str
    step_seconds: int
    series: list[Series]


class Rows(TypedDict, Generic[T]):
    """A part of a list, as its command prints it with --json; `next` is as in Page.

    total    -- how many rows the whole list has; or more, where it is `capped`
    left_out -- what was not looked through, null if nothing
    """

    rows: list[T]
    total: int
    capped: bool
    next: str | None
    left_out: str | None


class Waiting(TypedDict):
    """A message in a live queue."""

    msg_id: int
    queue: str
    type: str | None
    key: str | None
    code: str | None
    state: Literal["ready", "in work", "later", "hidden"]
    retries: int | None
    enqueued_at: str | None
    visible_at: str | None


Row = dict[str, Any]
"""A row whose columns the rule or the job file names."""
