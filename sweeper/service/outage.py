"""The database is away: said once when it goes, and once when it is back."""

import time
from threading import Lock

from sweeper import events
from sweeper.postgres.errors import in_one_line


class Outage:
    """Remembers since when the database has been away."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._lock = Lock()

    def begin(self, error: BaseException) -> None:
        """Say, once, that the database cannot be reached."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
                events.DATABASE_LOST.log(error=in_one_line(error))

    def end(self) -> None:
        """Say, once, that the database answers again."""
        with self._lock:
            if self._since is not None:
                seconds = round(time.monotonic() - self._since, 1)
                events.DATABASE_RECOVERED.log(seconds=seconds)
                self._since = None
