"""The connections in use, whose running statements can be cancelled near a deadline."""

import time
from contextlib import suppress
from threading import Lock

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

_TIMEOUT = 1.0  # seconds that one request to cancel may take


class ConnectionsInUse:
    """The connections that are out of the pool of *engine*, and since when."""

    def __init__(self, engine: Engine) -> None:
        self._in_use = dict[ConnectionPoolEntry, tuple[psycopg.Connection, float]]()
        # It is held during a cancellation: no other transaction may get the connection meanwhile.
        self._lock = Lock()
        event.listen(engine, "checkout", self._checkout)
        event.listen(engine, "checkin", self._checkin)

    def cancel(self, before: float) -> None:
        """Cancel what runs on the connections that are in use since *before*, monotonic seconds."""
        with self._lock:
            for connection, since in self._in_use.values():
                if since <= before:
                    with suppress(psycopg.Error):  # a lost connection runs nothing
                        connection.cancel_safe(timeout=_TIMEOUT)

    def _checkout(
        self, connection: psycopg.Connection, entry: ConnectionPoolEntry, _: PoolProxiedConnection
    ) -> None:
        with self._lock:
            self._in_use[entry] = connection, time.monotonic()

    def _checkin(self, _: psycopg.Connection | None, entry: ConnectionPoolEntry) -> None:
        with self._lock:
            self._in_use.pop(entry, None)
