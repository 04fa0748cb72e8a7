"""The sweeper's face: what a job file needs, and nothing else."""

from sweeper.clock import UtcTimestamp
from sweeper.durations import Duration
from sweeper.errors import RejectedError
from sweeper.grants import Grant
from sweeper.job import Batch, Job, JobType, Lane, Outside, Payload, Priority, Section
from sweeper.ledger import METADATA
from sweeper.rule import Rule

__all__ = [
    "METADATA",
    "Batch",
    "Duration",
    "Grant",
    "Job",
    "JobType",
    "Lane",
    "Outside",
    "Payload",
    "Priority",
    "RejectedError",
    "Rule",
    "Section",
    "UtcTimestamp",
]
