"""The cache of status and backlog: concurrent requests share one read, and wait briefly for it."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread
from typing import Generic, TypeVar

from sweeper.app import App
from sweeper.monitoring.acts import ActFilter
from sweeper.monitoring.health import Health
from sweeper.monitoring.history import History, Period
from sweeper.monitoring.stats import Stats
from sweeper.postgres import clock

T = TypeVar("T")

_ACTS = 3  # the last ones

FRESH_FOR = 2.0
"""Seconds for which a result, or an error, is reused at least."""

FRESH_FACTOR = 10
"""A result is reused for this many times as long as its read took: slow reads stay rare."""

TIMEOUT = 3.0
"""Seconds that a request waits for a read; the read itself goes on."""


class SingleFlight(Generic[T]):
    """Caches the result of *read*, which never runs more than once at a time."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._latest: Future[T] | None = None
        self._stale_at = 0.0
        self._lock = Lock()

    def get(self) -> T:
        """Return the latest result, read anew if it is stale; raises its error, or TimeoutError."""
        with self._lock:
            latest = self._latest
            if latest is None or (latest.done() and time.monotonic() >= self._stale_at):
                latest = self._latest = Future()
                Thread(target=self._run, args=(latest,), name="reading", daemon=True).start()
        return latest.result(TIMEOUT)

    def forget(self) -> None:
        """Mark the result as stale, so that the next call of `get` reads again."""
        self._stale_at = 0.0

    def _run(self, future: Future[T]) -> None:
        started = time.monotonic()
        try:
            value = self._read()
        except Exception as error:  # noqa: BLE001 -- `get` raises it
            self._stale_at = time.monotonic() + FRESH_FOR
            future.set_exception(error)
        else:
            took = time.monotonic() - started
            self._stale_at = time.monotonic() + max(FRESH_FOR, FRESH_FACTOR * took)
            future.set_result(value)


class Cache:
    """What pages show from the database, with the statistics of this process."""

    def __init__(self, app: App, stats: Stats, health: Health) -> None:
        self.app = app
        self.stats = stats
        self.health = health
        self.status = SingleFlight(app.status_reader.read)
        self.backlog = SingleFlight(app.backlog_reader.read)
        self.completed = SingleFlight(app.status_reader.completed)
        self.acts = SingleFlight(lambda: app.act_reader.read(ActFilter(limit=_ACTS)))
        self.history = {period: SingleFlight(partial(_history, app, period)) for period in Period}

    def forget(self) -> None:
        """Mark everything as stale, because an action has changed the data."""
        for cached in (self.status, self.backlog, self.completed, self.acts):
            cached.forget()


def _history(app: App, period: Period) -> History:
    return app.history.read(period, clock.now())
