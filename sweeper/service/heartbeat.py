"""The heartbeat: logs the status at intervals, so that its absence is an alarm."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from http import HTTPStatus

from sweeper import events
from sweeper.app import App
from sweeper.errors import OutsideError
from sweeper.monitoring import systemd
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Status
from sweeper.outbound import http_client
from sweeper.postgres.errors import is_disconnected
from sweeper.queue.pause import Pause
from sweeper.service.foresight import Foresight
from sweeper.service.outage import Outage

_TIMEOUT = timedelta(seconds=5)  # of a ping to the external monitor
_AWAY, _UNREADABLE = "the database cannot be read", "the status cannot be read"


class Heartbeat:
    """Reads the status and reports it to the log, to systemd and to an external monitor.

    saw -- called with each status that was read, for whoever need not look at the queues then
    """

    def __init__(
        self,
        app: App,
        stats: Stats,
        health: Health,
        outage: Outage,
        saw: Callable[[Status], None] = lambda _status: None,
    ) -> None:
        self._app = app
        self._stats = stats
        self._health = health
        self._outage = outage
        self._saw = saw
        self._pauses: dict[str, Pause] = {}
        self._foresight = Foresight()

    def beat(self) -> None:
        """Report the status to the log and to systemd; ping the monitor if the service is up."""
        (status, unreadable), stats = self._read(), self._stats
        reasons = self._health.ready()
        depths = list(status.queues.values()) if status else []
        queued = sum(depth.ready + depth.delayed for depth in depths)
        up, starting = bool(status) and not reasons, bool(status) and self._health.starting
        state = "UP" if up else "STARTING" if starting else "DOWN"
        events.SERVICE_HEARTBEAT.log(
            status=state,
            uptime_seconds=round(stats.uptime, 1),
            active_jobs=stats.active(),
            processed=stats.processed,
            failed=stats.failed,
            queued=queued if status else None,
            processing=sum(depth.in_flight for depth in depths) if status else None,
            dead=status and status.dead.count,
            hidden=status and status.hidden.count,
            oldest_waiting_seconds=status and status.oldest_waiting_seconds,
            oldest_overdue_seconds=status and status.oldest_overdue_seconds,
            paused=[pause.target for pause in status.pauses] if status else None,
            figures=status and dict(status.figures),
            reasons=reasons + unreadable,
        )
        facts = [f"{stats.processed} processed, {stats.failed} failed"]
        facts += [f"{queued} queued, {status.dead.count} dead"] if status else unreadable
        facts += [f"{pause.target} is paused" for pause in (status.pauses if status else ())]
        systemd.status(f"{state}: {'; '.join(facts + reasons)}")
        if up and (url := self._app.settings.service.heartbeat_url):
            self._ping(url.get_secret_value())

    def _read(self) -> tuple[Status | None, list[str]]:
        """Return the status, or the reason why there is none."""
        try:
            status = self._app.status_reader.read()
        except Exception as error:  # noqa: BLE001 -- the heartbeat reports DOWN instead
            self._outage.tell(error, events.STATUS_FAILED)
            return None, [_AWAY if is_disconnected(error) else _UNREADABLE]
        self._saw(status)
        self._foresight.saw(status)
        self._tell({pause.target: pause for pause in status.pauses})
        return status, []

    def _tell(self, pauses: Mapping[str, Pause]) -> None:
        """Log the pauses that began, changed or ended since the last beat."""
        for target, pause in pauses.items():
            if self._pauses.get(target) != pause:
                shown = pause.as_json()
                del shown["since"]
                events.SERVICE_PAUSED.log(**shown)
        for target in self._pauses.keys() - pauses.keys():
            events.SERVICE_RESUMED.log(target=target)
        self._pauses = dict(pauses)

    def _ping(self, url: str) -> None:
        """Ping the external monitor, which raises an alarm when the pings stop."""
        try:
            status = http_client.post(url, timeout=_TIMEOUT, headers={}).status
            error = None if status < HTTPStatus.BAD_REQUEST else f"answered {status}"
        except Exception as failure:  # noqa: BLE001 -- the work goes on without the monitor
            error = str(failure) if isinstance(failure, OutsideError) else type(failure).__name__
        if error:
            events.HEARTBEAT_FAILED.log(error=error)
