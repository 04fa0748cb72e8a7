"""What a job file may export beside JOB and RULE: figures, effects, grants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import Select

Shown: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Effect:
    """One kind of rows that jobs change, as a job file exports it in the tuple EFFECTS.

    name  -- as the document has it
    label -- as a person reads it
    query -- jobs' keys -> the rows that they may change, each led by what identifies it; it is
             asked before the work and after
    shown -- (before, after) -> what is told of a row that differs; what was not there is empty
    """

    name: str
    label: str
    query: Callable[[Sequence[str]], Select[Any]]
    shown: Callable[[Shown, Shown], Shown]


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


@dataclass(frozen=True, slots=True)
class Grant:
    """One privilege on one table.

    schema  -- None for the platform's own, wherever the search path finds it
    columns -- the only ones that it is for; empty for the whole table
    """

    schema: str | None
    table: str
    privilege: str
    columns: tuple[str, ...] = ()
