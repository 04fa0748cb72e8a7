"""Durations as settings and options spell them: 100ms, 30s, 5m, 24h, 90d, 1h30m."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from sweeper.redact import shortened

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_LONGEST = timedelta(days=36_500)  # may be doubled, or added to a time, and is still one
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def parse(text: object) -> timedelta:
    """Parse a duration; a timedelta is returned as it is.

    Raises ValueError for anything else, including a bare number: 30 could be seconds or minutes.
    """
    if isinstance(text, timedelta):
        return text
    if not isinstance(text, str) or not _WHOLE.fullmatch(text.strip()):
        message = f'{text!r} is not a valid duration; write it like "30s", "5m" or "24h"'
        raise ValueError(message)
    message = f"{shortened(text, 40)!r} is too long for a duration"
    try:
        length = sum(
            (float(number) * _UNITS[unit] for number, unit in _PART.findall(text)), timedelta()
        )
    except OverflowError as error:
        raise ValueError(message) from error
    if length > _LONGEST:
        raise ValueError(message)
    return length


def format_duration(length: timedelta) -> str:
    """Format *length* so that `parse` reads it, in the largest unit without a remainder: 30m."""
    if not length:
        return "0s"
    for unit, size in _UNITS.items():
        if not length % size:
            return f"{length // size}{unit}"
    return f"{length / _UNITS['ms']:g}ms"


def positive(length: timedelta) -> timedelta:
    """Return *length*; raises ValueError where it is zero or negative."""
    if length <= timedelta():
        message = "must be longer than 0s"
        raise ValueError(message)
    return length


def at_most(longest: timedelta) -> Callable[[timedelta], timedelta]:
    """Return a function that returns a length; it raises ValueError for one beyond *longest*."""

    def check(length: timedelta) -> timedelta:
        if length > longest:
            message = f"must not be longer than {format_duration(longest)}"
            raise ValueError(message)
        return length

    return check


Duration = Annotated[
    timedelta,
    BeforeValidator(parse),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": f"^{_WHOLE.pattern}$", "examples": ["90m", "2h"]},
        mode="validation",
    ),
]
"""A timedelta that settings and options spell like 30s, 5m or 24h; a bare number is refused."""
