"""What a provider replies, and the result in NotificationLog, in the queue and in the log."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from jobs.send_whatsapp import NO_REPLY
from jobs.tables import NOTIFICATION_LOG
from sweeper import Answer, Batch, Outside
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.cli.checks.finding import Level
from sweeper.cli.doctor import examine
from sweeper.errors import SettingsError
from sweeper.outbound.in_flight import InFlight
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.fake_provider import TOKEN, Behaviour, Provider, provider
from tests.support.verbs import (
    NOW,
    OUTBOUND,
    Connect,
    OpenApp,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    send,
    with_handler,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
PHONE, NUMBER = "0812-3456-7890", "6281234567890"


@pytest.fixture(params=["cloud", "fonnte"])
def whatsapp(request: pytest.FixtureRequest) -> Iterator[Provider]:
    with provider(request.param) as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings())


def add_notice(app: App, connection: Connection, name: str = "cnotice", **columns: Any) -> str:
    """Add a notice and its message, as a change of an order does; return its id."""
    row = {
        "id": name,
        "recipientType": "PHONE",
        "recipientId": PHONE,
        "channel": "WHATSAPP",
        "eventType": "ORDER_CANCELLED",
        "status": "queued",
        "metadata": {"orderId": f"o-{name}", "orderCode": "JST-1", "name": "Sari\nWulandari"},
        "createdAt": NOW,
    }
    connection.execute(insert(NOTIFICATION_LOG).values(row | columns))
    send(app, TYPE, {"messageId": name}, queue=OUTBOUND)
    return name


def notice(connection: Connection, name: str = "cnotice") -> dict[str, Any]:
    return next(row for row in rows(connection, '"NotificationLog"') if row["id"] == name)


def logged(lines: list[Any], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


def delays(app: App) -> list[float]:
    return [message.delay.total_seconds() for message in messages(app, OUTBOUND)]


def test_a_message_that_the_provider_accepts_is_sent(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: the row has sentAt, the provider's id of the message, and the id of the order."""
    add_notice(app, connection)

    with capture_logs() as lines:
        assert drain(app) == Tally(done=1)

    row = notice(connection)
    assert (row["status"], row["errorMessage"]) == ("sent", None)
    assert row["sentAt"] is not None
    assert row["metadata"].items() >= {"provider": whatsapp.kind, "orderId": "o-cnotice"}.items()
    assert row["metadata"]["providerMessageId"]
    assert [delivery.to for delivery in whatsapp.deliveries] == [NUMBER]
    (line,) = logged(lines, "notification.sent")
    assert (line["to"], line["provider"]) == ("6281****890", whatsapp.kind)
    assert job_outcomes(connection) == [(TYPE, "cnotice", "done", None)]


