"""Upkeep: what the service does for the ledger, beside the work: prune it, record the history."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from sweeper import events
from sweeper.app import App
from sweeper.errors import LockedError
from sweeper.job import Lane
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.monitoring.status import Status
from sweeper.postgres import clock
from sweeper.service.outage import Outage

RECORDING = timedelta(seconds=30)
"""For how long one call records a past that nobody has recorded yet."""


class Upkeep:
    """What the scheduler calls for the ledger; what a call leaves out, the next one makes up for.

    asked_to_stop -- told the name of the call, says whether the service must stop
    """

    def __init__(self, app: App, outage: Outage, asked_to_stop: Callable[[str], bool]) -> None:
        self._app = app
        self._outage = outage
        self._asked_to_stop = asked_to_stop
        outbound = [job.name for job in app.catalog.jobs.values() if job.lane is Lane.OUTBOUND]
        self._history = HistoryWriter(app.database, outbound, app.settings.history.keep)

    def saw(self, status: Status) -> None:
        """Take a status that was read as a sample of the minute."""
        self._history.saw(status)

    def prune(self) -> None:
        """Prune the ledger; an error is logged."""
        try:
            self._app.pruner.prune(clock.now(), partial(self._asked_to_stop, "history"))
        except Exception as error:  # noqa: BLE001 -- the next call tries again
            self._outage.tell(error, events.HISTORY_FAILED)

    def record(self) -> None:
        """Record the minutes that are over; an error is logged."""
        ends = time.monotonic() + RECORDING.total_seconds()

        def stopping() -> bool:
            return self._asked_to_stop("minutes") or time.monotonic() > ends

        try:
            self._history.record(clock.now(), stopping)
        except LockedError:
            return  # another process is at it
        except Exception as error:  # noqa: BLE001 -- the next call tries again
            self._outage.tell(error, events.HISTORY_UNRECORDED)
