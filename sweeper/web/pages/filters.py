"""Filters of lists: read from an address or a form, written into either, and shown as a form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from sweeper import durations
from sweeper.app import App
from sweeper.errors import UsageError
from sweeper.redact import shortened

AGES = ("older", "newer")
_LONGEST = 60  # characters of a wrong value that an error repeats


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a filter form; without choices a text is typed.

    needed -- whether there is no choice for all
    words  -- what people call a choice, where that is not its value
    """

    name: str
    label: str
    choices: Sequence[str] | None = None
    needed: bool = False
    words: Mapping[str, str] = dataclass_field(default_factory=dict)


def given(asked: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the filters that are given in *asked*, of those with these *names*.

    Raises UsageError for what cannot be text in the database.
    """
    found = {name: asked[name] for name in names if asked.get(name, "").strip()}
    if any("\0" in value for value in found.values()):
        message = "a filter holds a character that no text in the database has"
        raise UsageError(message)
    return found


def age(text: str | None) -> datetime | timedelta | None:
    """Return a filter's age: a time, or a length of time; raises UsageError for neither."""
    if text is None:
        return None
    try:
        return durations.parse(text)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        message = f"{shortened(text, _LONGEST)!r} is no age such as 30m, 5h or 2d, and no time"
        raise UsageError(message) from error
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def pinned(found: Mapping[str, str], now: datetime) -> dict[str, str]:
    """Return filters whose ages are times, so that they select the same rows a minute later."""
    fixed = dict(found)
    for name in AGES:
        length = age(found.get(name))
        if isinstance(length, timedelta):
            fixed[name] = (now - length).isoformat()
    return fixed


def key_of(app: App, typed: str | None) -> str | None:
    """Return the key that *typed* is, or is the code of; what was typed where nobody knows it."""
    if typed is None:
        return None
    with app.database.transaction() as tx:
        return app.catalog.codes.find(tx, typed) or typed


def query(**values: str | int | None) -> str:
    """Return the query of an address, with its question mark; empty without values."""
    there = {name: value for name, value in values.items() if value not in {None, ""}}
    return f"?{urlencode(there)}" if there else ""
