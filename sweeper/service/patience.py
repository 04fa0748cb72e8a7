"""Waits at the start until the database can be reached; meanwhile page, metrics and log say so."""

import time
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper.app import App
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.postgres.errors import is_away
from sweeper.service import signals
from sweeper.service.outage import Outage

AWAY = "the service waits for the database since its start"

_RETRY = 2.0  # seconds between two attempts
_ALLOWED = timedelta(minutes=5)  # for one attempt with all its timeouts, asked of systemd


class Patience:
    """Checks the database until it can be used; only what time may mend is waited for.

    beat        -- logs and reports the state; called at once, and at its interval
    next_signal -- waits so many seconds for a signal, and returns its name or ""
    """

    def __init__(
        self,
        app: App,
        health: Health,
        outage: Outage,
        beat: Callable[[], None],
        next_signal: Callable[[float], str],
    ) -> None:
        self._app = app
        self._health = health
        self._outage = outage
        self._beat = beat
        self._next_signal = next_signal

    def is_usable(self) -> bool:
        """Return whether the database can be used; False if it is away.

        Raises what only a person can mend: a login that is refused, a database that does not
        exist, and all that `App.check` demands.
        """
        systemd.starting(_ALLOWED)
        try:
            self._app.check()
        except (DBAPIError, PoolTimeoutError) as error:
            if not is_away(error):
                raise
            self._outage.begin(error)
            self._health.wait(AWAY)
            return False
        self._outage.end()
        self._health.begin()
        return True

    def wait(self) -> str:
        """Return "" once the database can be used, or the name of the signal to stop.

        Raises as `is_usable` does.
        """
        every, next_beat = self._app.settings.service.heartbeat_every.total_seconds(), 0.0
        while True:
            if time.monotonic() >= next_beat:
                next_beat = time.monotonic() + every
                self._beat()
            if (received := self._next_signal(_RETRY)) in signals.STOP:
                return received
            if self.is_usable():
                return ""
