"""An outage of the database: logged once when it begins, and once when it ends."""

import time
from threading import Lock
from typing import Any

from sweeper import events
from sweeper.event import Event
from sweeper.postgres.errors import in_one_line, is_disconnected


class Outage:
    """Remembers since when the database has been unavailable; all threads share it."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._lock = Lock()

    def tell(self, error: BaseException, event: Event, **fields: Any) -> None:
        """Log *error* as what it was: the loss of the database, or else *event* with *fields*."""
        if is_disconnected(error):
            self.begin(error)
        else:
            event.log(**fields, error=in_one_line(error))

    def begin(self, error: BaseException) -> None:
        """Log that the database is lost, unless an outage has already begun."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                events.DATABASE_LOST.log(error=in_one_line(error))

    def end(self) -> None:
        """Log that the database has recovered, if there was an outage."""
        with self._lock:
            if self._since is not None:
                seconds = round(time.monotonic() - self._since, 1)
                events.DATABASE_RECOVERED.log(seconds=seconds)
                self._since = None
