"""The clock: it calls at once, then every interval, one call at a time, until it is stopped."""

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
def schedule() -> Iterator[Scheduler]:
    made = Scheduler(threads=2)
    yield made
    made.stop()


class Ticks:
    """Takes calls, and lets a test wait for one."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[float] = SimpleQueue()

    def __call__(self) -> None:
        """Be called by the clock."""
        self._calls.put(time.monotonic())

    def next(self) -> float:
        """Wait for a call, and return when it came."""
        return self._calls.get(timeout=5)

    def silent_for(self, seconds: float) -> bool:
        """Return whether no call comes for so long."""
        try:
            self._calls.get(timeout=seconds)
        except Empty:
            return True
        return False

    def forget(self) -> None:
        """Count anew."""
        while not self._calls.empty():
            self._calls.get()


def held_by(event: Event) -> Callable[[], None]:
    """Return a call that takes until *event*."""

    def wait() -> None:
        event.wait(5)

    return wait


def oversleep(schedule: Scheduler, name: str, length: timedelta) -> None:
    """Have the clock find that the next call was due so long ago."""
    schedule._scheduler.modify_job(name, next_run_time=datetime.now(UTC) - length)


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.01)


def test_the_first_call_is_made_at_once(schedule: Scheduler) -> None:
    ticks = Ticks()
    schedule.add("expire_dp", NEVER, ticks)

    began = time.monotonic()
    schedule.start()

    assert ticks.next() - began < 2


def test_the_others_follow_once_every_interval(schedule: Scheduler) -> None:
    ticks = Ticks()
    schedule.add("expire_dp", timedelta(milliseconds=200), ticks)

    schedule.start()

    calls = [ticks.next() for _ in range(4)]
    assert 0.4 < calls[-1] - calls[0] < 2


def test_nothing_is_called_before_the_start(schedule: Scheduler) -> None:
    ticks = Ticks()
    schedule.add("expire_dp", TICK, ticks)

    assert ticks.silent_for(0.2)


def test_every_name_has_its_own_interval(schedule: Scheduler) -> None:
    often, seldom = Ticks(), Ticks()
    schedule.add("often", TICK, often)
    schedule.add("seldom", NEVER, seldom)

    schedule.start()

    for _ in range(3):
        often.next()
    seldom.next()
    assert seldom.silent_for(0.2)


def test_a_call_that_takes_long_is_never_made_twice_at_a_time(schedule: Scheduler) -> None:
    go_on, begun = Event(), Ticks()

    def work() -> None:
        begun()
        go_on.wait(5)

    schedule.add("slow", TICK, work)
    with capture_logs():
        schedule.start()
        begun.next()

        assert begun.silent_for(0.3)
        go_on.set()
        begun.next()


def test_a_tick_that_has_to_be_left_out_is_told(schedule: Scheduler) -> None:
    go_on, begun = Event(), Ticks()

    def work() -> None:
        begun()
        go_on.wait(5)

    schedule.add("expire_dp", TICK, work)
    with capture_logs() as lines:
        schedule.start()
        begun.next()
        wait_until(lambda: lines)
        go_on.set()

    expected = {"event": "scan.missed", "log_level": "warning", "rule": "expire_dp"}
    assert expected == {name: lines[0][name] for name in expected}


def test_a_slow_call_does_not_hold_up_its_neighbour(schedule: Scheduler) -> None:
    go_on, ticks = Event(), Ticks()
    schedule.add("slow", NEVER, held_by(go_on))
    schedule.add("quick", TICK, ticks)

    schedule.start()

    for _ in range(3):
        ticks.next()
    go_on.set()


def test_a_tick_that_comes_late_is_made_up_for(schedule: Scheduler) -> None:
    ticks = Ticks()
    schedule.add("expire_dp", NEVER, ticks)
    schedule.start()
    ticks.next()

    oversleep(schedule, "expire_dp", timedelta(minutes=10))

    ticks.next()


def test_many_ticks_that_come_late_are_made_up_for_once(schedule: Scheduler) -> None:
    """A host that slept for an hour looks once, and not sixty times."""
    ticks = Ticks()
    schedule.add("expire_dp", timedelta(minutes=1), ticks)
    schedule.start()
    ticks.next()

    oversleep(schedule, "expire_dp", timedelta(hours=1))

    ticks.next()
    assert ticks.silent_for(0.2)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_fails_is_called_again(schedule: Scheduler) -> None:
    ticks = Ticks()

    def work() -> None:
        ticks()
        message = "boom"
        raise RuntimeError(message)

    schedule.add("expire_dp", TICK, work)

    schedule.start()

    ticks.next()
    ticks.next()


def test_what_is_wanted_soon_is_called_once_beside_the_clock(schedule: Scheduler) -> None:
    ticks, wanted = Ticks(), Ticks()
    schedule.add("expire_dp", NEVER, ticks)
    schedule.start()
    ticks.next()

    schedule.soon(wanted)

    wanted.next()
    assert wanted.silent_for(0.2)
    assert ticks.silent_for(0)


def test_after_the_stop_nothing_is_called(schedule: Scheduler) -> None:
    ticks = Ticks()
    schedule.add("expire_dp", TICK, ticks)
    schedule.start()
    ticks.next()

    schedule.stop()
    ticks.forget()

    assert ticks.silent_for(0.2)


def test_the_stop_waits_for_what_is_under_way(schedule: Scheduler) -> None:
    begun, ended = Event(), Event()

    def work() -> None:
        begun.set()
        time.sleep(0.2)
        ended.set()

    schedule.add("expire_dp", NEVER, work)
    schedule.start()
    begun.wait(5)

    schedule.stop()

    assert ended.is_set()


@pytest.mark.parametrize("started", [True, False])
def test_stopping_twice_is_harmless(schedule: Scheduler, *, started: bool) -> None:
    if started:
        schedule.start()

    schedule.stop()
    schedule.stop()

    ticks = Ticks()
    schedule.add("expire_dp", TICK, ticks)
    assert ticks.silent_for(0.1)
