"""A finding of `sweeper doctor`: what was checked, the result, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sweeper.errors import SweeperError


class Level(StrEnum):
    """The severity of a finding; an error keeps jobs from being processed."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    about   -- what was checked
    what    -- the result
    remedy  -- what to do about it; empty if nothing
    runbook -- where the runbook says more; empty if it does not
    """

    level: Level
    about: str
    what: str
    remedy: str = ""
    runbook: str = ""


Findings = Iterator[Finding]


def split(error: SweeperError) -> tuple[str, str]:
    """Return the first line of the error's message, and the rest, which is the remedy."""
    what, _, remedy = str(error).partition("\n")
    return what, remedy
