"""The only file that knows APScheduler: it knows names and intervals, never rows."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from sweeper import events

_EPOCH = datetime.fromtimestamp(0, UTC)


class Scheduler:
    """Calls things by the clock: each at once at the start, then once every interval.

    A tick that comes too late is made up for once, never skipped in silence, and never while the
    one before it still runs.
    """

    def __init__(self, threads: int) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(threads)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(_missed, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)

    def add(self, name: str, every: timedelta, call: Callable[[], None]) -> None:
        """Have *call* made every so often; it handles its own errors."""
        self._scheduler.add_job(
            call,
            "interval",
            seconds=every.total_seconds(),
            start_date=_EPOCH,  # so that every machine's ticks fall together
            id=name,
            name=name,
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def soon(self, call: Callable[[], None]) -> None:
        """Have *call* made once, as soon as possible; it handles its own errors."""
        self._scheduler.add_job(call)

    def stop(self) -> None:
        """Make no further calls, and wait for those that are under way."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _missed(event: JobExecutionEvent) -> None:
    times = getattr(event, "scheduled_run_times", None) or [event.scheduled_run_time]
    events.SCAN_MISSED.log(rule=event.job_id, due_at=times[0].isoformat())
