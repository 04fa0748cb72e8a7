"""The filter of dead letters: by id, type, reason, fingerprint, key and age."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Interval,
    Subquery,
    any_,
    cast,
    func,
    literal,
    or_,
    select,
)

from sweeper.errors import ChangedError, UsageError
from sweeper.queue.dead_letters.dead_letter_table import about

LARGEST_ID = 2**63 - 1
WITHOUT = "-"
"""As a type or a key: only letters that have none, because nobody could read their message."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody has seen of the dead letters that a filter selects.

    count  -- how many there are
    newest -- the largest of their ids; 0 where there are none
    """

    count: int
    newest: int


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters; without any criterion it selects all of them.

    before -- only those with smaller ids
    limit  -- the newest so many of those that meet all the rest
    older  -- only those that died by this time, or so long ago, by the database's clock
    newer  -- only those that died after this time, or less long ago
    """

    ids: Sequence[int] = ()
    type: str | None = None
    reason: str | None = None
    fingerprint: str | None = None
    before: int | None = None
    limit: int | None = None
    key: str | None = None
    older: datetime | timedelta | None = None
    newer: datetime | timedelta | None = None

    def __str__(self) -> str:
        """Describe the choice in the words of the command line."""
        ids = [f"ids {', '.join(map(str, self.ids))}"] if self.ids else []
        named = {name: getattr(self, name) for name in ("type", "reason", "fingerprint", "key")}
        ages = {"older than": self.older, "newer than": self.newer}
        chosen = [f"{name} {value}" for name, value in (named | ages).items() if value is not None]
        return ", ".join([*ids, *chosen]) or "all"

    def conditions(self, found: Subquery) -> list[ColumnElement[bool]]:
        """Return what the rows of *found* must meet, apart from `before` and `limit`."""
        wanted = {"reason": self.reason, "fingerprint": self.fingerprint}
        equal = [found.c[name] == value for name, value in wanted.items() if value is not None]
        if self.type is not None:
            equal.append(_is(found.c.type, found.c.type == self.type, self.type))
        ids = [any_of(found.c.msg_id, self.ids)] if self.ids else []
        died = [found.c.enqueued_at <= moment(self.older)] if self.older is not None else []
        if self.newer is not None:
            died.append(found.c.enqueued_at > moment(self.newer))
        key = [_is(found.c.key, about(found, self.key), self.key)] if self.key is not None else []
        return [*ids, *equal, *key, *died]


def demand(seen: Seen, expected: Seen | None) -> None:
    """Raise ChangedError where *seen* is not what somebody *expected* to act on."""
    if expected is None or seen == expected:
        return
    if seen.count == expected.count:
        message = f"other dead letters match now: there are still {seen.count:,}; look again"
        raise ChangedError(message)
    message = f"it was {expected.count:,}, now it is {seen.count:,}; look again"
    raise ChangedError(message)


def demand_ids(tx: Connection, found: Subquery, ids: Sequence[int]) -> None:
    """Raise UsageError where one of *ids* is none of *found*."""
    there = tx.execute(select(found.c.msg_id).where(any_of(found.c.msg_id, ids))) if ids else ()
    if unknown := set(ids) - {msg_id for (msg_id,) in there}:
        message = f"there is no dead letter {', '.join(map(str, sorted(unknown)))}"
        raise UsageError(message)


def moment(time: datetime | timedelta) -> ColumnElement[datetime]:
    """Return *time* in SQL; a length is as long ago, by the database's clock."""
    if isinstance(time, timedelta):
        return func.now() - literal(time, Interval)
    return literal(time)


def any_of(column: ColumnElement[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """Return whether *column* has one of *ids*; a number that is none of the server's has none."""
    possible = [one for one in ids if 0 < one <= LARGEST_ID]
    return column == any_(cast(possible, ARRAY(BigInteger)))


def _is(column: ColumnElement[str], equal: ColumnElement[bool], wanted: str) -> ColumnElement[bool]:
    return or_(column.is_(None), equal) if wanted == WITHOUT else equal
