"""A log event: declared once with its level and fields, and logged with exactly those fields."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from sweeper.remedies import Remedy

Level = Literal["debug", "info", "warning", "error"]

INSTANCE = f"{socket.gethostname()}:{os.getpid()}"
"""This process as host:pid, which stands in every log line and in the ledger."""

_logger = structlog.get_logger("sweeper")
_muted: ContextVar[bool] = ContextVar("muted", default=False)


@dataclass(frozen=True, slots=True)
class Event:
    """The declaration of one kind of log line.

    name   -- `noun.verb_past`
    fields -- what each field holds, as `KIND: meaning` or `KIND or null: meaning`, where the kinds
              are those of `cli.event_reference.KINDS`; a meaning alone stands for text
    action -- what an operator should do when it appears
    remedy -- the command to type next, where it asks for a person; its line ends with it
    """

    name: str
    level: Level
    fields: Mapping[str, str]
    action: str = "Nothing."
    remedy: Remedy | None = None

    @property
    def advice(self) -> Mapping[str, str]:
        """The last field of its line where it asks for a person, else nothing."""
        return {"remedy": str(self.remedy)} if self.remedy else {}

    def log(self, **values: Any) -> None:
        """Log the event; raises TypeError where *values* are not exactly its fields."""
        if values.keys() != self.fields.keys():
            different = ", ".join(sorted(values.keys() ^ self.fields.keys()))
            message = f"{self.name} and its declaration differ in {different}"
            raise TypeError(message)
        listener = _listener.get()
        if not _muted.get() and not (listener and listener(self, values)):
            getattr(_logger, self.level)(self.name, **values, **self.advice)


Listener = Callable[[Event, Mapping[str, Any]], bool]
"""Gets an event and its values, and returns whether it tells them itself."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def overheard(listener: Listener) -> Iterator[None]:
    """Give *listener* every event of this thread; what it tells itself is not logged."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def muted() -> Iterator[None]:
    """Log no events of this thread: a dry run is rolled back, so its events never happened."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)
