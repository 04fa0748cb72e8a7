"""What a job file's jobs change, as a dry run shows it."""

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
