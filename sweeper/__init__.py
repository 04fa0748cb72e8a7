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
from sweeper.exports import (
    Collection,
    ColumnKind,
    Effect,
    Figure,
    Finder,
    Grant,
    ListColumn,
    Listing,
)
from sweeper.job import Answer, Job, JobType, Lane, Outside, Pace, Payload, Priority, Section
from sweeper.ledger import METADATA, Outcome
from sweeper.outbound.http_client import Reply, post
from sweeper.postgres.clock import UtcTimestamp
from sweeper.queue.acts import Action
from sweeper.remedies import Remedy
from sweeper.rule import Rule

__all__ = [
    "METADATA",
    "Action",
    "Answer",
    "Batch",
    "Collection",
    "ColumnKind",
    "Duration",
    "Effect",
    "Event",
    "Figure",
    "Finder",
    "Grant",
    "Job",
    "JobType",
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
    "Remedy",
    "Reply",
    "Rule",
    "Section",
    "ThrottledError",
    "UsageError",
    "UtcTimestamp",
    "post",
]
