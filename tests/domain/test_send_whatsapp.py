"""NOTIFICATION_SEND_WHATSAPP: a notice goes out, or its row says why not."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, insert, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from jobs.tables import NOTIFICATION_LOG
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import RejectedError
from tests.support.verbs import (
    HOUR,
    NOW,
    OUTBOUND,
    QUEUE,
    STORED_NOW,
    changed,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    send,
    sweep,
    with_call,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "NOTIFICATION_SEND_WHATSAPP"
PHONE = "0812-3456-7890"


def noticed(connection: Connection, notice_id: str = "cnotice", **columns: Any) -> str:
    """Add a row to NotificationLog, as whoever queues a notice does, and return its id."""
    row = {
        "id": notice_id,
        "recipientType": "PHONE",
        "recipientId": PHONE,
        "channel": "WHATSAPP",
        "eventType": "ORDER_CANCELLED",
        "status": "queued",
        "metadata": {"orderId": "corder", "orderCode": "JST-1", "name": "Sari"},
        "createdAt": NOW,
    }
    connection.execute(insert(NOTIFICATION_LOG).values(row | columns))
    return notice_id


def notice(connection: Connection, notice_id: str = "cnotice") -> dict[str, Any]:
    """Return a notice's row."""
    return next(one for one in rows(connection, '"NotificationLog"') if one["id"] == notice_id)


def test_a_notice_that_was_taken_is_sent(app: App, connection: Connection) -> None:
    """DOMAIN 6: `sent` when the provider took it; `delivered` only when one says so."""
    before = notice(connection, noticed(connection))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(done=1)

    difference = changed(before, notice(connection))
    metadata = difference.pop("metadata")
    assert difference == {"status": "sent", "sentAt": STORED_NOW}
    assert metadata == before["metadata"] | {"provider": "log"}
    assert job_outcomes(connection) == [(TYPE, "cnotice", "done", None)]


def test_while_the_call_is_out_the_notice_is_being_sent(app: App, connection: Connection) -> None:
    """DOMAIN 6: queued -> sending -> sent."""
    noticed(connection)
    seen = []

    def look(parcel: Any, call: Callable[[Any], Any]) -> Any:
        seen.append(notice(connection)["status"])
        return call(parcel)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    drain(with_call(app, TYPE, look))

    assert [*seen, notice(connection)["status"]] == ["sending", "sent"]


def test_no_transaction_is_open_during_the_call(app: App, connection: Connection) -> None:
    """L12: the database sees no session of ours in a transaction meanwhile."""
    noticed(connection)
    states = text(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and application_name = 'sweeper' and state <> 'idle'"
    )
    seen = []

    def look(parcel: Any, call: Callable[[Any], Any]) -> Any:
        seen.append(connection.execute(states).scalar_one())
        return call(parcel)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    drain(with_call(app, TYPE, look))

    assert seen == [0]


@pytest.mark.parametrize("phone", ["", "call me", "0812", "+62"])
def test_what_is_no_phone_fails_at_once(app: App, connection: Connection, phone: str) -> None:
    """DOMAIN 3: in the log of notifications, with no retries."""
    before = notice(connection, noticed(connection, recipientId=phone))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app).failed == 0

    difference = changed(before, notice(connection))
    assert (difference["status"], "sentAt" in difference) == ("failed", False)
    assert difference["errorMessage"]
    assert messages(app, OUTBOUND) == []


@pytest.mark.parametrize(
    "phone", ["08123456789", "6208123456789", "62+628123456789", "+14155550142"]
)
def test_every_spelling_of_a_number_is_one(app: App, connection: Connection, phone: str) -> None:
    """DOMAIN 3: mangled by a checkout, or foreign."""
    noticed(connection, recipientId=phone)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    drain(app)

    assert notice(connection)["status"] == "sent"


def test_one_bad_number_does_not_hold_up_the_others(app: App, connection: Connection) -> None:
    for number, phone in enumerate([PHONE, "nobody", PHONE]):
        noticed(connection, f"c{number}", recipientId=phone)
        send(app, TYPE, {"messageId": f"c{number}"}, queue=OUTBOUND)

    drain(app)

    assert [notice(connection, f"c{n}")["status"] for n in range(3)] == ["sent", "failed", "sent"]


@pytest.mark.parametrize("status", ["sent", "failed", "suppressed", "delivered"])
def test_what_was_decided_is_not_sent_again(app: App, connection: Connection, status: str) -> None:
    """L1: a message that comes twice, or too late, is skipped."""
    before = notice(connection, noticed(connection, status=status))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(skipped=1)
    assert notice(connection) == before


def test_an_unknown_notice_is_skipped(app: App, connection: Connection) -> None:
    send(app, TYPE, {"messageId": "no-such-notice"}, queue=OUTBOUND)

    assert drain(app) == Tally(skipped=1)
    assert [(key, outcome) for _, key, outcome, _ in job_outcomes(connection)] == [
        ("no-such-notice", "skipped")
    ]


