"""The jobs that fail while a command works, heard from its events."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sweeper import events
from sweeper.event import Event

MOST = 1_000
"""The most jobs of either kind that are kept; of more nobody reads."""

_NAMES = ("type", "key", "error")
_SOON = 1.0  # seconds by which a retry may begin before it is heard to be due


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of one job.

    letter -- the number of its dead letter; None for a job that runs again
    reason -- why it is dead: exhausted, invalid, unknown_type, crashed or rejected
    alike  -- how many others died of the same cause in its batch
    """

    type: str | None
    key: str | None
    error: str
    attempt: int
    again_at: float = 0.0
    letter: int | None = None
    reason: str | None = None
    alike: int = 0

    @property
    def again_in(self) -> float:
        """Return how many seconds it is until it runs again."""
        return max(0.0, self.again_at - time.monotonic())


@dataclass(slots=True)
class Failures:
    """The jobs that have failed; one that is done after all is no longer one of them.

    tells -- whether they, and the brake, are told at the end instead of in the log
    """

    tells: bool = False
    _waiting: dict[tuple[str | None, str | None], Failure] = field(default_factory=dict)
    _dead: list[Failure] = field(default_factory=list)

    def hear(self, event: Event, values: Mapping[str, Any]) -> bool:
        """Take an event; return whether the report tells it, so that the log need not."""
        if event is events.JOB_RETRIED:
            self._retried(values)
        elif event is events.JOB_DEAD:
            self._died(values)
        elif event is events.BATCH_DONE:
            for key in (*values["done"], *values["skipped"]) if self._waiting else ():
                self._done(values["type"], key)
        return self.tells and event in (events.JOB_RETRIED, events.JOB_DEAD, events.SCAN_BRAKED)

    @property
    def waiting(self) -> Sequence[Failure]:
        """The jobs that run again, in the order in which they failed."""
        return tuple(self._waiting.values())

    @property
    def dead(self) -> Sequence[Failure]:
        """The jobs that have died, in this order."""
        return tuple(self._dead)

    def _retried(self, values: Mapping[str, Any]) -> None:
        if len(self._waiting) < MOST:
            type_, key, error = (values[name] for name in _NAMES)
            again_at = time.monotonic() + values["delay_seconds"]
            self._waiting[type_, key] = Failure(type_, key, error, values["attempt"], again_at)

    def _done(self, type_: str, key: str) -> None:
        """Forget a failure once its retry was done; what is done earlier is another job's."""
        failure = self._waiting.get((type_, key))
        if failure and failure.again_in < _SOON:
            del self._waiting[type_, key]

    def _died(self, values: Mapping[str, Any]) -> None:
        type_, key, error = (values[name] for name in _NAMES)
        self._waiting.pop((type_, key), None)
        if len(self._dead) < MOST:
            number, reason, alike = (values[name] for name in ("msg_id", "reason", "alike"))
            self._dead.append(
                Failure(type_, key, error, values["attempts"], 0.0, number, reason, alike)
            )
