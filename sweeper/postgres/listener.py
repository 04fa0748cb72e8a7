"""A listener: a session of its own, past any pooler, that hears notifications."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair

import psycopg
from psycopg.sql import SQL, Identifier

from sweeper.postgres.errors import in_one_line
from sweeper.postgres.url import parse_url


class Listener:
    """Hears the notifications of the channels that it listens to; one thread waits for them."""

    def __init__(self, connection: psycopg.Connection, channels: Iterable[str]) -> None:
        self._connection = connection
        self._heard: set[str] = set()
        self._woken, self._waker = socketpair()
        connection.execute("set idle_session_timeout = 0")
        for channel in channels:
            connection.execute(SQL("listen {}").format(Identifier(channel)))

    def wait(self, timeout: timedelta | None = None) -> set[str]:
        """Wait for notifications; return their channels, none after *timeout* or `interrupt`.

        Raises psycopg.Error if the session has ended.
        """
        with DefaultSelector() as selector:
            selector.register(self._connection.fileno(), EVENT_READ)
            selector.register(self._woken, EVENT_READ)
            selector.select(None if timeout is None else timeout.total_seconds())
        return {heard.channel for heard in self._connection.notifies(timeout=0)}

    def hears(self, channel: str, within: timedelta) -> bool:
        """Wait for a notification on *channel* for at most *within*; others are left out."""
        end = time.monotonic() + within.total_seconds()
        while (left := end - time.monotonic()) > 0:
            if channel in self.wait(timedelta(seconds=left)):
                return True
        return False

    def interrupt(self) -> None:
        """Let every `wait`, this one and later ones, return at once."""
        with suppress(OSError):  # it has been closed
            self._waker.send(b".")

    def close(self) -> None:
        """End the session."""
        self._connection.close()
        self._woken.close()
        self._waker.close()


@contextmanager
def listener(
    url: str, channels: Iterable[str], *, connect_timeout: timedelta
) -> Iterator[Listener]:
    """Open a session at *url*, which no transaction pooler may stand before, and listen.

    A peer that is gone in silence is found by keepalives, within a minute.
    Raises ConnectionError where it cannot be opened.
    """
    parsed, _, _ = parse_url(url)
    _, parameters = parsed.get_dialect()().create_connect_args(parsed)
    parameters = {
        **parameters,
        "connect_timeout": max(2, round(connect_timeout.total_seconds())),
        "tcp_user_timeout": round(connect_timeout / timedelta(milliseconds=1)),
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "application_name": "sweeper",
    }
    try:
        opened = Listener(psycopg.connect(**parameters, autocommit=True), channels)
    except psycopg.Error as error:
        raise ConnectionError(in_one_line(error)) from error
    try:
        yield opened
    finally:
        opened.close()
