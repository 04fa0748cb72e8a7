"""The sweeper's face: what a job file needs, and nothing else."""

from sweeper.clock import UtcTimestamp
from sweeper.courier import Reply, post
from sweeper.durations import Duration
from sweeper.effect import Effect
from sweeper.errors import (
    LostReplyError,
    OutsideError,
    RefusedError,
    RejectedError,
    ThrottledError,
    UsageError,
)
from sweeper.figure import Figure
from sweeper.grants import Grant
from sweeper.job import (
    Answer,
    Batch,
    Fate,
    Job,
    JobType,
    Lane,
    Outside,
    Pace,
    Payload,
    Priority,
    Section,
)
from sweeper.ledger import METADATA
from sweeper.rule import Rule

__all__ = [
    "METADATA",
    "Answer",
    "Batch",
    "Duration",
    "Effect",
    "Fate",
    "Figure",
    "Grant",
    "Job",
    "JobType",
    "Lane",
    "LostReplyError",
    "Outside",
    "OutsideError",
    "Pace",
    "Payload",
    "Priority",
    "RefusedError",
    "RejectedError",
    "Reply",
    "Rule",
    "Section",
    "ThrottledError",
    "UsageError",
    "UtcTimestamp",
    "post",
]
