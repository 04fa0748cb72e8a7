"""NOTIFICATION_SEND_WHATSAPP: a notice is sent, or its row says why not."""

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


def add_notice(connection: Connection, notice_id: str = "cnotice", **columns: Any) -> str:
    """Add a queued notice to NotificationLog; return its id."""
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
    """Return the row of a notice."""
    return next(one for one in rows(connection, '"NotificationLog"') if one["id"] == notice_id)


def test_a_notice_that_the_provider_accepts_is_sent(app: App, connection: Connection) -> None:
    """DOMAIN 6: `sent` means that the provider accepted it; the sweeper never sets `delivered`."""
    before = notice(connection, add_notice(connection))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(done=1)

    difference = changed(before, notice(connection))
    metadata = difference.pop("metadata")
    number = "6281234567890"
    assert difference == {"status": "sent", "sentAt": STORED_NOW, "recipientId": number}
    assert metadata == before["metadata"] | {"provider": "log", "recipientAsWritten": PHONE}
    assert job_outcomes(connection) == [(TYPE, "cnotice", "done", None)]


def test_the_notice_is_in_the_status_sending_during_the_call(
    app: App, connection: Connection
) -> None:
    """DOMAIN 6: the statuses are queued -> sending -> sent."""
    add_notice(connection)
    seen = []

    def look(delivery: Any, call: Callable[[Any], Any]) -> Any:
        seen.append(notice(connection)["status"])
        return call(delivery)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    drain(with_call(app, TYPE, look))

    assert [*seen, notice(connection)["status"]] == ["sending", "sent"]


def test_a_status_that_the_platform_sets_during_the_call_stays(
    app: App, connection: Connection
) -> None:
    """DOMAIN 6: a final status is nobody's to change; a provider may report before it answers."""
    add_notice(connection)
    delivered = text("""update "NotificationLog" set status = 'delivered'""")

    def deliver(delivery: Any, call: Callable[[Any], Any]) -> Any:
        connection.execute(delivered)
        return call(delivery)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    drain(with_call(app, TYPE, deliver))

    assert "delivered" == notice(connection)["status"]


def test_no_transaction_is_open_during_the_call(app: App, connection: Connection) -> None:
    """L12: no session of the sweeper is in a transaction while the provider is called."""
    add_notice(connection)
    states = text(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and application_name = 'sweeper' and state <> 'idle'"
    )
    seen = []

    def look(delivery: Any, call: Callable[[Any], Any]) -> Any:
        seen.append(connection.execute(states).scalar_one())
        return call(delivery)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    drain(with_call(app, TYPE, look))

    assert seen == [0]


@pytest.mark.parametrize("phone", ["", "call me", "0812", "+62"])
def test_an_invalid_phone_fails_at_once(app: App, connection: Connection, phone: str) -> None:
    """DOMAIN 3: its row in NotificationLog is failed, without retries."""
    before = notice(connection, add_notice(connection, recipientId=phone))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app).failed == 0

    difference = changed(before, notice(connection))
    assert (difference["status"], "sentAt" in difference) == ("failed", False)
    assert difference["errorMessage"]
    assert messages(app, OUTBOUND) == []


@pytest.mark.parametrize(
    ("phone", "number"),
    [
        ("08123456789", "628123456789"),
        ("6208123456789", "628123456789"),
        ("62+628123456789", "628123456789"),
        ("+14155550142", "14155550142"),
    ],
)
def test_the_row_holds_the_number_that_the_provider_was_given(
    app: App, connection: Connection, phone: str, number: str
) -> None:
    """DOMAIN 3: one person has one history; the spelling as it came stays in the metadata."""
    add_notice(connection, recipientId=phone)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    drain(app)

    row = notice(connection)
    assert (row["status"], row["recipientId"]) == ("sent", number)
    assert row["metadata"]["recipientAsWritten"] == phone


def test_a_number_in_its_final_form_needs_no_note(app: App, connection: Connection) -> None:
    add_notice(connection, recipientId="628123456789")
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    drain(app)

    row = notice(connection)
    assert (row["status"], row["recipientId"]) == ("sent", "628123456789")
    assert "recipientAsWritten" not in row["metadata"]


@pytest.mark.parametrize("phone", ["08123456789", "+14155550142"])
def test_a_retried_notice_goes_to_the_same_number(
    app: App, connection: Connection, phone: str
) -> None:
    """DOMAIN 3: a foreign number without its plus sign would not be taken for one."""
    add_notice(connection, recipientId=phone)
    numbers = []

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        numbers.append(delivery.number)
        if len(numbers) == 1:
            raise TimeoutError
        return call(delivery)

    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    for _ in range(2):
        drain(with_call(app, TYPE, answer))
        make_visible(app)

    row = notice(connection)
    assert (row["status"], numbers) == ("sent", [row["recipientId"]] * 2)
    assert row["metadata"]["recipientAsWritten"] == phone


@pytest.mark.parametrize("written", ["+14155550142", "", 7, None])
def test_a_wrong_note_about_the_spelling_changes_no_recipient(
    app: App, connection: Connection, written: Any
) -> None:
    """L3: the metadata can be written by others, and it is never where a notice goes."""
    facts = {"orderCode": "JST-1", "name": "Sari", "recipientAsWritten": written}
    add_notice(connection, recipientId=PHONE, metadata=facts)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    drain(app)

    assert notice(connection)["recipientId"] == "6281234567890"


