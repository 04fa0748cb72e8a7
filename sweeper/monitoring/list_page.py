"""One page of a list: filtered, bounded, and gone on with after a place in the order of the list.

It goes on after a place, not after a number of rows, so that rows that come and go between two
pages are neither shown twice nor left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import quote, unquote

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    TypeDecorator,
    func,
    literal,
    select,
    tuple_,
)

from sweeper.codes import Codes
from sweeper.errors import UsageError
from sweeper.exports import ListColumn, Listing
from sweeper.queue.dead_letters.dead_letter_filter import moment
from sweeper.redact import short

PAGE = 50
"""The rows of a page, unless another number is asked for."""

MOST_COUNTED = 10_000
"""The most rows of a list that are counted; so many stands for as many or more."""

MOST_SEARCHED = 100_000
"""The newest rows that are looked through for a filter that no index serves."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows of a list are wanted.

    equal  -- column -> its value
    older  -- only rows that are as old as this, or of this time or before
    newer  -- only rows that are younger than this, or after this time
    before -- the `next` of another page, after which this one goes on
    """

    equal: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    older: datetime | timedelta | None = None
    newer: datetime | timedelta | None = None
    before: str | None = None
    limit: int = PAGE

    @property
    def chooses(self) -> bool:
        """Whether the list has other rows than those that are wanted."""
        choices = (self.equal or None, self.key, self.older, self.newer, self.before)
        return any(one is not None for one in choices)


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, the newest rows first.

    total -- how many rows the whole list has; MOST_COUNTED stands for as many or more
    next  -- the place after which the following page goes on; None at the end
    key   -- the column with the keys of the rows; None where there is none
    codes -- what people call the keys, by key
    left_out -- what was not looked through; empty if nothing
    """

    columns: Sequence[ListColumn]
    rows: Sequence[Mapping[str, Any]]
    total: int
    next: str | None
    key: str | None
    codes: Mapping[str, str]
    left_out: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the JSON document that commands print."""
        codes = self.codes
        rows = [
            dict(row) | ({"code": codes.get(str(row[self.key]))} if self.key else {})
            for row in self.rows
        ]
        rest = {"next": self.next, "left_out": self.left_out or None}
        return {"rows": rows, "total": self.total, "capped": self.total >= MOST_COUNTED} | rest


def cursor(row: Mapping[str, Any], place: Sequence[str]) -> str:
    """Return the place of *row* as a text that `before` takes."""
    values = (row[name] for name in place)
    return ",".join(
        quote(one.isoformat() if isinstance(one, datetime) else str(one), safe=":-")
        for one in values
    )


def split(text: str, parts: int) -> list[str]:
    """Return the values of a cursor; raises UsageError where it has not so many."""
    values = [unquote(one) for one in text.split(",")]
    if len(values) != parts or "\0" in text:
        message = f"{short(text)!r} is no place in this list"
        raise UsageError(message)
    return values


def read_page(tx: Connection, listing: Listing, wanted: Wanted, codes: Codes) -> Page:
    """Return the page of *listing* that is wanted."""
    every = listing.query.subquery("every")
    exact, searched = _conditions(every, listing, wanted)
    before = _before(every, listing, wanted.before)
    query = _newest(every, listing.place, [*exact, *before], searched)
    rows = [dict(row) for row in tx.execute(query.limit(wanted.limit + 1)).mappings()]
    some = _newest(every, listing.place, exact, searched).limit(MOST_COUNTED).subquery("some")
    total = tx.execute(select(func.count()).select_from(some)).scalar_one()
    shown: list[Mapping[str, Any]] = [*rows[: wanted.limit]]
    keys = [str(row[listing.key]) for row in shown] if listing.key else []
    named = codes.of(tx, keys)
    page = partial(Page, listing.columns, shown, total, key=listing.key, codes=named)
    if len(rows) > wanted.limit:
        return page(next=cursor(shown[-1], listing.place))
    if not searched:
        return page(next=None)
    # Nothing more among the rows that were looked through: it goes on with those behind them.
    places = [every.c[name] for name in listing.place]
    last = select(*places).where(*exact, *before).order_by(*(one.desc() for one in places))
    behind = tx.execute(last.offset(MOST_SEARCHED - 1).limit(1)).mappings().one_or_none()
    if behind is None:
        return page(next=None)
    left_out = f"rows behind the newest {MOST_SEARCHED:,}"
    return page(next=cursor(dict(behind), listing.place), left_out=left_out)


def _newest(
    every: Subquery,
    place: Sequence[str],
    exact: Sequence[ColumnElement[bool]],
    searched: Mapping[str, str],
) -> Select[Any]:
    """Select the rows that meet the conditions, the newest first."""
    query = select(every).where(*exact).order_by(*(every.c[name].desc() for name in place))
    if not searched:
        return query
    some = query.limit(MOST_SEARCHED).subquery("searched")
    found = select(some).where(*(some.c[name] == value for name, value in searched.items()))
    return found.order_by(*(some.c[name].desc() for name in place))


def _conditions(
    every: Subquery, listing: Listing, wanted: Wanted
) -> tuple[list[ColumnElement[bool]], dict[str, str]]:
    """Return the conditions that an index serves, and the other columns with their values."""
    exact, searched = list[ColumnElement[bool]](), dict[str, str]()
    equal = {name: value for name, value in wanted.equal.items() if name in listing.choices}
    if wanted.key is not None and listing.key:
        equal[listing.key] = wanted.key
    for name, value in equal.items():
        if name in listing.exact:
            exact.append(every.c[name] == value)
        else:
            searched[name] = value
    if listing.at:
        time = every.c[listing.at]
        exact += [time <= moment(wanted.older)] if wanted.older is not None else []
        exact += [time > moment(wanted.newer)] if wanted.newer is not None else []
    return exact, searched


def _before(every: Subquery, listing: Listing, before: str | None) -> list[ColumnElement[bool]]:
    if before is None:
        return []
    columns = [every.c[name] for name in listing.place]
    values = split(before, len(columns))
    return [tuple_(*columns) < tuple_(*map(_literal, values, columns))]


def _literal(text: str, column: ColumnElement[Any]) -> ColumnElement[Any]:
    plain = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
    kind = plain.python_type
    try:
        value = kind.fromisoformat(text) if kind is datetime else kind(text)
    except ValueError as error:
        message = f"{short(text)!r} is no place in this list"
        raise UsageError(message) from error
    return literal(value, column.type)