def test_a_number_without_whatsapp_fails_at_once(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: a retry cannot help, and no alert is raised."""
    whatsapp.behaviour = Behaviour.BAD_NUMBER
    add_notice(app, connection)

    with capture_logs() as lines:
        assert drain(app) == Tally(skipped=1)

    assert (notice(connection)["status"], notice(connection)["sentAt"]) == ("failed", None)
    assert (messages(app, OUTBOUND), dead_letters(app), whatsapp.requests) == ([], [], 1)
    assert logged(lines, "notification.failed")
    assert not logged(lines, "job.dead")


def test_an_invalid_request_is_dead_at_once(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: other 4xx responses; a retry of the dead letter can send the notice later."""
    whatsapp.behaviours.append(Behaviour.BAD_REQUEST)
    add_notice(app, connection)

    assert drain(app) == Tally(dead=1)

    (letter,) = dead_letters(app)
    assert (letter.reason, letter.attempts) == ("rejected", 1)
    assert notice(connection)["status"] == "failed"

    app.dead_letter_queue.retry(DeadLetterFilter([letter.msg_id]))
    assert drain(app) == Tally(done=1)
    assert notice(connection)["status"] == "sent"


def test_an_invalid_token_blocks_the_lane_and_costs_no_attempts(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: no more calls are made; all messages wait, and one event is logged."""
    whatsapp.behaviour = Behaviour.BAD_TOKEN
    names = [add_notice(app, connection, f"c{number}") for number in range(30)]

    with capture_logs() as lines:
        tally = drain(app)

    assert tally.failed == 0
    assert whatsapp.requests <= app.settings.queue.batch
    assert whatsapp.requests <= 8
    assert {notice(connection, name)["status"] for name in names} == {"queued"}
    waiting = messages(app, OUTBOUND)
    assert {(m.read_ct, m.body["retryCount"]) for m in waiting} == {(0, 0)}
    assert 0 < max(delays(app)) <= 1
    (line,) = logged(lines, "lane.blocked")
    assert line["log_level"] == "error"
    assert dead_letters(app) == []


def test_a_429_is_postponed_by_retry_after_and_costs_no_attempts(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: Retry-After postpones all messages of the lane."""
    whatsapp.behaviour, whatsapp.retry_after = Behaviour.BUSY, "120"
    for number in range(12):
        add_notice(app, connection, f"c{number}")

    assert drain(app).failed == 0

    waiting = messages(app, OUTBOUND)
    assert len(waiting) == 12
    assert {(m.read_ct, m.body["retryCount"]) for m in waiting} == {(0, 0)}
    assert 110 < min(delays(app)) <= max(delays(app)) <= 121
    assert whatsapp.requests <= 8


def test_a_server_error_of_the_provider_is_retried(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6, L5: the failed call counts as an attempt; the row is queued until the retry."""
    whatsapp.behaviours.append(Behaviour.BROKEN)
    add_notice(app, connection)

    assert drain(app) == Tally(retried=1)
    row = notice(connection)
    assert (row["status"], row["sentAt"]) == ("queued", None)
    assert row["errorMessage"]
    assert [m.body["retryCount"] for m in messages(app, OUTBOUND)] == [1]

    make_visible(app)
    assert drain(app) == Tally(done=1)
    row = notice(connection)
    assert (row["status"], row["errorMessage"]) == ("sent", None)


def test_an_unreachable_provider_is_retried(
    open_app: OpenApp, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: a refused connection cannot have sent anything, so nothing is unknown."""
    app = open_app(**whatsapp.settings(base_url="http://127.0.0.1:9"))
    add_notice(app, connection)

    assert drain(app) == Tally(retried=1)
    assert "unknown" not in notice(connection)["metadata"]


@pytest.mark.parametrize(
    "behaviour", [Behaviour.HANG, Behaviour.RESET, Behaviour.LOST, Behaviour.GARBAGE]
)
def test_a_notice_with_a_lost_reply_is_unknown_and_sent_once_more(
    app: App, whatsapp: Provider, connection: Connection, behaviour: Behaviour
) -> None:
    """DOMAIN 6: it is recorded as unknown, and sent twice at most."""
    whatsapp.behaviours.append(behaviour)
    add_notice(app, connection)

    with capture_logs() as lines:
        assert drain(app) == Tally(retried=1)
    row = notice(connection)
    assert (row["status"], row["sentAt"], row["metadata"]["unknown"]) == ("queued", None, 1)
    assert [line["again"] for line in logged(lines, "reply.lost")] == [True]

    make_visible(app)
    assert drain(app) == Tally(done=1)
    row = notice(connection)
    assert (row["status"], row["metadata"]["unknown"]) == ("sent", 1)
    assert len(whatsapp.deliveries) == 2


def test_a_notice_with_two_lost_replies_is_failed(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    whatsapp.behaviour = Behaviour.LOST
    add_notice(app, connection)

    for _ in range(6):
        drain(app)
        make_visible(app)

    row = notice(connection)
    assert (row["status"], row["errorMessage"]) == ("failed", NO_REPLY)
    assert (row["sentAt"], row["metadata"]["unknown"]) == (None, 2)
    assert len(whatsapp.deliveries) == 2
    assert (messages(app, OUTBOUND), dead_letters(app)) == ([], [])


def test_a_notice_whose_job_is_exhausted_is_failed(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: it does not stay in `sending`; a retry of the dead letter can send it later."""
    whatsapp.behaviours.append(Behaviour.BROKEN)
    add_notice(app, connection)
    no_retries = text(f"update pgmq.q_{OUTBOUND} set message = message || :none")
    connection.execute(no_retries, {"none": '{"maxRetries": 0}'})

    assert drain(app) == Tally(dead=1)

    assert notice(connection)["status"] == "failed"
    (letter,) = dead_letters(app)
    assert letter.reason == "exhausted"
    app.dead_letter_queue.retry(DeadLetterFilter([letter.msg_id]))
    assert drain(app) == Tally(done=1)
    assert notice(connection)["status"] == "sent"


def test_a_notice_whose_job_crashed_too_often_is_failed(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L5: after five reads without a result, the row does not stay in `sending`."""
    add_notice(app, connection, status="sending")
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 5"))

    assert drain(app) == Tally(dead=1)

    assert notice(connection)["status"] == "failed"
    (letter,) = dead_letters(app)
    assert (letter.reason, letter.attempts) == ("crashed", 5)
    assert job_outcomes(connection) == [(TYPE, "cnotice", "dead", "crashed")]
    assert whatsapp.requests == 0


def test_a_message_with_phone_and_text_gets_a_row(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: the row is added at the first read, with text, order and status."""
    facts = {"orderId": "o1", "eventType": "ORDER_PAID", "courier": "JNE"}
    payload = {"recipientPhone": PHONE, "message": "Halo {name}", "metadata": facts}
    send(app, TYPE, payload, queue=OUTBOUND)

    assert drain(app) == Tally(done=1)

    (row,) = rows(connection, '"NotificationLog"')
    assert (row["recipientType"], row["recipientId"], row["channel"]) == (
        "PHONE",
        NUMBER,
        "WHATSAPP",
    )
    assert (row["eventType"], row["status"]) == ("ORDER_PAID", "sent")
    assert row["metadata"].items() >= {**facts, "message": "Halo {name}"}.items()
    (delivery,) = whatsapp.deliveries
    assert "Halo {name}" in json.dumps(delivery.body)


@pytest.mark.parametrize("behaviour", [Behaviour.BROKEN, Behaviour.LOST])
def test_a_message_with_phone_and_text_is_one_notice_through_all_retries(
    app: App, whatsapp: Provider, connection: Connection, behaviour: Behaviour
) -> None:
    whatsapp.behaviours.append(behaviour)
    send(app, TYPE, {"recipientPhone": PHONE, "message": "Halo"}, queue=OUTBOUND)

    drain(app)
    make_visible(app)
    drain(app)

    assert [row["status"] for row in rows(connection, '"NotificationLog"')] == ["sent"]


def test_a_second_message_for_the_same_order_and_event_is_skipped(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: an order has one notice for each event."""
    facts = {"orderId": "o1", "eventType": "ORDER_PAID"}
    for message in ("Halo", "Halo lagi"):
        payload = {"recipientPhone": PHONE, "message": message, "metadata": facts}
        send(app, TYPE, payload, queue=OUTBOUND)

    assert drain(app) == Tally(done=1, skipped=1)

    assert len(rows(connection, '"NotificationLog"')) == 1
    assert len(whatsapp.deliveries) == 1


def test_a_notice_for_another_channel_is_skipped(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    add_notice(app, connection, channel="EMAIL")

    assert drain(app) == Tally(skipped=1)
    assert (notice(connection)["status"], whatsapp.requests) == ("queued", 0)


@pytest.mark.parametrize("behaviour", Behaviour)
def test_no_number_no_token_and_no_text_is_logged(
    app: App, whatsapp: Provider, connection: Connection, behaviour: Behaviour
) -> None:
    """L11: not in events, dead letters, messages or the job log, whatever the provider quotes."""
    whatsapp.behaviour = behaviour
    add_notice(app, connection)

    with capture_logs() as lines:
        for _ in range(5):
            drain(app)
            make_visible(app)

    stored = json.dumps(
        [
            lines,
            [letter.error for letter in dead_letters(app)],
            [message.body for message in messages(app, OUTBOUND)],
            rows(connection, "sweeper.job_log"),
        ],
        default=str,
    )
    for secret in (PHONE, NUMBER, NUMBER[2:], TOKEN, "Halo"):
        assert secret not in stored


def test_a_missing_token_blocks_the_lane(
    open_app: OpenApp, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: no notice is lost; the event names the missing setting."""
    app = open_app(**whatsapp.settings(token=None))
    add_notice(app, connection)

    with capture_logs() as lines:
        assert drain(app) == Tally(postponed=1)

    assert whatsapp.requests == 0
    (line,) = logged(lines, "lane.blocked")
    assert "whatsapp.token is not set" in line["error"]


def test_a_crash_between_call_and_record_is_unknown(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """DOMAIN 6: the row is in `sending`; it is sent once more, and that is recorded."""
    add_notice(app, connection)
    kill_after_the_call(app)
    assert (notice(connection)["status"], len(whatsapp.deliveries)) == ("sending", 1)
    make_visible(app)

    with capture_logs() as lines:
        assert drain(app) == Tally(done=1)

    row = notice(connection)
    assert (row["status"], row["metadata"]["unknown"]) == ("sent", 1)
    assert [line["again"] for line in logged(lines, "reply.lost")] == [True]
    assert len(whatsapp.deliveries) == 2


def test_a_notice_with_two_crashes_after_the_call_is_failed(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    add_notice(app, connection)
    for _ in range(2):
        kill_after_the_call(app)
        make_visible(app)

    assert drain(app) == Tally(skipped=1)

    row = notice(connection)
    assert (row["status"], row["errorMessage"]) == ("failed", NO_REPLY)
    assert len(whatsapp.deliveries) == 2


def test_a_notice_in_sending_is_not_sent_by_another_message(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L1: a message that was created at another time finds the row in `sending`, and is skipped."""
    add_notice(app, connection)
    kill_after_the_call(app)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND, createdAt="2026-02-01T00:00:00.000Z")

    assert drain(app) == Tally(skipped=1)

    assert (notice(connection)["status"], len(whatsapp.deliveries)) == ("sending", 1)


def test_a_result_that_could_not_be_recorded_is_kept(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L5: the connection is lost after the call; the next step records the result."""
    add_notice(app, connection)
    handler = app.catalog.job(TYPE).handler
    assert isinstance(handler, Outside)
    disconnects = iter([True, False])

    def record(batch: Batch[Any], answers: Mapping[int, Answer]) -> None:
        if next(disconnects):
            batch.tx.execute(text("select pg_terminate_backend(pg_backend_pid())"))
        handler.record(batch, answers)

    lane = with_handler(app, TYPE, replace(handler, record=record)).outbound()
    with pytest.raises(OperationalError):
        lane.step()
    assert (notice(connection)["status"], lane.active) == ("sending", 1)

    assert lane.step() == Tally(done=1)

    row = notice(connection)
    assert (row["status"], "unknown" in row["metadata"]) == ("sent", False)
    assert (whatsapp.requests, lane.active) == (1, 0)


def test_a_result_that_meets_the_databases_trouble_is_kept(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """L1, L5: a deadlock after the call is not the job's; it is recorded without another call."""
    add_notice(app, connection)
    handler = app.catalog.job(TYPE).handler
    assert isinstance(handler, Outside)
    deadlock = text("do $$ begin raise exception 'too bad' using errcode = '40P01'; end $$")
    troubles = iter([deadlock])

    def record(batch: Batch[Any], answers: Mapping[int, Answer]) -> None:
        for trouble in troubles:
            batch.tx.execute(trouble)
        handler.record(batch, answers)

    lane = with_handler(app, TYPE, replace(handler, record=record)).outbound()

    assert Tally(done=1) == lane.step()
    assert ("sent", 1) == (notice(connection)["status"], whatsapp.requests)


def test_a_locked_notice_is_postponed(
    open_app: OpenApp, whatsapp: Provider, connection: Connection, connect: Connect
) -> None:
    """L5: the lock of another session costs a short delay and no attempt."""
    app = open_app(**whatsapp.settings(), database__lock_timeout="100ms")
    add_notice(app, connection)
    connect().execute(text('select from "NotificationLog" for update'))

    assert app.outbound().step() == Tally(postponed=1)

    (message,) = messages(app, OUTBOUND)
    assert (message.read_ct, message.body["retryCount"], whatsapp.requests) == (0, 0, 0)


def test_a_call_timeout_must_be_shorter_than_the_visibility_timeout(
    open_app: OpenApp, whatsapp: Provider
) -> None:
    """DOMAIN 6: otherwise the lane does not start."""
    app = open_app(**whatsapp.settings(timeout="30s"))

    with pytest.raises(SettingsError, match=r"not less than queue\.visibility"):
        app.outbound()


def test_the_logged_duration_includes_the_call(
    app: App, whatsapp: Provider, connection: Connection
) -> None:
    """A slow provider is visible in the log and in the metrics."""
    whatsapp.latency = 0.3
    add_notice(app, connection)

    with capture_logs() as lines:
        drain(app)

    (batch,) = [line for line in logged(lines, "batch.done") if line["type"] == TYPE]
    assert batch["duration_ms"] >= 300


def test_missing_settings_of_the_provider_are_logged_at_the_start(open_app: OpenApp) -> None:
    app = open_app(whatsapp__provider="cloud")

    with capture_logs() as lines:
        app.outbound()

    problems = [line["problem"] for line in logged(lines, "settings.lacked")]
    assert [problem.split()[0] for problem in problems] == [
        "whatsapp.token",
        "whatsapp.phone_number_id",
    ]
    found = {finding.what: finding.level for finding in examine(app)}
    assert [found[problem] for problem in problems] == [Level.WARNING, Level.WARNING]


class Killed(BaseException):
    """Ends a worker without any clean-up."""


def kill_after_the_call(app: App) -> None:
    """Step a worker that is killed just before it records the result."""
    worker = app.outbound()

    def die(*_: Any) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InFlight, "_record", die)
        with pytest.raises(Killed):
            worker.step()
