"""Messages of strangers about our notices: they take none, end none, and resend none."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from jobs.whatsapp.notification_log import notice_id
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    OpenApp,
    dead_letters,
    drain,
    make_visible,
    messages,
    rows,
    send,
    sweep,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
THEIRS = "0812-9999-9999"
BUYER = "6281200010001"


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("fonnte") as running:
        yield running


@pytest.fixture
def app(open_app: OpenApp, whatsapp: Provider) -> App:
    return open_app(**whatsapp.settings(), retry__max_retries=0)


def notices(connection: Connection) -> dict[str, dict[str, Any]]:
    """Return the rows of NotificationLog, by id."""
    return {row["id"]: row for row in rows(connection, '"NotificationLog"')}


def free_text(order: str | None = None, **metadata: Any) -> dict[str, Any]:
    """Return a payload with a phone and a text of the sender's own."""
    about = {"orderId": order, "eventType": "ORDER_CANCELLED"} if order else {}
    return {
        "recipientPhone": THEIRS,
        "message": "Bayar ke rekening saya",
        "metadata": about | metadata,
    }


def announced(app: App, shop: Shop) -> tuple[str, str]:
    """Cancel an order, without sending its notice; return the ids of both."""
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    app.drain().step()
    return order, notice_id(order, "ORDER_CANCELLED")


def test_a_message_about_an_order_does_not_take_its_notice(
    app: App, shop: Shop, connection: Connection, whatsapp: Provider
) -> None:
    """DOMAIN 6: the buyer is told, whatever a stranger sent about the order before."""
    order = shop.order(age=HOUR)
    send(app, TYPE, free_text(order), queue=OUTBOUND)
    drain(app)

    sweep(app, "expire_dp")

    own = notices(connection).pop(notice_id(order, "ORDER_CANCELLED"))
    assert (own["status"], own["recipientId"]) == ("sent", BUYER)
    assert [one.to for one in whatsapp.deliveries] == ["6281299999999", BUYER]


@pytest.mark.parametrize(
    "event", ["ORDER_CANCELLED", "ORDER_REJECTED", " order_missed", 7, "x" * 201]
)
def test_the_row_of_a_free_text_has_no_event_type_of_ours(
    app: App, connection: Connection, event: Any
) -> None:
    """Who reads NotificationLog is not told by a stranger that an order was cancelled."""
    send(app, TYPE, free_text(orderId="o", eventType=event), queue=OUTBOUND)

    drain(app)

    assert [row["eventType"] for row in notices(connection).values()] == ["MESSAGE"]


def test_the_platform_keeps_event_types_of_its_own(app: App, connection: Connection) -> None:
    """DOMAIN 5: metadata names what the platform's message is about."""
    send(app, TYPE, free_text(orderId="o", eventType="ORDER_PAID", extra=5), queue=OUTBOUND)

    assert drain(app) == Tally(done=1)

    (row,) = notices(connection).values()
    assert (row["eventType"], row["status"]) == ("ORDER_PAID", "sent")
    assert (
        row["metadata"].items() >= {"orderId": "o", "eventType": "ORDER_PAID", "extra": 5}.items()
    )


@pytest.mark.parametrize("metadata", [{}, {"orderId": "o", "eventType": "ORDER_PAID"}], ids=str)
def test_copies_of_a_free_text_are_sent_once(
    app: App, connection: Connection, whatsapp: Provider, metadata: dict[str, str]
) -> None:
    """L1: a restored queue, or a sender that tries again, sends no second message."""
    for _ in range(3):
        send(app, TYPE, free_text(**metadata), queue=OUTBOUND)

    for _ in range(3):
        drain(app)
        make_visible(app)

    assert (len(whatsapp.deliveries), len(notices(connection))) == (1, 1)
    assert messages(app, OUTBOUND) == []


def test_a_text_to_another_number_keeps_no_message_from_being_sent(
    app: App, whatsapp: Provider
) -> None:
    """Who tells himself about an event of an order does not keep the buyer from being told."""
    theirs = free_text(orderId="o", eventType="ORDER_PAID")
    send(app, TYPE, theirs, queue=OUTBOUND)
    send(app, TYPE, theirs | {"recipientPhone": "081200010001"}, queue=OUTBOUND)
    send(app, TYPE, theirs | {"recipientPhone": "+62 812 0001 0001"}, queue=OUTBOUND)

    drain(app)

    assert [one.to for one in whatsapp.deliveries] == ["6281299999999", BUYER]


@pytest.mark.parametrize(
    "forged",
    [
        {"unknown": 5},
        {"claim": "2026-01-31T11:58:00.000Z"},
        {"carrier": {"message": 1, "since": "2999-01-01T00:00:00+00:00"}},
        {"recipientAsWritten": "+62 812 9999 9999"},
        {"nonce": "mine"},
        {"limitSeconds": 5},
        {"provider": "cloud", "providerMessageId": "wamid.1"},
    ],
    ids=str,
)
def test_the_bookkeeping_in_a_strangers_metadata_has_no_effect(
    app: App, connection: Connection, whatsapp: Provider, forged: dict[str, Any]
) -> None:
    """A forged count of unknown calls had the notice given up, with a false `reply.lost`."""
    whatsapp.behaviours.append(Behaviour.BROKEN)
    send(app, TYPE, free_text(**forged), queue=OUTBOUND)

    assert drain(app) == Tally(retried=1)
    (row,) = notices(connection).values()
    assert not {name for name, value in forged.items() if row["metadata"].get(name) == value}
    make_visible(app)
    assert drain(app) == Tally(done=1)


