"""Notices about orders: who gets one, what it says, and that it is sent once."""

from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from jobs.whatsapp.texts import render_text
from sweeper.app import App
from sweeper.batch import Tally
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    STORED_NOW,
    drain,
    make_visible,
    messages,
    rows,
    send,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")


def notices(connection: Connection) -> list[dict[str, Any]]:
    """Return all rows of NotificationLog, by event."""
    return rows(connection, '"NotificationLog"', order_by='"eventType", "recipientId"')


def text_of(notice: dict[str, Any]) -> str:
    """Return the text of a notice."""
    return render_text(notice["eventType"], notice["metadata"])


def unanswered(shop: Shop, **columns: Any) -> str:
    """Add an order that auto-refund finds."""
    usual: dict[str, Any] = {"age": 26 * HOUR, "paid_ago": 25 * HOUR}
    return shop.order(status="awaiting_validation", **usual | columns)


def test_the_buyer_of_an_expired_order_gets_a_notice(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: the notice has its row from the moment it is queued."""
    order = shop.order(age=HOUR, code="JST-ABC123-XY")
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})

    assert app.drain().step() == Tally(done=1)

    (notice,) = notices(connection)
    assert len(notice.pop("id")) == 25
    assert notice["metadata"].pop("nonce")
    assert notice == {
        "recipientType": "PHONE",
        "recipientId": "0812-0001-0001",
        "guestId": shop.usual_guest,
        "userId": None,
        "channel": "WHATSAPP",
        "eventType": "ORDER_CANCELLED",
        "status": "queued",
        "sentAt": None,
        "deliveredAt": None,
        "openedAt": None,
        "clickedAt": None,
        "errorMessage": None,
        "metadata": {
            "orderId": order,
            "eventType": "ORDER_CANCELLED",
            "orderCode": "JST-ABC123-XY",
            "name": "Sari Wulandari",
            "dpAmount": 50_000,
            "limitSeconds": 1800,
        },
        "createdAt": STORED_NOW,
    }


def test_a_notice_is_queued_in_the_outbound_lane(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    app.drain().step()

    (notice,), (message,) = notices(connection), messages(app, OUTBOUND)
    assert message.body["type"] == "NOTIFICATION_SEND_WHATSAPP"
    assert message.body["payload"]["messageId"] == notice["id"]


def test_buyer_and_jastiper_of_an_unanswered_order_get_notices(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = unanswered(shop)

    sweep(app)

    sent = [(one["eventType"], one["recipientId"], one["status"]) for one in notices(connection)]
    assert sent == [
        ("ORDER_MISSED", "6281200000001", "sent"),
        ("ORDER_REJECTED", "6281200010001", "sent"),
    ]
    assert {one["metadata"]["orderId"] for one in notices(connection)} == {order}


def test_the_notice_of_a_buyer_who_opted_out_is_suppressed(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: the notice of the buyer is suppressed, the one of the jastiper is sent."""
    guest = shop.guest(notify_whatsapp=False)
    expired, rejected = shop.order(age=HOUR, guest=guest), unanswered(shop, guest=guest)

    jobs = sweep(app).jobs

    assert (shop.status(expired), shop.status(rejected)) == ("cancelled", "rejected")
    assert [(one["eventType"], one["status"]) for one in notices(connection)] == [
        ("ORDER_CANCELLED", "suppressed"),
        ("ORDER_MISSED", "sent"),
        ("ORDER_REJECTED", "suppressed"),
    ]
    assert jobs == Tally(done=3)  # two orders and the jastiper's notice


@pytest.mark.parametrize("guest", [None, "no-such-guest"], ids=["no guest", "dangling guest"])
def test_an_order_without_a_guest_gets_its_notice(
    app: App, shop: Shop, connection: Connection, guest: str | None
) -> None:
    """DOMAIN 2, 6: guestId may dangle; a dangling id would fail in NotificationLog."""
    order = shop.order(age=HOUR, guest=guest)

    assert sweep(app).jobs == Tally(done=2)

    (notice,) = notices(connection)
    assert (notice["status"], notice["guestId"]) == ("sent", None)
    assert notice["metadata"]["orderId"] == order


@pytest.mark.parametrize("phone", ["", "not a phone", "12", "+", "021-555"])
def test_an_invalid_phone_fails_the_notice_and_not_the_order(
    app: App, shop: Shop, connection: Connection, phone: str
) -> None:
    """DOMAIN 3: it fails at once in NotificationLog, without retries."""
    participant = shop.participant(trip=shop.usual_trip, name="Wahyu")
    connection.execute(
        text('update "Participant" set phone = :phone where id = :id'),
        {"phone": phone, "id": participant},
    )
    order = shop.order(age=HOUR, participant=participant)

    jobs = sweep(app).jobs

    assert (jobs.failed, shop.status(order)) == (0, "cancelled")
    (notice,) = notices(connection)
    assert (notice["status"], notice["sentAt"]) == ("failed", None)
    assert "phone" in notice["errorMessage"]
    assert messages(app, OUTBOUND) == []


def test_a_jastiper_without_a_number_fails_only_that_notice(
    app: App, shop: Shop, connection: Connection
) -> None:
    trip = shop.trip(jastiper=shop.user(whatsapp_number=None))
    unanswered(shop, trip=trip)

    assert sweep(app).jobs.failed == 0
    assert [(one["eventType"], one["status"]) for one in notices(connection)] == [
        ("ORDER_MISSED", "failed"),
        ("ORDER_REJECTED", "sent"),
    ]


def test_the_jastiper_of_an_old_order_is_found_through_its_product(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 2: without tripId, the trip is that of the product."""
    owner = shop.user(whatsapp_number="+6281200000077")
    product = shop.product(trip=shop.trip(jastiper=owner))
    unanswered(shop, trip=None, product=product)

    sweep(app)

    assert notices(connection)[0]["recipientId"] == "6281200000077"


def test_the_jastiper_of_an_order_without_a_product_is_found_through_its_buyer(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 2: without tripId and product, the trip is that of the participant."""
    trip = shop.trip(jastiper=shop.user(whatsapp_number="+6281200000078"))
    participant = shop.participant(trip=trip)
    unanswered(shop, trip=None, participant=participant)

    sweep(app)

    assert notices(connection)[0]["recipientId"] == "6281200000078"


def test_an_order_has_one_notice_for_each_event(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: an order that was reopened and expires again gets no second notice."""
    first, second = shop.order(age=HOUR), shop.order(age=HOUR)
    sweep(app)
    before = notices(connection)
    connection.execute(text("""update "Order" set status = 'pending_dp'"""))

    assert sweep(app).jobs == Tally(done=2)

    assert (shop.status(first), shop.status(second)) == ("cancelled", "cancelled")
    assert notices(connection) == before
    assert {one["metadata"]["orderId"] for one in before} == {first, second}


def test_a_notice_that_is_queued_twice_is_sent_once(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: the second message finds the notice in the status `sent`, and is skipped."""
    shop.order(age=HOUR)
    sweep(app)
    (before,) = notices(connection)
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"messageId": before["id"]}, queue=OUTBOUND)

    assert drain(app) == Tally(skipped=1)
    assert notices(connection) == [before]


def test_a_failed_job_leaves_no_notice(app: App, shop: Shop, connection: Connection) -> None:
    """L1: the notice is committed with the order, or rolled back with it."""
    full = shop.product(stock=2**31 - 1)
    shop.order(age=HOUR, items=[(full, 1)])

    assert sweep(app).jobs == Tally(retried=1)
    make_visible(app)

    assert notices(connection) == []
    assert messages(app, OUTBOUND) == []


@pytest.mark.parametrize(
    ("order_id", "code", "shown"),
    [
        ("cabcdefghijklmnopqrstuvwx", "JST-ABC123-XY", "JST-ABC123-XY"),
        ("cabcdefghijklmnopqrstuvwx", None, "#CABCDEFG"),
        ("c-é-jast", None, "#C-É-JAST"),
        ("cab", None, "#CAB"),
    ],
)
def test_a_notice_names_the_order_by_its_code(
    *, app: App, shop: Shop, connection: Connection, order_id: str, code: str | None, shown: str
) -> None:
    """DOMAIN 6: without a code, it is `#` and the first 8 characters of the id in capitals."""
    shop.order(id=order_id, age=HOUR, code=code)

    sweep(app)

    (notice,) = notices(connection)
    assert f"Pesanan Anda {shown} " in text_of(notice)


def test_the_notice_of_an_expired_order_says_why(
    app: App, shop: Shop, connection: Connection
) -> None:
    shop.order(age=HOUR, participant=shop.participant(name="Budi"))

    sweep(app)

    (notice,) = notices(connection)
    assert text_of(notice).startswith("Halo Budi,")
    assert "30 menit" in text_of(notice)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(1, "Rp 1"), (50_000, "Rp 50.000"), (1_250_000, "Rp 1.250.000")],
)
def test_the_notice_of_a_rejected_order_promises_the_down_payment(
    app: App, shop: Shop, connection: Connection, amount: int, shown: str
) -> None:
    """DOMAIN 6: "akan diproses", not "sudah dikembalikan"; rupiah are written with dots."""
    unanswered(shop, dp_amount=amount)

    sweep(app)

    rejected = text_of(notices(connection)[1])
    assert rejected.startswith("Halo Sari Wulandari,")
    assert "24 jam" in rejected
    assert f"{shown} akan diproses" in rejected
    assert "sudah dikembalikan" not in rejected


def test_a_notice_without_a_down_payment_promises_none(
    app: App, shop: Shop, connection: Connection
) -> None:
    unanswered(shop, dp_amount=0)

    sweep(app)

    rejected = text_of(notices(connection)[1])
    assert "24 jam" in rejected
    assert "Rp" not in rejected
    assert "diproses" not in rejected


def test_the_notice_of_the_jastiper_names_the_missed_order(
    app: App, shop: Shop, connection: Connection
) -> None:
    unanswered(shop, code="JST-MISSED-01")

    sweep(app)

    missed = text_of(notices(connection)[0])
    assert missed.startswith("Halo Rina Jastip,")
    assert "JST-MISSED-01" in missed
    assert "24 jam" in missed


def test_a_name_is_not_interpreted_as_a_template(
    app: App, shop: Shop, connection: Connection
) -> None:
    """A name that looks like a template is shown as it is."""
    name = "{order_code} 100% \\ 'Ayu' \"Lestari\" 東京"
    shop.order(age=HOUR, participant=shop.participant(name=name))

    assert sweep(app).jobs == Tally(done=2)

    (notice,) = notices(connection)
    assert text_of(notice).startswith(f"Halo {name},")
