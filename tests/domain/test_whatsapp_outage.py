"""An outage of the provider opens the circuit breaker, and no attempt and no notice is lost."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import OutsideError
from sweeper.outbound.circuit_breaker import LONGEST_PAUSE
from sweeper.outbound.worker import OutboundWorker
from sweeper.worker.drain import Drain
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.verbs import (
    MINUTE,
    OUTBOUND,
    OpenApp,
    dead_letters,
    make_visible,
    messages,
    rows,
    send,
    with_call,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
LANE = {"lane.paused", "lane.blocked", "lane.resumed"}


@dataclass
class FakeClock:
    """A clock for the lanes, which tests advance by hand."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def fake_clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake_clock = FakeClock()
    monkeypatch.setattr("sweeper.outbound.call_pool.monotonic", fake_clock)
    return fake_clock


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("cloud") as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings(rate=1_000))


def send_notices(app: App, count: int = 1) -> None:
    """Enqueue *count* messages with a phone and a text, as the platform does."""
    for number in range(count):
        payload = {"recipientPhone": f"08123456{number:04}", "message": "Halo"}
        send(app, TYPE, payload, queue=OUTBOUND)


def send_notice(app: App, number: int, **body: Any) -> None:
    """Enqueue one message with a phone of its own and a text, as the platform does."""
    payload = {"recipientPhone": f"0812345699{number:02}", "message": "Halo"}
    send(app, TYPE, payload, queue=OUTBOUND, **body)


def retry_counts(app: App) -> list[int]:
    return [message.body["retryCount"] for message in messages(app, OUTBOUND)]


def work(app: App, lane: OutboundWorker, fake_clock: FakeClock, seconds: float) -> Tally:
    """Advance the clock by *seconds*, and step the lane until no message is visible."""
    fake_clock.now += seconds
    make_visible(app)
    return work_off(lane)


def work_off(lane: OutboundWorker) -> Tally:
    """Step the lane until no message is visible, or it rests."""
    total = Tally()
    while tally := lane.step():
        total += tally
    return total


def recorded(step: Callable[[Any], Any], name: str, steps: list[str]) -> Callable[[Any], Any]:
    """Return a function that calls *step* and appends *name* to *steps*."""

    def recording(worker: Any) -> Any:
        steps.append(name)
        return step(worker)

    return recording


def statuses(connection: Connection) -> set[str]:
    return {row["status"] for row in rows(connection, '"NotificationLog"')}


