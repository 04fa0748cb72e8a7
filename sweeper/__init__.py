"""The public interface for job files: everything that a job file imports from the engine."""

from sweeper.batch import Batch
from sweeper.durations import Duration
from sweeper.errors import (
    LostReplyError,
    OutsideError,
    RefusedError,
    RejectedError,
    ThrottledError,
    UsageError,
)
from sweeper.event import Event
from sweeper.exports import Effect, Figure, Grant, Kind, ListColumn, Listing
from sweeper.http_client import Reply, post
from sweeper.job import Answer, Job, JobType, Lane, Outside, Pace, Payload, Priority, Section
from sweeper.ledger import METADATA, Outcome
from sweeper.postgres.clock import UtcTimestamp
from sweeper.rule import Rule

__all__ = [
    "METADATA",
    "Answer",
    "Batch",
    "Duration",
    "Effect",
    "Event",
    "Figure",
    "Grant",
    "Job",
    "JobType",
    "Kind",
    "Lane",
    "ListColumn",
    "Listing",
    "LostReplyError",
    "Outcome",
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