def test_an_invalid_number_does_not_delay_other_notices(app: App, connection: Connection) -> None:
    for number, phone in enumerate([PHONE, "nobody", PHONE]):
        add_notice(connection, f"c{number}", recipientId=phone)
        send(app, TYPE, {"messageId": f"c{number}"}, queue=OUTBOUND)

    drain(app)

    assert [notice(connection, f"c{n}")["status"] for n in range(3)] == ["sent", "failed", "sent"]


@pytest.mark.parametrize("status", ["sent", "failed", "suppressed", "delivered"])
def test_a_notice_with_a_final_status_is_not_sent_again(
    app: App, connection: Connection, status: str
) -> None:
    """L1: a second or a late message for the notice is skipped."""
    before = notice(connection, add_notice(connection, status=status))
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(skipped=1)
    assert notice(connection) == before


def test_a_notice_whose_row_comes_late_is_sent(app: App, connection: Connection) -> None:
    """L2: the platform may send the message before it commits the row."""
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)
    assert drain(app) == Tally(retried=1)

    add_notice(connection)
    make_visible(app)

    assert drain(app) == Tally(done=1)
    assert notice(connection)["status"] == "sent"


def test_a_notice_without_a_row_is_retried_and_then_dead(app: App, connection: Connection) -> None:
    """L2: a message is not dropped silently; a person sees its dead letter."""
    add_notice(connection)
    send(app, TYPE, {"messageId": "no-such-notice"}, queue=OUTBOUND, maxRetries=1)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    tallies = [drain(app)]
    make_visible(app)
    tallies.append(drain(app))

    assert tallies == [Tally(done=1, retried=1), Tally(dead=1)]
    (letter,) = dead_letters(app)
    assert (letter.reason, letter.attempts) == ("exhausted", 2)
    assert "no notice" in letter.error


@pytest.mark.parametrize("queue", [QUEUE, OUTBOUND])
def test_a_payload_with_phone_and_text_is_sent(
    app: App, connection: Connection, queue: str
) -> None:
    """DOMAIN 5: the platform's own format, in whichever queue the platform puts it."""
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
def test_an_invalid_payload_is_dead_at_once(app: App, payload: dict[str, Any]) -> None:
    send(app, TYPE, payload, queue=OUTBOUND)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["invalid"]


def test_a_failed_call_is_retried(app: App, connection: Connection) -> None:
    """L5: a call that raises is retried; the notice is sent when a call succeeds."""
    add_notice(connection)
    outcomes = iter([ConnectionError("refused"), TimeoutError("too slow"), None])

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        if error := next(outcomes):
            raise error
        return call(delivery)

    flaky = with_call(app, TYPE, answer)
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    tallies = []
    for _ in range(3):
        tallies.append(drain(flaky))
        make_visible(app)

    assert tallies == [Tally(retried=1), Tally(retried=1), Tally(done=1)]
    assert notice(connection)["status"] == "sent"


def test_a_notice_whose_retries_are_exhausted_is_failed(app: App, connection: Connection) -> None:
    """DOMAIN 6: a notice does not stay in the status `sending`."""
    add_notice(connection)

    def answer(_delivery: Any, _call: Callable[[Any], Any]) -> Any:
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


def test_a_rejected_notice_does_not_affect_the_others(app: App, connection: Connection) -> None:
    """A failed call fails one notice; the other calls of the batch are recorded as sent."""
    for number in range(3):
        add_notice(connection, f"c{number}", recipientId=f"0812345678{number}")
        send(app, TYPE, {"messageId": f"c{number}"}, queue=OUTBOUND)

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        if delivery.phone.endswith("1"):
            message = "no such account"
            raise RejectedError(message)
        return call(delivery)

    tally = drain(with_call(app, TYPE, answer))

    assert tally == Tally(done=2, dead=1)
    assert [notice(connection, f"c{n}")["status"] for n in (0, 2)] == ["sent", "sent"]
    (letter,) = dead_letters(app)
    assert (letter.reason, letter.attempts) == ("rejected", 1)


def test_an_event_without_a_text_is_rejected(app: App, connection: Connection) -> None:
    """It is dead at once, because a retry cannot help."""
    add_notice(connection, eventType="ORDER_SHIPPED")
    send(app, TYPE, {"messageId": "cnotice"}, queue=OUTBOUND)

    assert drain(app) == Tally(dead=1)
    assert [letter.reason for letter in dead_letters(app)] == ["rejected"]
    assert notice(connection)["status"] == "failed"


def test_no_full_phone_number_is_logged(app: App, shop: Shop, connection: Connection) -> None:
    """L11: no event of a whole sweep has one, whether the number is valid or not."""
    numbers = ["0812-9988-7766", "+1 415 555 0142", "999888777666555444333"]
    for phone in numbers:
        shop.order(age=HOUR, participant=shop.participant(phone=phone))
    send(app, TYPE, {"recipientPhone": PHONE, "message": "Halo"})
    send(app, TYPE, {"recipientPhone": PHONE, "message": ""})

    with capture_logs() as lines:
        sweep(app)

    logged = json.dumps(lines, default=str)
    assert [line for line in lines if line["event"] == "notification.failed"]
    for phone in (*numbers, PHONE):
        digits = "".join(filter(str.isdigit, phone))
        assert phone not in logged
        assert digits not in logged
        assert digits.lstrip("0") not in logged
    assert "Halo" not in logged
    assert "Halo" not in json.dumps(rows(connection, "sweeper.job_log"), default=str)
