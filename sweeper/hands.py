"""What may be done over HTTP: one thing at a time, each written to the log with its peer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sweeper import events
from sweeper.app import App
from sweeper.dead import Choice
from sweeper.errors import BusyError
from sweeper.sweep import Report


class Wish(BaseModel):
    """The sweep that somebody asks for; without rules, every rule that is on.

    max -- answers the brake: up to so many rows a rule
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: list[str] = []
    dry_run: bool = False
    max: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    reason: Annotated[str, Field(max_length=200)] | None = None


class Hands:
    """Does what was asked; *wake* has the service's workers look at the queues at once."""

    def __init__(self, app: App, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake
        self._busy = Lock()

    def sweep(self, wish: Wish, peer: str) -> Report:
        """Scan as wished; the service's own workers do what is found.

        Raises UsageError for an unknown rule.
        """
        app = self._app
        rules = [app.catalog.rule(name) for name in wish.rules or app.rules]
        with self._one_at_a_time():
            report = app.sweep().run(
                rules,
                limit=wish.max or app.settings.safety.max_per_sweep,
                actor=f"web {peer}",
                reason=wish.reason,
                dry_run=wish.dry_run,
                scan_only=True,
            )
        self._tell(
            peer,
            "preview" if wish.dry_run else "sweep",
            ", ".join(f"{name} {found.enqueued}" for name, found in report.rules.items()),
        )
        return report

    def enqueue(self, kind: str, payload: Any, peer: str) -> tuple[int, str]:
        """Send one job; see `App.enqueue`."""
        with self._one_at_a_time():
            msg_id, queue = self._app.enqueue(kind, payload)
        self._tell(peer, "enqueue", f"{kind} as {msg_id} in {queue}")
        return msg_id, queue

    def retry(self, fingerprint: str, peer: str) -> int:
        """Send the dead letters of one cause again, and return how many there were."""
        with self._one_at_a_time():
            taken = self._app.graveyard.retry(Choice(fingerprint=fingerprint))
        self._tell(peer, "retry", _named([letter.msg_id for letter in taken]))
        return len(taken)

    def drop(self, fingerprint: str, peer: str) -> int:
        """Delete the dead letters of one cause, and return how many there were."""
        with self._one_at_a_time():
            taken = self._app.graveyard.drop(Choice(fingerprint=fingerprint))
        self._tell(peer, "drop", _named([letter.msg_id for letter in taken]))
        return len(taken)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._busy.release()

    def _tell(self, peer: str, action: str, what: str) -> None:
        events.WEB_ACTED.tell(peer=peer, action=action, what=what)
        self._wake()


def _named(ids: list[int]) -> str:
    return f"dead letters {', '.join(map(str, ids[:100]))}" if ids else "nothing"
