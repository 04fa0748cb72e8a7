"""A log event: declared once with its level and fields, and logged with exactly these."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import structlog

Level = Literal["debug", "info", "warning", "error"]

INSTANCE = f"{socket.gethostname()}:{os.getpid()}"
"""Which process logs: host:process, in every line and in the ledger."""

_logger = structlog.get_logger("sweeper")
_muted: ContextVar[bool] = ContextVar("muted", default=False)


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of log line.

    name   -- `noun.verb_past`
    fields -- what each field holds, as `KIND: meaning` or `KIND or null: meaning`, where the kinds
              are those of `cli.event_reference.KINDS`; a meaning alone stands for text
    action -- what an operator does when it appears
    """

    name: str
    level: Level
    fields: Mapping[str, str]
    action: str = "Nothing."

    def log(self, **values: Any) -> None:
        """Log the event; raises TypeError where *values* are not exactly its fields."""
        if values.keys() != self.fields.keys():
            different = ", ".join(sorted(values.keys() ^ self.fields.keys()))
            message = f"{self.name} and its declaration differ in {different}"
            raise TypeError(message)
        if not _muted.get():
            getattr(_logger, self.level)(self.name, **values)


@contextmanager
def muted() -> Iterator[None]:
    """Log no event of this thread: what a dry run does is rolled back, so it never happened."""
    token = _muted.set(True)
    try:
        yield
    finally:
        _muted.reset(token)
