"""Health: scans and reads make the service ready, turning loops make it alive."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from structlog.testing import capture_logs
from structlog.types import EventDict

from sweeper.job import Lane
from sweeper.monitoring import systemd
from sweeper.monitoring.health import SLOW, Health

EVERY, LOOK, REST = timedelta(minutes=1), timedelta(seconds=2), timedelta(seconds=2)
PATIENCE = timedelta(minutes=4)
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def time() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time() as clock:
        assert isinstance(clock, FrozenDateTimeFactory)
        yield clock


@pytest.fixture
def health(time: FrozenDateTimeFactory) -> Health:
    del time
    return Health({"expire_dp": EVERY}, LOOK, {"drain": REST}, PATIENCE)


@pytest.fixture
def notifications(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Collect the notifications that systemd would receive."""
    sent: list[dict[str, str]] = []

    def tell(**fields: str) -> bool:
        sent.append(fields)
        return True

    monkeypatch.setattr(systemd, "notify", tell)
    return sent


def work_normally(health: Health) -> None:
    """Record a scan, a read and a turn of the loop, as a working service does."""
    health.scanned("expire_dp")
    health.read()
    health.turned("drain")


def reported(health: Health) -> list[EventDict]:
    with capture_logs() as lines:
        health.report()
    return list(lines)


# Readiness.


def test_a_service_that_has_not_worked_yet_is_not_ready(health: Health) -> None:
    """L9: starting the service does not count as work."""
    health.turned("drain")

    assert ["expire_dp was never scanned", "the queues were never read"] == health.ready()


def test_a_service_that_has_scanned_and_read_is_ready(health: Health) -> None:
    work_normally(health)

    assert [] == health.ready()


@pytest.mark.parametrize(
    ("allowed", "others", "reason"),
    [
        (
            2 * EVERY + SLOW,
            lambda health: (health.read(), health.turned("drain")),
            "expire_dp was last scanned 135 s ago",
        ),
        (
            LOOK + SLOW,
            lambda health: (health.scanned("expire_dp"), health.turned("drain")),
            "the queues were last read 17 s ago",
        ),
        (
            REST + SLOW,
            lambda health: (health.scanned("expire_dp"), health.read()),
            "drain has not come back",
        ),
    ],
    ids=["scans", "reads", "turns"],
)
def test_a_late_scan_read_or_loop_makes_the_service_not_ready(
    allowed: timedelta,
    others: Callable[[Health], object],
    reason: str,
    health: Health,
    time: FrozenDateTimeFactory,
) -> None:
    """L9: only completed work keeps the service ready."""
    work_normally(health)
    time.tick(allowed)
    others(health)
    assert [] == health.ready()

    time.tick(MOMENT)

    assert [reason] == health.ready()


