"""A number that a job file adds to what everybody sees: the status, the metrics, the page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select


@dataclass(frozen=True, slots=True)
class Figure:
    """One number, as a job file exports it in the tuple FIGURES.

    name  -- as the metrics have it after `sweeper_`, its unit last: a word with underscores
    label -- as a person reads it
    query -- the statement of the number; NULL counts as 0
    shown -- the number as a person reads it
    """

    name: str
    label: str
    query: Select[Any]
    shown: Callable[[float], str] = "{:,.0f}".format
