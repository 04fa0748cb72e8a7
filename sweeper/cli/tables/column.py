"""Columns: what a command declares of a table, and how a value is written in a cell."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sweeper.exports import ColumnKind
from sweeper.humanize import age, at, in_line, in_zone, number


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    label -- its heading, in lower case
    kind  -- only a TEXT is ever folded, and between words; a NUMBER stands at the right
    shown -- formats a value for people; None for what the kind and the value's type say
    """

    label: str
    kind: ColumnKind = ColumnKind.TEXT
    shown: Callable[[Any], str] | None = None

    @property
    def folds(self) -> bool:
        """Whether its cells may take several lines."""
        return self.kind is ColumnKind.TEXT

    @property
    def is_number(self) -> bool:
        """Whether its cells stand at the right."""
        return self.kind is ColumnKind.NUMBER

    def cell(self, value: object) -> str:
        """Return *value* as one line for people; nothing for None."""
        if value is None:
            return ""
        return in_line(self.shown(value) if self.shown else self._written(value))

    def _written(self, value: object) -> str:
        match value:
            case bool():
                return "yes" if value else "no"
            case datetime():
                return at(value, zone=None)
            case timedelta():
                return age(value.total_seconds())
            case int() | float() if self.is_number:
                return number(value)
            case _:
                return str(value)


def zone_of(moments: Iterable[datetime]) -> str:
    """Return the name of this host's time zone at these times: two where it changed in between."""
    names = dict.fromkeys(in_zone(moment).tzname() or "" for moment in moments)
    return " or ".join(f"UTC{name}" if name[:1] in {"+", "-"} else name for name in names)
