"""Foresight: a backlog that grows, and a message that waits, are told before rows are overdue."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from structlog.types import EventDict

from sweeper.monitoring.status import Dead, Server, Status
from sweeper.queue.inspect import Depth
from sweeper.queue.pause import Pause
from sweeper.service.foresight import Foresight

START = datetime(2026, 1, 31, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def status(
    at: datetime, messages: int = 0, oldest: float = 0.0, *, paused: str | None = None
) -> Status:
    """Return the status of two queues, of which the second is empty."""
    pause = Pause(paused, START, None, "ann", "a look") if paused else None
    return Status(
        at=at.isoformat(),
        queues={
            "jobs": Depth(messages // 2, 9_999, messages - messages // 2, oldest, None),
            "jobs_low": Depth(0, 0, 0, 0.0, None),
        },
        dead=Dead(0, 0.0),
        rules={},
        database=Server("1.5.1", "18.0", 0.0),
        figures={},
        pauses=(pause,) if pause else (),
    )


def told(statuses: Sequence[Status]) -> list[tuple[int, EventDict]]:
    """Return what is logged of these statuses, with the number of each."""
    foresight, lines = Foresight(), list[tuple[int, EventDict]]()
    for number, one in enumerate(statuses):
        with capture_logs() as logged:
            foresight.saw(one)
        lines += [(number, line) for line in logged]
    return lines


def backlog(*sizes: int, every: timedelta = MINUTE, paused: str | None = None) -> list[Status]:
    return [status(START + n * every, size, paused=paused) for n, size in enumerate(sizes)]


def test_a_backlog_that_grows_for_fifteen_minutes_is_told() -> None:
    ((number, line),) = told(backlog(*range(100, 416, 20)))

    assert 15 == number
    assert ("backlog.increased", "jobs", 400, 100) == tuple(
        line[name] for name in ("event", "queue", "waiting", "waited")
    )
    assert "sweeper status; docs/runbook.md#backlog-grows" == line["remedy"]


def test_a_backlog_that_goes_on_growing_is_told_again_after_as_long() -> None:
    assert [15, 30] == [number for number, _ in told(backlog(*range(100, 1_000, 20)))]


def test_a_backlog_that_grows_is_told_whatever_the_heartbeat_s_interval() -> None:
    often = backlog(*range(100, 1_000), every=timedelta(seconds=2))
    seldom = backlog(*range(100, 500, 100), every=5 * MINUTE)

    assert ([450], [3]) == ([n for n, _ in told(often)], [n for n, _ in told(seldom)])


@pytest.mark.parametrize(
    "sizes",
    [
        [5_000 - 100 * n for n in range(40)],  # a burst that is worked off
        [200] * 40,  # as much as ever
        [0] * 10 + [5_000] * 29,  # one jump
        [n * 2 for n in range(40)],  # few
        [1_000 + 100 * n for n in range(12)] + [1_100] * 28,  # it had grown, and stopped
    ],
    ids=["burst", "level", "jump", "few", "stopped"],
)
def test_a_backlog_that_is_worked_off_or_small_is_not_told(sizes: list[int]) -> None:
    assert [] == told(backlog(*sizes))


def test_a_backlog_that_jitters_upwards_is_told() -> None:
    """Each window counts as a whole, so that one smaller sample hides nothing."""
    sizes = [1_000 + 100 * n - (150 if n % 4 == 2 else 0) for n in range(16)]

    assert ["backlog.increased"] == [line["event"] for _, line in told(backlog(*sizes))]


@pytest.mark.parametrize("target", ["jobs", "everything"])
def test_what_is_paused_is_not_told(target: str) -> None:
    waits = [status(START + n * MINUTE, 100 + 50 * n, 60.0 * n, paused=target) for n in range(40)]

    assert [] == told(waits)


def test_a_pause_of_something_else_hides_nothing() -> None:
    assert [15] == [n for n, _ in told(backlog(*range(100, 416, 20), paused="jobs_low"))]


def test_a_clock_that_was_set_back_is_begun_with_anew() -> None:
    day = timedelta(days=1)
    before = [status(START + day + n * MINUTE, 100 + n) for n in range(10)]

    assert [25] == [n for n, _ in told(before + backlog(*range(200, 520, 20)))]


def test_a_message_that_waits_is_told_once_until_its_queue_is_read_again() -> None:
    ages = [600.0, 900.0, 901.0, 930.0, 5.0, 902.5]
    lines = told([status(START + n * MINUTE, 1, age) for n, age in enumerate(ages)])

    assert [(2, 901), (5, 902)] == [(number, line["seconds"]) for number, line in lines]
    assert {("message.waited", "jobs", "sweeper status; docs/runbook.md#message-waits")} == {
        (line["event"], line["queue"], line["remedy"]) for _, line in lines
    }
