"""The scheduler: calls functions at intervals, the only module that uses APScheduler."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobExecutionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from sweeper import events

_CLOCK_CHECK = timedelta(seconds=1)
_EPOCH = datetime.fromtimestamp(0, UTC)


class Scheduler:
    """Calls each function once at the start, and then at every interval.

    Late calls are made up for by a single one. A function is never called while its previous call
    still runs; that, too, is logged. Calls are due by this host's clock, which may be set back:
    none is then left to wait for longer than its interval.

    threads -- how many calls may run at the same time
    """

    def __init__(self, threads: int) -> None:
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(threads)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._over = Event()
        self._clock = Thread(target=self._follow_clock, name="clock", daemon=True)
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
        self._clock.start()

    def soon(self, call: Callable[[], None]) -> None:
        """Call *call* once, as soon as possible; it must handle its own errors."""
        self._scheduler.add_job(call)

    def stop(self) -> None:
        """Make no further calls, and wait for those in progress."""
        if self._scheduler.running:
            self._over.set()
            self._clock.join()
            self._scheduler.shutdown(wait=True)

    def _follow_clock(self) -> None:
        """Call at once, every second, what is due later than one interval from now."""
        while not self._over.wait(_CLOCK_CHECK.total_seconds()):
            now = datetime.now(UTC)
            for job in self._scheduler.get_jobs():
                interval = getattr(job.trigger, "interval", None)
                if interval and job.next_run_time - now > interval + _CLOCK_CHECK:
                    self._scheduler.modify_job(job.id, next_run_time=now)


def _missed(event: JobExecutionEvent) -> None:
    times = getattr(event, "scheduled_run_times", None) or [event.scheduled_run_time]
    events.SCAN_MISSED.log(rule=event.job_id, due_at=times[0].isoformat())