@pytest.mark.parametrize("queue", [QUEUE, OUTBOUND])
def test_the_platforms_own_dialect_is_sent(app: App, connection: Connection, queue: str) -> None:
    """DOMAIN 5: phone, text and metadata, wherever the platform puts it."""
    payload = {
        "recipientPhone": PHONE,
        "message": "Halo Sari",
        "metadata": {"orderId": "corder", "eventType": "ORDER_PAID"},
    }
    send(app, TYPE, payload, queue=queue)

    with capture_logs() as lines:
        assert drain(app) == Tally(done=1)

    (sent,) = [line for line in lines if line["event"] == "notification.sent"]
    assert (sent["key"], sent["event_type"]) == ("corder", "ORDER_PAID")
    assert job_outcomes(connection) == [(TYPE, "corder", "done", None)]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"recipientPhone": PHONE},
        {"message": "Halo"},
        {"recipientPhone": PHONE, "message": ""},
        {"recipientPhone": 628, "message": "Halo"},
        {"messageId": ""},
        {"messageId": 5},
        {"recipientPhone": PHONE, "message": "Halo", "metadata": "orderId"},
    ],
    ids=str,
)
def test_what_names_neither_notice_nor_phone_is_dead_at_once(
    app: App, payload: dict[str, Any]
) -> None:
    send(app, TYPE, payload, queue=OUTBOUND)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["invalid"]


def test_a_provider_that_fails_is_asked_again(app: App, connection: Connection) -> None:
    """L5: the call that raised is retried; the notice is sent when it succeeds."""
    noticed(connection)
    outcomes = iter([ConnectionError("refused"), TimeoutError("too slow"), None])

    def answer(parcel: Any, call: Callable[[Any], Any]) -> Any:
        if trouble := next(outcomes):
            raise trouble
        return call(parcel)

    flaky = with_call(app, TYPE, answer)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    tallies = []
    for _ in range(3):
        tallies.append(drain(flaky))
        make_visible(app)

    assert tallies == [Tally(retried=1), Tally(retried=1), Tally(done=1)]
    assert notice(connection)["status"] == "sent"


def test_a_notice_whose_retries_are_used_up_has_failed(app: App, connection: Connection) -> None:
    """DOMAIN 6: sent, failed or suppressed in the end, and never `sending` for good."""
    noticed(connection)

    def answer(_parcel: Any, _call: Callable[[Any], Any]) -> Any:
        message = "refused"
        raise ConnectionError(message)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND, maxRetries=1)
    for _ in range(2):
        drain(with_call(app, TYPE, answer))
        make_visible(app)

    assert [letter.reason for letter in dead_letters(app)] == ["exhausted"]
    row = notice(connection)
    assert (row["status"], row["sentAt"]) == ("failed", None)
    assert "refused" in row["errorMessage"]


def test_a_provider_that_refuses_one_keeps_the_others_going(
    app: App, connection: Connection
) -> None:
    """A failed call is one notice's failure; the calls beside it are recorded as sent."""
    for number in range(3):
        noticed(connection, f"c{number}", recipientId=f"0812345678{number}")
        send(app, TYPE, {"messageId": f"c{number}"}, queue=OUTBOUND)

    def answer(parcel: Any, call: Callable[[Any], Any]) -> Any:
        if parcel.phone.endswith("1"):
            message = "no such account"
            raise RejectedError(message)
        return call(parcel)

    tally = drain(with_call(app, TYPE, answer))

    assert tally == Tally(done=2, dead=1)
    assert [notice(connection, f"c{n}")["status"] for n in (0, 2)] == ["sent", "sent"]
    (letter,) = dead_letters(app)
    assert (letter.reason, letter.attempts) == ("rejected", 1)


def test_an_event_without_a_text_is_rejected(app: App, connection: Connection) -> None:
    """No retry would find a text for it."""
    noticed(connection, eventType="ORDER_SHIPPED")
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["rejected"]
    assert notice(connection)["status"] == "failed"


def test_no_full_phone_number_is_logged(app: App, shop: Shop, connection: Connection) -> None:
    """L11: in no event of a whole pass, whether the number is good or bad."""
    numbers = ["0812-9988-7766", "+1 415 555 0142", "999888777666555444333"]
    for phone in numbers:
        shop.order(age=HOUR, participant=shop.participant(phone=phone))
    send(app, TYPE, {"recipientPhone": PHONE, "message": "Halo"})
    send(app, TYPE, {"recipientPhone": PHONE, "message": ""})

    with capture_logs() as lines:
        sweep(app)

    told = json.dumps(lines, default=str)
    assert [line for line in lines if line["event"] == "notification.failed"]
    for phone in (*numbers, PHONE):
        digits = "".join(filter(str.isdigit, phone))
        assert phone not in told
        assert digits not in told
        assert digits.lstrip("0") not in told
    assert "Halo" not in told
    assert "Halo" not in json.dumps(rows(connection, "sweeper.job_log"), default=str)
