"""Which rows are due, how often to look, and the job that is sent for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, Select

from sweeper.job import JobType


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, as a job file exports it under the name RULE.

    name       -- as it stands in settings, commands and logs
    job        -- the job type that is sent, one for each row
    due        -- cutoff -> the rows that are due, oldest first; labels are the payload's fields,
                  and `since`, the time from which a row waits, aware
    every      -- how often to look
    older_than -- how old a row must be; the exact limit counts
    why        -- why a row is due, in a few words
    anomalies  -- cutoff -> (key, reason): rows that look due and must not be touched
    index      -- what makes the scan cheap however large the table; only a person creates it
    terms      -- cutoff -> the parts of the condition by what they say, to explain a row by
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
