"""The scheduler: calls functions at intervals, the only module that uses APScheduler."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from sweeper import events

_EPOCH = datetime.fromtimestamp(0, UTC)


class Scheduler:
    """Calls each function once at the start, and then at every interval.

    Late calls are made up for by a single one. A function is never called while its previous call
    still runs; that, too, is logged.

    threads -- how many calls may run at the same time
    """

    def __init__(self, threads: int) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(threads)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._scheduler.add_listener(_missed, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)

    def add(self, name: str, every: timedelta, call: Callable[[], None]) -> None:
        """Call *call* at the interval *every*; it must handle its own errors."""
        self._scheduler.add_job(
            call,
            "interval",
            seconds=every.total_seconds(),
            start_date=_EPOCH,  # so that the calls of all hosts coincide
            id=name,
            name=name,
            next_run_time=datetime.now(UTC),
        )

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()

    def soon(self, call: Callable[[], None]) -> None:
        """Call *call* once, as soon as possible; it must handle its own errors."""
        self._scheduler.add_job(call)

    def stop(self) -> None:
        """Make no further calls, and wait for those in progress."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)


def _missed(event: JobExecutionEvent) -> None:
    times = getattr(event, "scheduled_run_times", None) or [event.scheduled_run_time]
    events.SCAN_MISSED.log(rule=event.job_id, due_at=times[0].isoformat())
