"""The scheduler: it calls each job at once and then every interval, one call at a time."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from queue import Empty, SimpleQueue
from threading import Event

import pytest
from structlog.testing import capture_logs

from sweeper.service.scheduler import Scheduler

TICK = timedelta(milliseconds=50)
NEVER = timedelta(hours=1)


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    created = Scheduler(threads=2)
    yield created
    created.stop()


class Ticks:
    """Records calls, and lets a test wait for the next one."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[float] = SimpleQueue()

    def __call__(self) -> None:
        """Record a call by the scheduler."""
        self._calls.put(time.monotonic())

    def next(self) -> float:
        """Wait for a call, and return its time on the monotonic clock."""
        return self._calls.get(timeout=5)

    def silent_for(self, seconds: float) -> bool:
        """Return whether no call comes for so many seconds."""
        try:
            self._calls.get(timeout=seconds)
        except Empty:
            return True
        return False

    def forget(self) -> None:
        """Forget the calls recorded so far."""
        while not self._calls.empty():
            self._calls.get()


def held_by(event: Event) -> Callable[[], None]:
    """Return a function that waits until *event* is set."""

    def wait() -> None:
        event.wait(5)

    return wait


def set_overdue(scheduler: Scheduler, name: str, length: timedelta) -> None:
    """Make the next call of job *name* due *length* ago."""
    scheduler._scheduler.modify_job(name, next_run_time=datetime.now(UTC) - length)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true within five seconds"
        time.sleep(0.01)


def test_the_first_call_is_made_at_once(scheduler: Scheduler) -> None:
    ticks = Ticks()
    scheduler.add("expire_dp", NEVER, ticks)

    began = time.monotonic()
    scheduler.start()

    assert ticks.next() - began < 2


def test_later_calls_follow_once_every_interval(scheduler: Scheduler) -> None:
    ticks = Ticks()
    scheduler.add("expire_dp", timedelta(milliseconds=200), ticks)

    scheduler.start()

    calls = [ticks.next() for _ in range(4)]
    assert 0.4 < calls[-1] - calls[0] < 2


def test_nothing_is_called_before_the_start(scheduler: Scheduler) -> None:
    ticks = Ticks()
    scheduler.add("expire_dp", TICK, ticks)

    assert ticks.silent_for(0.2)


def test_every_job_has_its_own_interval(scheduler: Scheduler) -> None:
    often, seldom = Ticks(), Ticks()
    scheduler.add("often", TICK, often)
    scheduler.add("seldom", NEVER, seldom)

    scheduler.start()

    for _ in range(3):
        often.next()
    seldom.next()
    assert seldom.silent_for(0.2)


def test_a_slow_call_does_not_overlap_with_the_next_one(scheduler: Scheduler) -> None:
    may_finish, started = Event(), Ticks()

    def work() -> None:
        started()
        may_finish.wait(5)

    scheduler.add("slow", TICK, work)
    with capture_logs():
        scheduler.start()
        started.next()

        assert started.silent_for(0.3)
        may_finish.set()
        started.next()


def test_a_skipped_tick_is_logged(scheduler: Scheduler) -> None:
    may_finish, started = Event(), Ticks()

    def work() -> None:
        started()
        may_finish.wait(5)

    scheduler.add("expire_dp", TICK, work)
    with capture_logs() as lines:
        scheduler.start()
        started.next()
        wait_until(lambda: lines)
        may_finish.set()

    expected = {"event": "scan.missed", "log_level": "warning", "rule": "expire_dp"}
    assert expected == {name: lines[0][name] for name in expected}


def test_a_slow_call_does_not_delay_other_jobs(scheduler: Scheduler) -> None:
    may_finish, ticks = Event(), Ticks()
    scheduler.add("slow", NEVER, held_by(may_finish))
    scheduler.add("quick", TICK, ticks)

    scheduler.start()

    for _ in range(3):
        ticks.next()
    may_finish.set()


def test_a_late_tick_is_still_run(scheduler: Scheduler) -> None:
    ticks = Ticks()
    scheduler.add("expire_dp", NEVER, ticks)
    scheduler.start()
    ticks.next()

    set_overdue(scheduler, "expire_dp", timedelta(minutes=10))

    ticks.next()


def test_several_late_ticks_are_run_as_one(scheduler: Scheduler) -> None:
    """A host that was suspended for an hour scans once, and not sixty times."""
    ticks = Ticks()
    scheduler.add("expire_dp", timedelta(minutes=1), ticks)
    scheduler.start()
    ticks.next()

    set_overdue(scheduler, "expire_dp", timedelta(hours=1))

    ticks.next()
    assert ticks.silent_for(0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_that_fails_is_called_again(scheduler: Scheduler) -> None:
    ticks = Ticks()

    def work() -> None:
        ticks()
        message = "boom"
        raise RuntimeError(message)

    scheduler.add("expire_dp", TICK, work)

    scheduler.start()

    ticks.next()
    ticks.next()


def test_a_call_requested_soon_is_made_once_besides_the_schedule(scheduler: Scheduler) -> None:
    ticks, requested = Ticks(), Ticks()
    scheduler.add("expire_dp", NEVER, ticks)
    scheduler.start()
    ticks.next()

    scheduler.soon(requested)

    requested.next()
    assert requested.silent_for(0.2)
    assert ticks.silent_for(0)


def test_nothing_is_called_after_the_stop(scheduler: Scheduler) -> None:
    ticks = Ticks()
    scheduler.add("expire_dp", TICK, ticks)
    scheduler.start()
    ticks.next()

    scheduler.stop()
    ticks.forget()

    assert ticks.silent_for(0.2)


def test_the_stop_waits_for_a_running_call(scheduler: Scheduler) -> None:
    started, ended = Event(), Event()

    def work() -> None:
        started.set()
        time.sleep(0.2)
        ended.set()

    scheduler.add("expire_dp", NEVER, work)
    scheduler.start()
    started.wait(5)

    scheduler.stop()

    assert ended.is_set()


@pytest.mark.parametrize("was_started", [True, False])
def test_stopping_twice_is_harmless(scheduler: Scheduler, *, was_started: bool) -> None:
    if was_started:
        scheduler.start()

    scheduler.stop()
    scheduler.stop()

    ticks = Ticks()
    scheduler.add("expire_dp", TICK, ticks)
    assert ticks.silent_for(0.1)


def test_a_clock_that_is_set_back_delays_no_call(scheduler: Scheduler) -> None:
    """L4: it was an hour ahead for a while, so that the next call is due in an hour."""
    ticks = Ticks()
    scheduler.add("expire_dp", TICK, ticks)
    scheduler.start()
    ticks.next()

    set_overdue(scheduler, "expire_dp", -timedelta(hours=1))
    ticks.forget()

    ticks.next()
    ticks.next()
