"""Several messages that carry one notice: it is sent once, and again only after a real crash."""

from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, insert, text
from structlog.testing import capture_logs

from jobs.tables import NOTIFICATION_LOG
from jobs.whatsapp.delivery import CARRIER_LOST_AFTER
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.outbound.in_flight import InFlight
from sweeper.postgres import clock
from tests.support.fake_provider import Provider, provider
from tests.support.faults import Injector, Moment
from tests.support.verbs import (
    NOW,
    OUTBOUND,
    Connect,
    OpenApp,
    drain,
    make_visible,
    messages,
    rows,
    send,
    wait_for_a_blocked_session,
    with_call,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
CREATED_AT = "2026-01-31T11:58:00.000Z"  # as `send` writes it into every message


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("cloud") as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings())


def add_notice(connection: Connection, **columns: Any) -> None:
    row = {
        "id": "cnotice",
        "recipientType": "PHONE",
        "recipientId": "0812-3456-7890",
        "channel": "WHATSAPP",
        "eventType": "ORDER_CANCELLED",
        "status": "queued",
        "metadata": {"orderId": "corder", "orderCode": "JST-1", "name": "Sari"},
        "createdAt": NOW,
    }
    connection.execute(insert(NOTIFICATION_LOG).values(row | columns))


def send_copy(app: App) -> int:
    """Enqueue a message for the notice, as the same sender does again; return its id."""
    return send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)


def notice(connection: Connection) -> dict[str, Any]:
    (row,) = rows(connection, '"NotificationLog"')
    return row


def kill_before_the_record(app: App) -> None:
    """Step a worker that is killed just before it records the result of its call."""
    worker = app.outbound()

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InFlight, "_record", die)
        with pytest.raises(KeyboardInterrupt):
            worker.step()


def lost_replies(lines: list[Any]) -> list[bool]:
    return [line["again"] for line in lines if line["event"] == "reply.lost"]


def test_a_copy_of_a_message_in_flight_is_postponed(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L1: no crash is assumed while another worker's call is in flight."""
    add_notice(connection)
    tallies = []

    def look(delivery: Any, call: Callable[[Any], Any]) -> Any:
        send_copy(app)
        tallies.append(app.outbound().step())
        return call(delivery)

    send_copy(app)
    with capture_logs() as lines:
        with_call(app, TYPE, look).outbound().step()
        assert tallies == [Tally(postponed=1)]
        make_visible(app)
        assert drain(app) == Tally(skipped=1)

    assert (notice(connection)["status"], len(whatsapp.deliveries)) == ("sent", 1)
    assert lost_replies(lines) == []


def test_a_copy_waits_for_the_message_of_a_crashed_worker(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: the message that was read before sends the notice again; its copies do not."""
    add_notice(connection)
    send_copy(app)
    kill_before_the_record(app)
    for _ in range(3):
        send_copy(app)

    with capture_logs() as lines:
        assert drain(app) == Tally(postponed=3)
        assert len(whatsapp.deliveries) == 1
        for _ in range(3):
            make_visible(app)
            drain(app)

    assert (notice(connection)["status"], len(whatsapp.deliveries)) == ("sent", 2)
    assert lost_replies(lines) == [True]
    assert messages(app, OUTBOUND) == []


def test_many_copies_and_many_crashes_send_a_notice_twice_at_most(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: one repetition after an unknown result, however many messages carry the notice."""
    add_notice(connection)
    for _ in range(4):
        send_copy(app)
    kill_before_the_record(app)
    make_visible(app)
    send_copy(app)
    kill_before_the_record(app)

    with capture_logs() as lines:
        for _ in range(5):
            make_visible(app)
            drain(app)

    assert (notice(connection)["status"], len(whatsapp.deliveries)) == ("failed", 2)
    assert lost_replies(lines) == [False]
    assert messages(app, OUTBOUND) == []


def test_a_copy_that_crashed_leaves_the_notice_to_its_carrier(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L1: it was read before, but it is another message's call that is in flight."""
    carrier = {"claim": CREATED_AT, "carrier": {"message": 99, "since": clock.now().isoformat()}}
    add_notice(connection, status="sending", metadata=carrier)
    send_copy(app)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 2"))
    assert drain(app) == Tally(postponed=1)

    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 5"))
    make_visible(app)

    assert drain(app) == Tally(dead=1)
    assert (notice(connection)["status"], whatsapp.requests) == ("sending", 0)


def test_a_copy_takes_over_from_a_message_that_is_gone(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L2: a purged or restored queue does not leave a notice in `sending` for ever."""
    since = clock.now() - CARRIER_LOST_AFTER
    carrier = {"claim": CREATED_AT, "carrier": {"message": 99, "since": since.isoformat()}}
    facts = {"orderId": "corder", "orderCode": "JST-1", "name": "Sari"}
    add_notice(connection, status="sending", metadata=facts | carrier)
    send_copy(app)

    with capture_logs() as lines:
        assert drain(app) == Tally(done=1)

    assert (notice(connection)["metadata"]["unknown"], len(whatsapp.deliveries)) == (1, 1)
    assert lost_replies(lines) == [True]


def test_two_workers_that_prepare_one_notice_at_the_same_time_send_it_once(
    open_app: OpenApp, whatsapp: Provider, connection: Connection, connect: Connect
) -> None:
    """L1: the second waits for the row of the first, and then finds it in `sending`."""
    app = open_app(**whatsapp.settings(), database__lock_timeout="30s")
    add_notice(connection)
    send_copy(app)
    first = connect()
    first.execute(text("""update "NotificationLog" set status = 'sending'"""))

    tallies: list[Any] = []
    second = Thread(target=lambda: tallies.append(app.outbound().step()))
    second.start()
    wait_for_a_blocked_session(connection)
    first.commit()
    second.join()

    assert (tallies, whatsapp.requests) == ([Tally(skipped=1)], 0)


def test_a_notice_whose_preparation_lost_its_answer_is_sent_at_once_and_once(
    app: App, connection: Connection, whatsapp: Provider, admin: psycopg.Connection
) -> None:
    """L5: the row says that it is being sent, but the message was given back before any call."""
    injector = Injector(admin, moment=Moment.AFTER)
    injector.attach(app)
    add_notice(connection)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    injector.at = len(injector.sent) + 4  # the read, two statements, and their commit

    assert Tally(postponed=1) == app.outbound().step()
    assert ("COMMIT", True) == (injector.sent[injector.at - 1], injector.fired)
    (row,) = rows(connection, '"NotificationLog"')
    assert ("sending", 0) == (row["status"], whatsapp.requests)
    make_visible(app)
    assert Tally(done=1) == drain(app)

    (row,) = rows(connection, '"NotificationLog"')
    assert ("sent", None, 1) == (row["status"], row["metadata"].get("unknown"), whatsapp.requests)
