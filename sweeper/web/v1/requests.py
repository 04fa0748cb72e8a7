"""What requests to the API may say: behind the question mark, and in their bodies."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from sweeper.durations import Duration
from sweeper.monitoring.about.search import LONGEST
from sweeper.monitoring.acts import ActFilter
from sweeper.monitoring.history import Period
from sweeper.monitoring.list_page import Wanted
from sweeper.queue.acts import Action
from sweeper.queue.dead_letters.dead_letter_filter import LARGEST_ID, DeadLetterFilter, Seen
from sweeper.settings import Length

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_NUL = "\0"
_SAYS_SOMETHING = r"^[^\x00]*[^\s\x00][^\x00]*$"


def _time(text: object) -> object:
    """Parse a time that says its zone; raises ValueError for anything else, as for a number."""
    try:
        if isinstance(text, str) and _TIME.fullmatch(text):
            return datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError:
        pass
    message = "must be a time as 2026-01-31T12:00:00.000Z"
    raise ValueError(message)


def _text(text: object) -> object:
    if isinstance(text, str) and _NUL in text:
        message = "no text in Postgres holds a NUL"
        raise ValueError(message)
    return text


Text = Annotated[str, BeforeValidator(_text), Field(max_length=500)]
Time = Annotated[
    datetime, BeforeValidator(_time), WithJsonSchema({"type": "string", "format": "date-time"})
]
Age = Duration | Time
"""How long ago, or when."""

Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
Limit = Annotated[int, Field(ge=1, le=200)]
Place = Annotated[str, BeforeValidator(_text), Field(max_length=4_000)]
Reason = Literal["exhausted", "invalid", "unknown_type", "crashed", "rejected"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SweepsQuery(_Request):
    """Which scans are listed, the latest first: before a time, of one rule."""

    rule: Text | None = None
    before: Time | None = None
    limit: Limit = 50


class DeadLettersQuery(_Request):
    """Which dead letters are listed, the newest first: those with smaller ids than `before`."""

    type: Text | None = None
    reason: Reason | None = None
    fingerprint: Text | None = None
    key: Text | None = None
    older_than: Age | None = None
    newer_than: Age | None = None
    before: Id | None = None
    limit: Limit = 50

    @property
    def filter(self) -> DeadLetterFilter:
        """The same for the dead-letter queue."""
        rest = self.model_dump(exclude={"older_than", "newer_than"})
        return DeadLetterFilter(**rest, older=self.older_than, newer=self.newer_than)


class Expected(_Request):
    """What was seen of the dead letters that are chosen: how many, and the largest of their ids."""

    count: Annotated[int, Field(ge=0, le=LARGEST_ID)]
    newest: Annotated[int, Field(ge=0, le=LARGEST_ID)]

    @property
    def seen(self) -> Seen:
        """The same for the dead-letter queue."""
        return Seen(self.count, self.newest)


class DeadLetterChoice(_Request):
    """What to do with which dead letters: all that meet every criterion, of which one is needed.

    why      -- what the ledger of acts keeps as the reason
    expected -- refused with 409 where other letters are chosen by now
    """

    do: Literal["retry", "drop"]
    why: Annotated[Text, Field(max_length=200)] | None = None
    expected: Expected | None = None
    ids: Annotated[list[Id], Field(max_length=1_000)] = []
    type: Text | None = None
    reason: Reason | None = None
    fingerprint: Text | None = None
    key: Text | None = None
    older_than: Age | None = None
    newer_than: Age | None = None

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if not any(self._criteria().values()):
            message = "name ids, or a type, a reason, a fingerprint, a key or an age"
            raise ValueError(message)
        return self

    @property
    def filter(self) -> DeadLetterFilter:
        """The same for the dead-letter queue."""
        return DeadLetterFilter(**self._criteria())

    def _criteria(self) -> dict[str, Any]:
        named = self.model_dump(include={"ids", "type", "reason", "fingerprint", "key"})
        return {**named, "older": self.older_than, "newer": self.newer_than}


class EnqueueRequest(_Request):
    """One job: its type, its payload, and if need be its priority and a delay."""

    type: str
    payload: dict[str, Any]
    priority: Literal["high", "normal", "low"] | None = None
    delay: Annotated[Duration, Field(le=timedelta(days=365))] = timedelta()


class ActsQuery(_Request):
    """Which acts are listed, the latest first; see ActFilter."""

    action: Action | None = None
    actor: Text | None = None
    since: Length | None = None
    before: Id | None = None
    limit: Limit = 50

    @property
    def filter(self) -> ActFilter:
        """The same for the reader of acts."""
        return ActFilter(**dict(self))


class HistoryQuery(_Request):
    """How far back one looks."""

    period: Period = Period.HOUR


class FindQuery(_Request):
    """What to look for: an id or code, a message's number, a sweep's id, and what job files add."""

    q: Annotated[
        Text, WithJsonSchema({"type": "string", "maxLength": LONGEST, "pattern": _SAYS_SOMETHING})
    ]


class AnomaliesQuery(_Request):
    """Which rows of a list are wanted: of a key or code; `before` is the `next` of another part."""

    key: Text | None = None
    before: Place | None = None
    limit: Limit = 50

    def wanted(self, key: str | None) -> Wanted:
        """Return the same for a list; *key* is the one that `key` means."""
        return Wanted(key=key, before=self.before, limit=self.limit)


class OverdueQuery(AnomaliesQuery):
    """The same, and by age."""

    older_than: Age | None = None
    newer_than: Age | None = None

    def wanted(self, key: str | None) -> Wanted:
        """Return the same for a list."""
        return replace(super().wanted(key), older=self.older_than, newer=self.newer_than)


class WaitingQuery(OverdueQuery):
    """The same for messages, also by queue and type; `-` as the type for those without one."""

    queue: Text | None = None
    type: Text | None = None

    def wanted(self, key: str | None) -> Wanted:
        """Return the same for a list."""
        given = self.model_dump(include={"queue", "type"}, exclude_none=True)
        return replace(super().wanted(key), equal=given)


class RowsQuery(OverdueQuery):
    """The same for a list of a job file, also by state where its rows have one."""

    state: Text | None = None

    def wanted(self, key: str | None) -> Wanted:
        """Return the same for a list."""
        return replace(super().wanted(key), equal={"state": self.state} if self.state else {})
