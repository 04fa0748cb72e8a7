"""Health: ready by completed scans and reads, alive by loops that turn, and each said once."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from structlog.testing import capture_logs
from structlog.types import EventDict

from sweeper.monitoring import systemd
from sweeper.monitoring.health import SLOW, Health

EVERY, LOOK, REST = timedelta(minutes=1), timedelta(seconds=2), timedelta(seconds=2)
PATIENCE = timedelta(minutes=4)
MOMENT = timedelta(milliseconds=1)


@pytest.fixture
def time() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time() as hand:
        assert isinstance(hand, FrozenDateTimeFactory)
        yield hand


@pytest.fixture
def health(time: FrozenDateTimeFactory) -> Health:
    del time
    return Health({"expire_dp": EVERY}, LOOK, {"drain": REST}, PATIENCE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Hear what the service manager hears."""
    heard: list[dict[str, str]] = []

    def tell(**fields: str) -> bool:
        heard.append(fields)
        return True

    monkeypatch.setattr(systemd, "notify", tell)
    return heard


def work(health: Health) -> None:
    """Do everything that is expected of the service."""
    health.scanned("expire_dp")
    health.read()
    health.turned("drain")


def said(health: Health) -> list[EventDict]:
    with capture_logs() as lines:
        health.report()
    return list(lines)


# Ready.


def test_nobody_is_ready_who_has_done_nothing(health: Health) -> None:
    """L9: a start is no work."""
    health.turned("drain")

    assert ["expire_dp was never scanned", "the queues were never read"] == health.ready()


def test_work_makes_ready(health: Health) -> None:
    work(health)

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
def test_what_is_not_done_in_time_makes_not_ready(
    allowed: timedelta,
    others: Callable[[Health], object],
    reason: str,
    health: Health,
    time: FrozenDateTimeFactory,
) -> None:
    """L9: readiness is fed by nothing but the work itself."""
    work(health)
    time.tick(allowed)
    others(health)
    assert [] == health.ready()

    time.tick(MOMENT)

    assert [reason] == health.ready()


def test_a_loop_that_turns_without_result_is_not_ready(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    """L9: a database that is away makes the service not ready, and never restarted."""
    work(health)
    for _ in range(60):
        time.tick(timedelta(seconds=10))
        health.turned("drain")

    reasons = ["expire_dp was last scanned 600 s ago", "the queues were last read 600 s ago"]
    assert (reasons, []) == (health.ready(), health.alive())


# Alive.


def test_a_loop_hangs_when_no_timeout_can_excuse_it(
    health: Health, time: FrozenDateTimeFactory
) -> None:
    time.tick(REST + PATIENCE)
    assert [] == health.alive()

    time.tick(MOMENT)

    assert ["drain"] == health.alive()


def test_what_hangs_is_never_ready(time: FrozenDateTimeFactory) -> None:
    """L9: also where the timeouts are shorter than what is called slow."""
    health = Health({}, EVERY, {"drain": REST}, SLOW / 2)
    health.read()

    time.tick(REST + SLOW / 2 + MOMENT)

    assert (["drain"], ["drain has not come back"]) == (health.alive(), health.ready())


def test_ages_are_for_the_metrics(health: Health, time: FrozenDateTimeFactory) -> None:
    assert ({}, None) == (health.scan_ages(), health.read_age())
    work(health)

    time.tick(timedelta(seconds=3))

    assert {"expire_dp": 3.0} == health.scan_ages()
    assert 3.0 == health.read_age()


# Told.


def test_until_it_is_ready_the_start_is_given_more_time(
    health: Health, told: list[dict[str, str]]
) -> None:
    """L9: systemd's watchdog sleeps until READY=1, so that the start's timeout watches instead."""
    assert [] == said(health)

    assert [{"EXTEND_TIMEOUT_USEC": "30000000"}] == told


def test_ready_is_said_once(
    health: Health, told: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    time.tick(timedelta(seconds=1))
    work(health)

    assert [{"event": "service.ready", "log_level": "info", "seconds": 1.0}] == said(health)
    assert [] == said(health)

    assert told == [
        {"EXTEND_TIMEOUT_USEC": "30000000"},
        {"READY": "1"},
        {"STATUS": "UP"},
        {"WATCHDOG": "1"},
    ]


def test_not_ready_is_said_once_and_the_watchdog_is_fed_on(
    health: Health, told: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    """L9: never restarted for what a restart cannot mend."""
    work(health)
    health.report()
    told.clear()
    time.tick(timedelta(minutes=1))
    health.scanned("expire_dp")
    health.turned("drain")

    (lost,) = said(health)
    assert [] == said(health)

    reason = "the queues were last read 60 s ago"
    assert ("readiness.lost", [reason]) == (lost["event"], lost["reasons"])
    assert [{"WATCHDOG": "1"}, {"STATUS": f"DOWN: {reason}"}, {"WATCHDOG": "1"}] == told


def test_ready_again_is_said_with_how_long_it_was_not(
    health: Health, told: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    work(health)
    health.report()
    time.tick(timedelta(minutes=1))
    health.report()
    time.tick(timedelta(seconds=20))
    work(health)

    (regained,) = said(health)

    assert ("readiness.regained", 20.0) == (regained["event"], regained["seconds"])
    assert {"STATUS": "UP"} == told[-1]


def test_a_hanging_loop_is_said_once_and_the_watchdog_starves(
    health: Health, told: list[dict[str, str]], time: FrozenDateTimeFactory
) -> None:
    """L9: a loop that hangs feeds neither readiness nor the watchdog."""
    work(health)
    health.report()
    time.tick(REST + PATIENCE + MOMENT)
    told.clear()

    stalled, lost = said(health)
    assert [] == said(health)

    assert ("loop.stalled", ["drain"]) == (stalled["event"], stalled["loops"])
    assert "drain has not come back" in lost["reasons"]
    assert any(stack.startswith("MainThread: ") for stack in stalled["stacks"])
    assert "WATCHDOG" not in {name for each in told for name in each}


@pytest.mark.parametrize(("watchdog", "rest"), [(None, 5.0), ("3000000", 1.0), ("60000000", 5.0)])
def test_the_watchdog_is_fed_three_times_as_often_as_it_must(
    watchdog: str | None,
    rest: float,
    health: Health,
    told: list[dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if watchdog:
        monkeypatch.setenv("WATCHDOG_USEC", watchdog)
    assert health.report() < 1
    work(health)

    assert rest == health.report()
    assert told
