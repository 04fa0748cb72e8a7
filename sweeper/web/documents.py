"""The JSON documents that machines get, as types; the description of the addresses is made of them.

More keys may come; those that are here stay.
"""

from typing import Any, Generic, Literal, NotRequired, TypeVar

from typing_extensions import TypedDict  # pydantic reads that of `typing` from Python 3.12 on

T = TypeVar("T")


class Done(TypedDict, Generic[T]):
    """What was asked for."""

    success: Literal[True]
    data: T


class Failed(TypedDict):
    """Why it was not done; `data` says more where too many are due, or the service is unhealthy."""

    success: Literal[False]
    error: str
    data: NotRequired[dict[str, Any]]


class Alive(TypedDict):
    """Whether the service is alive, and the loops that hang."""

    alive: bool
    hanging: list[str]


class Ready(TypedDict):
    """Whether the service is ready, and why it is not."""

    ready: bool
    reasons: list[str]


class Job(TypedDict):
    """The job that has waited longest."""

    id: int
    createdAt: str
    retryCount: int


class QueueTotals(TypedDict):
    """The numbers of all queues together; times are in milliseconds."""

    totalQueued: int
    totalProcessing: int
    totalFailed: int
    totalCompleted: int
    completedIsCapped: bool
    avgProcessingTime: float
    oldestJob: NotRequired[Job]


class Stats(TypedDict):
    """The data of /api/monitoring/queue/stats."""

    queue: QueueTotals
    timestamp: str


class DatabaseHealth(TypedDict):
    """Whether the database could be read."""

    status: Literal["up", "down"]
    timestamp: str


class WorkerHealth(TypedDict):
    """What this process has done since its start; `uptime` is in seconds."""

    status: Literal["running", "stopped"]
    uptime: int
    activeJobs: int
    totalProcessed: int
    totalFailed: int
    successRate: str
    pid: int


class QueueHealth(TypedDict):
    """The numbers of the queues, null while the database cannot be read; ages are in seconds."""

    totalQueued: int | None
    totalProcessing: int | None
    oldestJobAge: int | None


class Health(TypedDict):
    """The data of /api/monitoring/queue/health."""

    database: DatabaseHealth
    worker: WorkerHealth
    queue: QueueHealth
    overall: NotRequired[Literal["healthy", "unhealthy"]]


class WorkerInfo(TypedDict):
    """The same, as /api/monitoring/queue/info writes it; `uptime` is like 12s."""

    running: bool
    uptime: str
    activeJobs: int
    processedTotal: int
    failedTotal: int


class OldestJob(TypedDict):
    """The same job, as /api/monitoring/queue/info writes it."""

    id: int
    retries: int
    ageSeconds: int | None


class Info(TypedDict):
    """The data of /api/monitoring/queue/info; `avgProcessingTime` is like 12ms."""

    queueName: str
    queued: int
    processing: int
    failed: int
    completed: int
    completedIsCapped: bool
    avgProcessingTime: str
    worker: WorkerInfo
    oldestJob: OldestJob | None
    timestamp: str


class Swept(TypedDict):
    """What a sweep did, or would do: the document of `sweeper sweep --json`."""

    sweep_id: str
    trigger: str
    dry_run: bool
    rules: dict[str, dict[str, Any]]
    jobs: dict[str, int]
    pauses: list["Paused"]
    duration_ms: int


class Enqueued(TypedDict):
    """Where a job is that was sent by hand."""

    msg_id: int
    queue: str


class Paused(TypedDict):
    """A pause that is in force; without `ends_at` only a resume ends it."""

    target: str
    since: str
    ends_at: str | None
    actor: str
    reason: str


class Resumed(TypedDict):
    """What was paused, and goes on."""

    resumed: list[str]
