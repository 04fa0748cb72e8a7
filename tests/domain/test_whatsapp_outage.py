"""A provider that is down is left alone, and nothing is spent or lost meanwhile."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.outbound.worker import OutboundWorker
from sweeper.worker.drain import Drain
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.verbs import (
    OUTBOUND,
    OpenApp,
    dead_letters,
    make_visible,
    messages,
    rows,
    send,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
LANE = {"lane.paused", "lane.blocked", "lane.resumed"}


@dataclass
class Hand:
    """The clock of the lanes, which goes when it is told to."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time, in seconds."""
        return self.now


@pytest.fixture
def hand(monkeypatch: pytest.MonkeyPatch) -> Hand:
    hand = Hand()
    monkeypatch.setattr("sweeper.outbound.call_pool.monotonic", hand)
    return hand


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("cloud") as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings(rate=1_000))


def tell(app: App, count: int = 1) -> None:
    """Send so many notices, as a stranger does."""
    for number in range(count):
        payload = {"recipientPhone": f"08123456{number:04}", "message": "Halo"}
        send(app, TYPE, payload, queue=OUTBOUND)


def work(app: App, lane: OutboundWorker, hand: Hand, seconds: float) -> Tally:
    """Let so much time pass, and step the lane until nothing is visible."""
    hand.now += seconds
    make_visible(app)
    total = Tally()
    while tally := lane.step():
        total += tally
    return total


def noted(step: Callable[[Any], Any], name: str, steps: list[str]) -> Callable[[Any], Any]:
    """Return *step*, which writes down that it was called."""

    def noting(worker: Any) -> Any:
        steps.append(name)
        return step(worker)

    return noting


def statuses(connection: Connection) -> set[str]:
    return {row["status"] for row in rows(connection, '"NotificationLog"')}


def test_an_outage_costs_no_attempts_and_is_said_once(
    app: App, whatsapp: Provider, connection: Connection, hand: Hand
) -> None:
    """Issue: the first two failures are failures; from the third on, everybody waits."""
    whatsapp.behaviour = Behaviour.BROKEN
    tell(app, 20)
    lane = app.outbound()

    with capture_logs() as lines:
        down = [work(app, lane, hand, 400) for _ in range(12)]
        asked = whatsapp.requests
        whatsapp.behaviour = Behaviour.OK
        up = work(app, lane, hand, 400)

    assert 2 == sum(tally.retried for tally in down)
    assert 0 == sum(tally.dead for tally in down)
    assert asked <= 8 + 11
    assert Tally(done=20) == up
    told = [(line["event"], line["log_level"]) for line in lines if line["event"] in LANE]
    assert [("lane.paused", "warning"), ("lane.resumed", "info")] == told
    assert {"sent"} == statuses(connection)


def test_while_the_lane_rests_nobody_is_asked(
    app: App, whatsapp: Provider, connection: Connection, hand: Hand
) -> None:
    """Messages that come meanwhile wait, uncounted, until the pause is over."""
    whatsapp.behaviour = Behaviour.BROKEN
    tell(app, 3)
    lane = app.outbound()
    work(app, lane, hand, 0)
    asked = whatsapp.requests

    tell(app, 5)
    tally = work(app, lane, hand, 1)

    assert (0, Tally(postponed=8)) == (whatsapp.requests - asked, tally)
    waiting = messages(app, OUTBOUND)
    assert 8 == len(waiting)
    assert {0} == {message.read_ct for message in waiting}
    assert all(0 < message.delay.total_seconds() <= 5 for message in waiting)
    assert "sending" not in statuses(connection)


def test_one_call_shows_that_the_pause_is_over(app: App, whatsapp: Provider, hand: Hand) -> None:
    whatsapp.behaviour = Behaviour.BROKEN
    tell(app, 30)
    lane = app.outbound()
    work(app, lane, hand, 0)
    asked = whatsapp.requests

    work(app, lane, hand, 6)

    assert 1 == whatsapp.requests - asked


def test_one_notice_alone_survives_a_long_outage(
    app: App, whatsapp: Provider, connection: Connection, hand: Hand
) -> None:
    whatsapp.behaviour = Behaviour.BROKEN
    tell(app)
    lane = app.outbound()
    for _ in range(20):
        work(app, lane, hand, 400)
    whatsapp.behaviour = Behaviour.OK

    assert Tally(done=1) == work(app, lane, hand, 400)
    assert {"sent"} == statuses(connection)


def test_a_notice_that_always_fails_dies_alone(
    app: App, whatsapp: Provider, connection: Connection, hand: Hand
) -> None:
    """Where others succeed there is no outage: it has its four executions, and no more."""
    whatsapp.by_number["6281234560000"] = Behaviour.BROKEN
    tell(app)
    lane, tallies = app.outbound(), []
    for number in range(1, 5):
        payload = {"recipientPhone": f"0812345699{number:02}", "message": "Halo"}
        send(app, TYPE, payload, queue=OUTBOUND)
        tallies.append(work(app, lane, hand, 400))

    assert (3, 1, 4) == (
        sum(tally.retried for tally in tallies),
        sum(tally.dead for tally in tallies),
        sum(tally.done for tally in tallies),
    )
    assert ["exhausted"] == [letter.reason for letter in dead_letters(app)]
    assert {"sent", "failed"} == statuses(connection)


def test_a_token_that_is_mended_sets_everything_going(
    app: App, whatsapp: Provider, connection: Connection, hand: Hand
) -> None:
    whatsapp.behaviour = Behaviour.BAD_TOKEN
    tell(app, 20)
    lane = app.outbound()

    with capture_logs() as lines:
        for _ in range(5):
            work(app, lane, hand, 400)
        assert {TYPE: True} == lane.blocked
        whatsapp.behaviour = Behaviour.OK
        tally = work(app, lane, hand, 400)

    assert (Tally(done=20), {TYPE: False}) == (tally, lane.blocked)
    assert ["lane.blocked", "lane.resumed"] == [
        line["event"] for line in lines if line["event"] in LANE
    ]
    assert {"sent"} == statuses(connection)
    assert {1} == {row["attempt"] for row in rows(connection, "sweeper.job_log")}


def test_to_be_asked_to_wait_is_no_outage(app: App, whatsapp: Provider, hand: Hand) -> None:
    """DOMAIN 6: after Retry-After it goes on, without a longer pause."""
    whatsapp.behaviours.extend([Behaviour.BUSY])
    tell(app)
    lane = app.outbound()
    work(app, lane, hand, 0)

    assert Tally(postponed=1) == work(app, lane, hand, 6)
    assert Tally(done=1) == work(app, lane, hand, 2)


def test_order_jobs_do_not_wait_for_the_provider(
    app: App, whatsapp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep works off all orders before it makes the first call."""
    steps: list[str] = []
    for kind in (Drain, OutboundWorker):
        monkeypatch.setattr(kind, "step", noted(kind.step, kind.__name__, steps))
    tell(app, 3)

    app.sweep().drain()

    assert ["Drain", "OutboundWorker", "Drain", "OutboundWorker"] == steps
    assert 3 == whatsapp.requests