def test_loops_that_turn_without_results_are_alive_and_not_ready(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: a database outage makes the service not ready, and never causes a restart."""
    work_normally(health)
    for _ in range(60):
        time.tick(timedelta(seconds=10))
        health.turned("drain")

    reasons = ["expire_dp was last scanned 600 s ago", "the queues were last read 600 s ago"]
    assert (reasons, []) == (health.ready(), health.alive())


def test_visible_messages_that_no_step_handles_make_the_service_not_ready(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: to see work is not to do it, and each lane answers for itself."""
    work_normally(health)
    for _ in range(17):
        health.looked({Lane.OUTBOUND})
        assert [] == health.ready()
        time.tick(timedelta(seconds=1))
        health.turned("drain")
        health.read(Lane.DATABASE)
    time.tick(MOMENT)

    assert ["no step of the outbound lane has succeeded for 17 s"] == health.ready()
    health.read(Lane.OUTBOUND)
    assert [] == health.ready()


def test_looks_without_work_keep_the_service_ready_and_do_not_make_it_so(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: an idle service reads nothing, and so only its look can fail."""
    health.scanned("expire_dp")
    health.looked(set())
    assert ["the queues were never read"] == health.ready()
    health.read()
    for _ in range(60):
        time.tick(timedelta(seconds=1))
        health.turned("drain")
        health.looked(set())

    assert [] == health.ready()


def test_a_look_says_how_long_the_next_one_may_take(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: a watch that has the hint looks seldom, and the service is ready all the same."""
    work_normally(health)
    health.looked(set(), timedelta(minutes=1))
    time.tick(timedelta(minutes=1) + SLOW)
    health.scanned("expire_dp")
    health.turned("drain")
    assert [] == health.ready()

    time.tick(MOMENT)

    assert ["the queues were last read 75 s ago"] == health.ready()


def test_a_service_is_starting_until_it_is_ready_for_the_first_time(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: what was ready once is never starting again, whatever it lacks."""
    assert health.starting
    work_normally(health)
    health.report()
    assert not health.starting
    time.tick(timedelta(minutes=10))

    assert (True, False) == (bool(health.ready()), health.starting)


def test_a_start_takes_no_longer_than_twice_the_allowance(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    time.tick(2 * SLOW)
    assert health.starting

    time.tick(MOMENT)

    assert not health.starting


# Liveness.


def test_a_loop_hangs_once_its_pause_and_every_timeout_have_passed(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    time.tick(REST + PATIENCE)
    assert [] == health.alive()

    time.tick(MOMENT)

    assert ["drain"] == health.alive()


def test_a_service_with_a_hanging_loop_is_not_ready(time: FrozenDateTimeFactory) -> None:
    """L9: this also holds where the timeouts are shorter than the allowance for slow work."""
    health = Health({}, EVERY, {"drain": REST}, SLOW / 2)
    health.read()

    time.tick(REST + SLOW / 2 + MOMENT)

    assert (["drain"], ["drain has not come back"]) == (health.alive(), health.ready())


def test_the_ages_of_scans_and_reads_are_reported(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    assert ({}, None) == (health.scan_ages(), health.read_age())
    work_normally(health)

    time.tick(timedelta(seconds=3))

    assert {"expire_dp": 3.0} == health.scan_ages()
    assert 3.0 == health.read_age()


# Reports to the log and to systemd.


def test_systemd_is_asked_for_more_time_until_the_service_is_ready(
    health: Health, notifications: list[dict[str, str]]
) -> None:
    """L9: systemd's watchdog begins with READY=1; until then, the start timeout takes its place."""
    assert [] == reported(health)

    assert [{"EXTEND_TIMEOUT_USEC": "30000000"}] == notifications


def test_readiness_is_reported_once(
    health: Health, notifications: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    time.tick(timedelta(seconds=1))
    work_normally(health)

    assert [{"event": "service.ready", "log_level": "info", "seconds": 1.0}] == reported(health)
    assert [] == reported(health)

    assert notifications == [
        {"EXTEND_TIMEOUT_USEC": "30000000"},
        {"READY": "1"},
        {"STATUS": "UP"},
        {"WATCHDOG": "1"},
    ]


def test_lost_readiness_is_reported_once_and_the_watchdog_is_still_fed(
    health: Health, notifications: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    """L9: the service is never restarted for a fault that a restart cannot repair."""
    work_normally(health)
    health.report()
    notifications.clear()
    time.tick(timedelta(minutes=1))
    health.scanned("expire_dp")
    health.turned("drain")

    (lost,) = reported(health)
    assert [] == reported(health)

    reason = "the queues were last read 60 s ago"
    assert ("readiness.lost", [reason]) == (lost["event"], lost["reasons"])
    assert [{"WATCHDOG": "1"}, {"STATUS": f"DOWN: {reason}"}, {"WATCHDOG": "1"}] == notifications


def test_regained_readiness_is_reported_with_the_length_of_the_gap(
    health: Health, notifications: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    work_normally(health)
    health.report()
    time.tick(timedelta(minutes=1))
    health.report()
    time.tick(timedelta(seconds=20))
    work_normally(health)

    (regained,) = reported(health)

    assert ("readiness.regained", 20.0) == (regained["event"], regained["seconds"])
    assert {"STATUS": "UP"} == notifications[-1]


def test_a_hanging_loop_is_reported_once_and_the_watchdog_is_not_fed(
    health: Health, notifications: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    """L9: a loop that hangs keeps the service from being ready and from feeding the watchdog."""
    work_normally(health)
    health.report()
    time.tick(REST + PATIENCE + MOMENT)
    notifications.clear()

    stalled, lost = reported(health)
    assert [] == reported(health)

    assert ("loop.stalled", ["drain"]) == (stalled["event"], stalled["loops"])
    assert "drain has not come back" in lost["reasons"]
    assert any(stack.startswith("MainThread: ") for stack in stalled["stacks"])
    assert "WATCHDOG" not in {name for each in notifications for name in each}


@pytest.mark.parametrize(("watchdog", "rest"), [(None, 5.0), ("3000000", 1.0), ("60000000", 5.0)])
def test_the_watchdog_is_fed_three_times_per_interval(
    watchdog: str | None,
    rest: float,
    health: Health,
    notifications: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if watchdog:
        monkeypatch.setenv("WATCHDOG_USEC", watchdog)
    assert health.report() < 1
    work_normally(health)

    assert rest == health.report()
    assert notifications