def test_an_outage_costs_no_attempts_and_is_logged_once(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    """L5: all messages are postponed, also those whose calls failed before the circuit opened."""
    whatsapp.behaviour = Behaviour.BROKEN
    send_notices(app, 20)
    lane = app.outbound()

    with capture_logs() as lines:
        down = [work(app, lane, fake_clock, 400) for _ in range(12)]
        requests = whatsapp.requests
        whatsapp.behaviour = Behaviour.OK
        up = work(app, lane, fake_clock, 400)

    assert 0 == sum(tally.failed for tally in down)
    assert {1} == {row["attempt"] for row in rows(connection, "sweeper.job_log")}
    assert requests <= 8 + 11
    assert Tally(done=20) == up
    logged = [(line["event"], line["log_level"]) for line in lines if line["event"] in LANE]
    assert [("lane.paused", "warning"), ("lane.resumed", "info")] == logged
    assert {"sent"} == statuses(connection)


@pytest.mark.usefixtures("fake_clock")
def test_an_outage_gives_back_the_attempts_of_the_calls_that_failed_before_it(
    app: App, whatsapp: Provider
) -> None:
    """L5: three calls fail one after the other; the third opens the circuit for all three."""
    whatsapp.behaviour = Behaviour.BROKEN
    lane, tallies, counts = app.outbound(), [], []
    for number in range(3):
        send_notice(app, number)
        tallies.append(lane.step())
        counts.append(retry_counts(app))

    assert [Tally(retried=1), Tally(retried=1), Tally(postponed=1)] == tallies
    assert [[1], [1, 1], [0, 0, 0]] == counts


def test_an_outage_gives_back_the_attempts_of_a_single_notice(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    """L5: its own three failures are the outage, so the next outage does not end its attempts."""
    whatsapp.behaviour = Behaviour.BROKEN
    send_notices(app)
    lane, counts = app.outbound(), []
    for _ in range(3):
        work(app, lane, fake_clock, 400)
        counts += retry_counts(app)
    whatsapp.behaviour = Behaviour.OK

    assert Tally(done=1) == work(app, lane, fake_clock, 400)
    assert [1, 2, 0] == counts
    assert [1] == [row["attempt"] for row in rows(connection, "sweeper.job_log")]


@pytest.mark.usefixtures("fake_clock")
def test_an_attempt_is_not_given_back_if_a_call_succeeded_before_the_outage(
    app: App, whatsapp: Provider
) -> None:
    """L5: the success shows that the first failure was the job's own."""
    outage = [Behaviour.BROKEN] * 3
    whatsapp.behaviours.extend([Behaviour.BROKEN, Behaviour.OK, *outage])
    lane = app.outbound()
    for number in range(5):
        send_notice(app, number)
        lane.step()

    assert [1, 0, 0, 0] == retry_counts(app)


@pytest.mark.usefixtures("fake_clock")
def test_an_outage_does_not_change_a_message_that_another_worker_has_read(
    app: App, whatsapp: Provider
) -> None:
    """L1: what another process has read is its own to decide about."""
    whatsapp.behaviour = Behaviour.BROKEN
    lane = app.outbound()
    send_notice(app, 0)
    lane.step()
    make_visible(app)
    app.fetcher.read([OUTBOUND], lease=MINUTE, quantity=1)
    for number in (1, 2):
        send_notice(app, number)
        lane.step()

    assert [1, 0, 0] == retry_counts(app)


def test_the_first_failure_of_an_outage_kills_no_job_while_other_calls_are_in_flight(
    app: App, fake_clock: FakeClock
) -> None:
    """L5: a failure is recorded only once the calls beside it show whose fault it was."""
    for number in range(3):
        send_notice(app, number, maxRetries=0)
    at_once = iter([True])

    def fail(_delivery: Any, _call: Callable[[Any], Any]) -> None:
        if not next(at_once, False):
            Event().wait(0.3)
        raise OutsideError

    lane = with_call(app, TYPE, fail).outbound()
    assert Tally(postponed=3) == work(app, lane, fake_clock, 0)
    assert [] == dead_letters(app)


def test_a_paused_lane_makes_no_calls(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    """Messages that arrive during a long pause are postponed, and their reads are not counted."""
    whatsapp.behaviour, whatsapp.retry_after = Behaviour.BUSY, "30"
    send_notices(app, 3)
    lane = app.outbound()
    work(app, lane, fake_clock, 0)
    before = whatsapp.requests

    send_notices(app, 5)
    tally = work(app, lane, fake_clock, 1)

    assert (0, Tally(postponed=8)) == (whatsapp.requests - before, tally)
    waiting = messages(app, OUTBOUND)
    assert 8 == len(waiting)
    assert {0} == {message.read_ct for message in waiting}
    assert all(20 < message.delay.total_seconds() <= 30 for message in waiting)
    assert "sending" not in statuses(connection)


def test_a_short_pause_touches_no_message(
    app: App, whatsapp: Provider, fake_clock: FakeClock
) -> None:
    """L9: another process, whose calls do not fail, finds them as they were."""
    whatsapp.behaviour = Behaviour.BROKEN
    send_notices(app, 3)
    lane = app.outbound()
    work(app, lane, fake_clock, 0)
    send_notices(app, 5)

    assert (None, True) == (lane.step(), lane.resting)
    assert 5 == sum(message.delay.total_seconds() <= 0 for message in messages(app, OUTBOUND))
    fake_clock.now += LONGEST_PAUSE
    assert not lane.resting


def test_a_pause_costs_the_same_whatever_the_backlog(
    open_app: OpenApp, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    """L9: one batch is postponed in a long pause, and one call made after it; the rest waits."""
    app = open_app(**whatsapp.settings(rate=1_000), queue__batch=5)
    whatsapp.behaviour, whatsapp.retry_after = Behaviour.BUSY, "30"
    send_notices(app, 3)
    lane = app.outbound()
    work(app, lane, fake_clock, 0)
    send_notices(app, 100)
    versions = text(f"select msg_id, ctid::text, xmin::text from pgmq.q_{OUTBOUND}")
    before = {tuple(row) for row in connection.execute(versions)}

    for _ in range(3):
        work_off(lane)
        assert lane.resting
        fake_clock.now += 400
        assert not lane.resting

    after = {tuple(row) for row in connection.execute(versions)}
    assert (103, 103) == (len(before), len(after))
    assert len(before - after) <= 3 * (5 + 1)


def test_after_the_pause_one_call_probes_the_provider(
    app: App, whatsapp: Provider, fake_clock: FakeClock
) -> None:
    whatsapp.behaviour = Behaviour.BROKEN
    send_notices(app, 30)
    lane = app.outbound()
    work(app, lane, fake_clock, 0)
    before = whatsapp.requests

    work(app, lane, fake_clock, 6)

    assert 1 == whatsapp.requests - before


def test_a_single_notice_survives_a_long_outage(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    whatsapp.behaviour = Behaviour.BROKEN
    send_notices(app)
    lane = app.outbound()
    for _ in range(20):
        work(app, lane, fake_clock, 400)
    whatsapp.behaviour = Behaviour.OK

    assert Tally(done=1) == work(app, lane, fake_clock, 400)
    assert {"sent"} == statuses(connection)


def test_a_notice_that_always_fails_is_dead_and_the_others_are_sent(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    """If other calls succeed, there is no outage: the failing notice has four executions."""
    whatsapp.by_number["6281234560000"] = Behaviour.BROKEN
    send_notices(app)
    lane, tallies = app.outbound(), []
    for number in range(1, 5):
        payload = {"recipientPhone": f"0812345699{number:02}", "message": "Halo"}
        send(app, TYPE, payload, queue=OUTBOUND)
        tallies.append(work(app, lane, fake_clock, 400))

    assert (3, 1, 4) == (
        sum(tally.retried for tally in tallies),
        sum(tally.dead for tally in tallies),
        sum(tally.done for tally in tallies),
    )
    assert ["exhausted"] == [letter.reason for letter in dead_letters(app)]
    assert {"sent", "failed"} == statuses(connection)


def test_a_repaired_token_resumes_the_lane(
    app: App, whatsapp: Provider, connection: Connection, fake_clock: FakeClock
) -> None:
    whatsapp.behaviour = Behaviour.BAD_TOKEN
    send_notices(app, 20)
    lane = app.outbound()

    with capture_logs() as lines:
        for _ in range(5):
            work(app, lane, fake_clock, 400)
        assert {TYPE: True} == lane.blocked
        whatsapp.behaviour = Behaviour.OK
        tally = work(app, lane, fake_clock, 400)

    assert (Tally(done=20), {TYPE: False}) == (tally, lane.blocked)
    assert ["lane.blocked", "lane.resumed"] == [
        line["event"] for line in lines if line["event"] in LANE
    ]
    assert {"sent"} == statuses(connection)
    assert {1} == {row["attempt"] for row in rows(connection, "sweeper.job_log")}


def test_a_429_is_not_an_outage(app: App, whatsapp: Provider, fake_clock: FakeClock) -> None:
    """DOMAIN 6: after Retry-After the lane continues, without a longer pause."""
    whatsapp.behaviours.extend([Behaviour.BUSY])
    send_notices(app)
    lane = app.outbound()
    work(app, lane, fake_clock, 0)

    assert Tally() == work(app, lane, fake_clock, 6)
    assert Tally(done=1) == work(app, lane, fake_clock, 2)


def test_order_jobs_do_not_wait_for_the_provider(
    app: App, whatsapp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep executes all order jobs before it makes the first call."""
    steps: list[str] = []
    for kind in (Drain, OutboundWorker):
        monkeypatch.setattr(kind, "step", recorded(kind.step, kind.__name__, steps))
    send_notices(app, 3)

    app.sweep().drain()

    assert ["Drain", "OutboundWorker", "Drain", "OutboundWorker"] == steps
    assert 3 == whatsapp.requests
