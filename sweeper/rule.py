"""A rule: which rows are due, how often they are scanned for, and which job each of them gets."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, Select

from sweeper.job import JobType

MOST_ANOMALIES = 1_000
"""The most anomalies of a rule that are counted; so many stands for as many or more."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Finds due rows and enqueues a job for each; a job file exports it under the name RULE.

    name       -- the name in settings, commands and logs
    job        -- the job type that is enqueued, one job for each row
    due        -- cutoff -> the rows that are due, oldest first; its labels are the payload's fields
                  and `since`, the aware time from which a row has been waiting
    every      -- the interval between scans
    older_than -- how old a row must be; a row of exactly this age is due
    why        -- why a row is due, in a few words
    anomalies  -- cutoff -> (key, reason): rows that look due but must not be changed
    index      -- the index that keeps the scan cheap on a large table; only an operator creates it
    terms      -- cutoff -> the parts of the condition by their meaning, in which {cutoff} is filled
                  in, to explain a row
    enabled    -- whether it is on where the settings do not say
    help       -- what it does, in one sentence, for the help of commands and for the settings
    """

    name: str
    job: JobType[Any]
    due: Callable[[datetime], Select[Any]]
    every: timedelta
    older_than: timedelta
    why: str = ""
    anomalies: Callable[[datetime], Select[Any]] | None = None
    index: Index | None = None
    terms: Callable[[datetime], Mapping[str, ColumnElement[bool]]] | None = None
    enabled: bool = True
    help: str = ""
