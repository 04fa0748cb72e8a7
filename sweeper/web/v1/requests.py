"""What requests to the API may say: behind the question mark, and in their bodies."""

import re
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
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_NUL = "\0"


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
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
Reason = Literal["exhausted", "invalid", "unknown_type", "crashed", "rejected"]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SweepsQuery(_Request):
    """Which scans are listed, the latest first: before a time, of one rule."""

    rule: Text | None = None
    before: Time | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class DeadLettersQuery(_Request):
    """Which dead letters are listed, the newest first: those with smaller ids than `before`."""

    type: Text | None = None
    reason: Reason | None = None
    fingerprint: Text | None = None
    key: Text | None = None
    before: Id | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50

    @property
    def filter(self) -> DeadLetterFilter:
        """The same for the dead-letter queue."""
        return DeadLetterFilter(**self.model_dump())


class DeadLetterChoice(_Request):
    """What to do with which dead letters: all that meet every criterion, of which one is needed.

    why -- what the ledger of acts keeps as the reason
    """

    do: Literal["retry", "drop"]
    why: Annotated[Text, Field(max_length=200)] | None = None
    ids: Annotated[list[Id], Field(max_length=1_000)] = []
    type: Text | None = None
    reason: Reason | None = None
    fingerprint: Text | None = None
    key: Text | None = None

    @model_validator(mode="after")
    def _chooses(self) -> Self:
        if not any(self._criteria().values()):
            message = "name ids, or a type, a reason, a fingerprint or a key"
            raise ValueError(message)
        return self

    @property
    def filter(self) -> DeadLetterFilter:
        """The same for the dead-letter queue."""
        return DeadLetterFilter(**self._criteria())

    def _criteria(self) -> dict[str, Any]:
        return self.model_dump(exclude={"do", "why"})


class EnqueueRequest(_Request):
    """One job: its type, its payload, and if need be its priority and a delay."""

    type: str
    payload: dict[str, Any]
    priority: Literal["high", "normal", "low"] | None = None
    delay: Annotated[Duration, Field(le=timedelta(days=365))] = timedelta()
