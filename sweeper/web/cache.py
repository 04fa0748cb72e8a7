"""What every face reads: each reading is taken once for all who ask, and never waited for long."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Generic, TypeVar

from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats

T = TypeVar("T")

MOMENT = 2.0
"""Seconds for which a reading, or the error that came instead, is good for everybody."""

REST = 10
"""What took long is good for so many times as long: no crowd of readers keeps a server busy."""

PATIENCE = 3.0
"""Seconds that anybody waits for a reading; it goes on alone."""


class SingleFlight(Generic[T]):
    """The latest reading; there is never more than one under way."""

    def __init__(self, read: Callable[[], T]) -> None:
        self._read = read
        self._latest: Future[T] | None = None
        self._stale_at = 0.0
        self._lock = Lock()

    def get(self) -> T:
        """Return the reading; raises what it raised, or TimeoutError."""
        with self._lock:
            latest = self._latest
            if latest is None or (latest.done() and time.monotonic() >= self._stale_at):
                latest = self._latest = Future()
                Thread(target=self._take, args=(latest,), name="reading", daemon=True).start()
        return latest.result(PATIENCE)

    def forget(self) -> None:
        """Have the next one who asks read anew: something was changed."""
        self._stale_at = 0.0

    def _take(self, future: Future[T]) -> None:
        began = time.monotonic()
        try:
            value = self._read()
        except Exception as error:  # noqa: BLE001 -- it is raised where somebody waits for it
            self._stale_at = time.monotonic() + MOMENT
            future.set_exception(error)
        else:
            took = time.monotonic() - began
            self._stale_at = time.monotonic() + max(MOMENT, REST * took)
            future.set_result(value)


class Cache:
    """The read model, what stands behind it, and what the process says of itself."""

    def __init__(self, app: App, stats: Stats, health: Health) -> None:
        self.app = app
        self.stats = stats
        self.health = health
        self.status = SingleFlight(app.status_reader.read)
        self.backlog = SingleFlight(app.backlog_reader.read)
        self.completed = SingleFlight(app.status_reader.completed)

    def forget(self) -> None:
        """Have everything read anew."""
        for reading in (self.status, self.backlog, self.completed):
            reading.forget()
