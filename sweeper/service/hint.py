"""The hint: notifications that wake the watch, where there are any; the polls need none."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread

from sqlalchemy import func, select

from sweeper import event, events
from sweeper.app import App
from sweeper.postgres.errors import in_one_line
from sweeper.postgres.listener import Listener, listener
from sweeper.postgres.url import parse_url
from sweeper.queue import notify

RETRIES = timedelta(seconds=1), timedelta(minutes=5)
"""The pause before a lost hint is tried again: the first, and the longest."""

_TEST = timedelta(seconds=1)
_STOP = 1.0  # seconds that closing the session may take


class NoHintError(Exception):
    """There is no hint, for a reason that lies in the settings or the database."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


class Hint:
    """Listens for new messages in a thread of its own, and wakes the watch.

    heard -- called for every notification, and when the hint is lost
    """

    def __init__(self, app: App, heard: Callable[[], None]) -> None:
        self.is_alive = False
        self._app = app
        self._heard = heard
        self._heard_at = 0.0
        self._quiet = timedelta()
        self._told: str | None = None
        self._listener: Listener | None = None
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="listen", daemon=True)

    def start(self) -> None:
        """Start to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; a connection that is only being opened ends with the process."""
        self._stopping.set()
        if self._listener:
            self._listener.interrupt()
        if self._thread.is_alive():
            self._thread.join(_STOP)

    @property
    def shadow(self) -> timedelta | None:
        """How soon to look again, because pgmq keeps quiet for a while after a notification.

        None once that time is over.
        """
        if not self.is_alive or time.monotonic() - self._heard_at > self._quiet.total_seconds():
            return None
        return max(self._quiet / 8, timedelta(milliseconds=10))

    def _run(self) -> None:
        first, longest = RETRIES
        rest = first
        while not self._stopping.is_set():
            try:
                with listening(self._app) as (self._listener, self._quiet):
                    rest = first
                    self._listen(self._listener)
            except NoHintError as error:
                rest = longest
                self._tell(str(error), events.HINT_LACKED)
            except Exception as error:  # noqa: BLE001 -- the polls go on without it
                self._tell(in_one_line(error), events.HINT_LOST)
            finally:
                self._listener = None
            self._stopping.wait(rest.total_seconds())
            rest = min(rest * 2, longest)

    def _listen(self, heard: Listener) -> None:
        poll = self._app.settings.queue.poll_hint
        events.HINT_GAINED.log(poll_seconds=poll.total_seconds())
        self._told = None
        # As if one had just come: it may have, before there was somebody to hear it.
        self._heard_at, self.is_alive = time.monotonic(), True
        self._heard()
        try:
            while not self._stopping.is_set():
                if heard.wait():
                    self._heard_at = time.monotonic()
                    self._heard()
        finally:
            self.is_alive = False
            self._heard()

    def _tell(self, why: str, told: event.Event) -> None:
        """Log why there is no hint; the same kind of reason only once, until there is one."""
        if self._told != told.name:
            self._told = told.name
            told.log(reason=why)


@contextmanager
def listening(app: App) -> Iterator[tuple[Listener, timedelta]]:
    """Open a listener to which new messages are notified, as a test has shown.

    Yields it, and for how long a queue keeps quiet after a notification.
    Raises NoHintError where there can be none.
    """
    url, queue, database = app.settings.direct_url, app.settings.queue, app.settings.database
    if queue.poll_hint <= queue.poll_max:
        message = "queue.poll_hint is no longer than queue.poll_max"
        raise NoHintError(message, "set it to 1m, if you want fewer polls")
    if parse_url(url)[2]:
        message = "the database is behind a pooler, and there is no direct URL"
        raise NoHintError(message, "set DIRECT_URL, if you want fewer polls")
    quiet = _quiet(app)
    test = f"sweeper.test.{secrets.token_hex(8)}"
    channels = [test, *map(notify.channel, app.queues.live)]
    with listener(url, channels, connect_timeout=database.connect_timeout) as opened:
        with app.database.glance() as connection:
            connection.execute(select(func.pg_notify(test, "")))
        if not opened.hears(test, _TEST):
            message = "a notification did not arrive within a second"
            raise NoHintError(message, "does DIRECT_URL lead to this database, past any pooler?")
        yield opened, quiet


def _quiet(app: App) -> timedelta:
    """Return for how long a queue keeps quiet; raises NoHintError where one does not notify."""
    enable = f"run: {notify.ENABLE_COMMAND}, if you want fewer polls; see docs/decisions.md"
    with app.database.transaction() as tx:
        if not notify.can_notify(tx):
            message = "this pgmq has no notifications"
            raise NoHintError(message, "pgmq 1.7 and later have them")
        if silent := notify.silent(tx, app.queues):
            message = f"pgmq does not notify of new messages in {', '.join(silent)}"
            raise NoHintError(message, enable)
        return notify.throttle(tx, app.queues)