def test_a_forged_message_does_not_end_a_notice(
    app: App, shop: Shop, connection: Connection, whatsapp: Provider
) -> None:
    """It allows no retry, so that one failed call would have made our notice fail for good."""
    _, own = announced(app, shop)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set vt = now() + interval '1 minute'"))
    whatsapp.behaviours.append(Behaviour.BROKEN)
    send(app, TYPE, {"messageId": own}, queue=OUTBOUND, maxRetries=0)

    assert drain(app) == Tally(skipped=1)
    make_visible(app)
    whatsapp.behaviours.clear()
    assert drain(app) == Tally(done=1)
    assert (notices(connection)[own]["status"], whatsapp.requests) == ("sent", 1)


def test_a_forged_message_that_seems_to_have_crashed_does_not_end_a_notice(
    app: App, shop: Shop, connection: Connection
) -> None:
    """A role that may insert rows may write any count of reads."""
    _, own = announced(app, shop)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set vt = now() + interval '1 minute'"))
    forged = send(app, TYPE, {"messageId": own}, queue=OUTBOUND)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 9 where msg_id = {forged}"))

    assert drain(app) == Tally(dead=1)
    make_visible(app)
    assert drain(app) == Tally(done=1)
    assert notices(connection)[own]["status"] == "sent"


@pytest.mark.parametrize("metadata", [{}, {"nonce": None}, {"nonce": "guessed"}, {"nonce": ["x"]}])
def test_a_failed_notice_is_not_sent_again_by_who_knows_its_time(
    *,
    app: App,
    shop: Shop,
    connection: Connection,
    whatsapp: Provider,
    metadata: dict[str, Any],
) -> None:
    """Only its own message, which an operator brings back, may send a failed notice again."""
    whatsapp.behaviour = Behaviour.BAD_REQUEST
    order, own = announced(app, shop)
    (message,) = messages(app, OUTBOUND)
    assert drain(app) == Tally(dead=1)
    whatsapp.behaviour = Behaviour.OK
    facts = {"orderId": order, "eventType": "ORDER_CANCELLED"} | metadata
    forged = {"messageId": own, "metadata": facts}
    send(app, TYPE, forged, queue=OUTBOUND, createdAt=message.body["createdAt"])

    assert drain(app) == Tally(skipped=1)
    assert (notices(connection)[own]["status"], len(whatsapp.deliveries)) == ("failed", 0)

    app.dead_letter_queue.retry(DeadLetterFilter([letter.msg_id for letter in dead_letters(app)]))
    assert drain(app) == Tally(done=1)
    assert (notices(connection)[own]["status"], len(whatsapp.deliveries)) == ("sent", 1)


def test_two_notices_have_different_nonces(app: App, shop: Shop, connection: Connection) -> None:
    for _ in range(2):
        shop.order(age=HOUR)
    sweep(app)

    nonces = {row["metadata"]["nonce"] for row in notices(connection).values()}
    assert (len(nonces), {len(nonce) for nonce in nonces}) == (2, {36})


@pytest.mark.parametrize("written_by", ["the sender", "the platform"])
def test_a_copy_sends_no_failed_message_of_others_again(
    app: App, connection: Connection, whatsapp: Provider, written_by: str
) -> None:
    """Who knows the time of a message cannot repeat it; only an operator brings it back."""
    payload = free_text()
    if written_by == "the platform":
        connection.execute(
            text(
                'insert into "NotificationLog" (id, "recipientType", "recipientId", channel,'
                " \"eventType\", status, metadata) values ('cplatform', 'PHONE', :phone,"
                " 'WHATSAPP', 'ORDER_PAID', 'queued', cast('{\"message\": \"Halo\"}' as jsonb))"
            ),
            {"phone": THEIRS},
        )
        payload = {"messageId": "cplatform"}
    whatsapp.behaviours.append(Behaviour.BAD_REQUEST)
    send(app, TYPE, payload, queue=OUTBOUND)
    assert drain(app) == Tally(dead=1)

    send(app, TYPE, payload, queue=OUTBOUND)
    assert drain(app) == Tally(skipped=1)
    assert [row["status"] for row in notices(connection).values()] == ["failed"]

    app.dead_letter_queue.retry(DeadLetterFilter())
    assert [row["status"] for row in notices(connection).values()] == ["queued"]
    assert drain(app) == Tally(done=1)
    assert [row["status"] for row in notices(connection).values()] == ["sent"]


def test_an_operator_who_retries_a_forged_letter_reopens_no_notice(
    app: App, shop: Shop, connection: Connection, whatsapp: Provider
) -> None:
    """A forged message for our notice is dead as crashed; it is skipped again after its retry.

    Even one that knows when our own message was created.
    """
    whatsapp.behaviour = Behaviour.BAD_REQUEST
    _, own = announced(app, shop)
    (message,) = messages(app, OUTBOUND)
    drain(app)
    app.dead_letter_queue.drop(DeadLetterFilter())
    whatsapp.behaviour = Behaviour.OK
    created_at = message.body["createdAt"]
    send(app, TYPE, {"messageId": own}, queue=OUTBOUND, createdAt=created_at)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 9"))
    assert drain(app) == Tally(dead=1)

    app.dead_letter_queue.retry(DeadLetterFilter())

    assert drain(app) == Tally(skipped=1)
    assert (notices(connection)[own]["status"], len(whatsapp.deliveries)) == ("failed", 0)
