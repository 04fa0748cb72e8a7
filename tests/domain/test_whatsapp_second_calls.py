"""A notice whose reply was lost is sent once more, but not into the outage that lost its reply."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from sweeper.outbound.worker import OutboundWorker
from sweeper.retry import LONGEST_REST
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.verbs import OUTBOUND, OpenApp, messages, rows, send

TYPE = "NOTIFICATION_SEND_WHATSAPP"
OUTAGE = 60.0  # seconds that the tests let pass while the provider loses its replies


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("cloud") as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings(rate=1_000))


class Clock:
    """The clock of the lanes, and how much older the messages of the queue have become."""

    def __init__(self, connection: Connection) -> None:
        self.now = 1_000.0
        self._connection = connection

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self.now

    def passes(self, seconds: float) -> None:
        """Let the time pass, for the lanes and for the queue."""
        self.now += seconds
        older = "update pgmq.q_{} set vt = vt - {} * s, enqueued_at = enqueued_at - {} * s from {}"
        one = "(select interval '1 second' as s) as one"
        self._connection.execute(text(older.format(OUTBOUND, seconds, seconds, one)))


@pytest.fixture
def clock(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock(connection)
    monkeypatch.setattr("sweeper.outbound.call_pool.monotonic", made)
    return made


def send_notices(app: App, *names: str) -> None:
    """Enqueue a message with a phone and a text for each of *names*."""
    for name in names:
        payload = {"recipientPhone": "0812345678901", "message": name}
        send(app, TYPE, payload, queue=OUTBOUND)


def work_off(*lanes: OutboundWorker) -> None:
    """Step the lanes until no message is visible, or they rest."""
    for lane in lanes:
        while lane.step():
            pass


def sent(whatsapp: Provider) -> list[str]:
    """Return the texts that the provider accepted."""
    return sorted(each.body["text"]["body"] for each in whatsapp.deliveries)


def statuses(connection: Connection) -> list[str]:
    return sorted(row["status"] for row in rows(connection, '"NotificationLog"'))


@pytest.fixture
def lanes(app: App) -> tuple[OutboundWorker, OutboundWorker]:
    """Return the lanes of two processes, each with a circuit breaker of its own."""
    return app.outbound(), app.outbound()


def test_another_process_does_not_spend_the_second_call_into_the_outage(
    app: App,
    whatsapp: Provider,
    connection: Connection,
    clock: Clock,
    lanes: tuple[OutboundWorker, OutboundWorker],
) -> None:
    """L1: one process has lost the replies, and the other's circuit breaker is still closed."""
    whatsapp.behaviour = Behaviour.GARBAGE
    send_notices(app, "a", "b", "c")
    work_off(lanes[0])

    for _ in range(6):
        clock.passes(OUTAGE / 6)
        work_off(*lanes)

    assert (["a", "b", "c"], ["queued"] * 3) == (sent(whatsapp), statuses(connection))


def test_second_calls_are_made_once_the_provider_answers_again(
    app: App,
    whatsapp: Provider,
    connection: Connection,
    clock: Clock,
    lanes: tuple[OutboundWorker, OutboundWorker],
) -> None:
    """L1, L5: a later notice finds the provider; those whose reply was lost follow at once."""
    whatsapp.behaviour = Behaviour.GARBAGE
    send_notices(app, "a", "b", "c")
    work_off(lanes[0])
    clock.passes(OUTAGE)
    whatsapp.behaviour = Behaviour.OK
    send_notices(app, "d")
    work_off(lanes[0])

    assert ["a", "a", "b", "b", "c", "c", "d"] == sent(whatsapp)
    assert ["sent"] * 4 == statuses(connection)
    attempts = {row["attempt"] for row in rows(connection, "sweeper.job_log")}
    assert {1} == attempts


def test_a_second_call_waits_no_longer_than_stated(
    app: App,
    whatsapp: Provider,
    connection: Connection,
    clock: Clock,
    lanes: tuple[OutboundWorker, OutboundWorker],
) -> None:
    """L2: where nothing else is sent, and where its process is gone, it is made all the same."""
    whatsapp.behaviours.append(Behaviour.GARBAGE)
    send_notices(app, "a")
    work_off(lanes[0])
    assert LONGEST_REST.total_seconds() >= messages(app, OUTBOUND)[0].delay.total_seconds()

    clock.passes(LONGEST_REST.total_seconds())
    work_off(lanes[1])

    assert (["a", "a"], ["sent"]) == (sent(whatsapp), statuses(connection))


def test_a_single_lost_reply_waits_for_its_backoff_and_for_a_success(
    app: App,
    whatsapp: Provider,
    connection: Connection,
    clock: Clock,
    lanes: tuple[OutboundWorker, OutboundWorker],
) -> None:
    """L5: what another notice's success shows is that the failure was its own: it is retried."""
    whatsapp.behaviours.append(Behaviour.LOST)
    send_notices(app, "a")
    work_off(lanes[0])
    clock.passes(1)
    send_notices(app, "b")
    work_off(lanes[0])
    (waiting,) = messages(app, OUTBOUND)

    assert 1 < waiting.delay.total_seconds() <= 10
    clock.passes(10)
    work_off(lanes[1])
    assert (["a", "a", "b"], ["sent"] * 2) == (sent(whatsapp), statuses(connection))
    assert {1, 2} == {row["attempt"] for row in rows(connection, "sweeper.job_log")}
