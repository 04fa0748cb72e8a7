"""Notices about orders: who is told, what, and that it is once."""

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
    """Return the whole NotificationLog, by event."""
    return rows(connection, '"NotificationLog"', order_by='"eventType", "recipientId"')


def said(notice: dict[str, Any]) -> str:
    """Return the text of a notice."""
    return render_text(notice["eventType"], notice["metadata"])


def unanswered(shop: Shop, **columns: Any) -> str:
    """Add an order that auto-refund finds."""
    usual: dict[str, Any] = {"age": 26 * HOUR, "paid_ago": 25 * HOUR}
    return shop.order(status="awaiting_validation", **usual | columns)


def test_the_buyer_of_an_expired_order_is_told(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: from the moment it is queued, the notice has its row."""
    order = shop.order(age=HOUR, code="JST-ABC123-XY")
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})

    assert app.drain().step() == Tally(done=1)

    (notice,) = notices(connection)
    assert len(notice.pop("id")) == 25
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
        },
        "createdAt": STORED_NOW,
    }


def test_a_notice_is_a_message_in_the_outbound_lane(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    app.drain().step()

    (notice,), (message,) = notices(connection), messages(app, OUTBOUND)
    assert message.body["type"] == "NOTIFICATION_SEND_WHATSAPP"
    assert message.body["payload"]["messageId"] == notice["id"]


def test_both_sides_of_an_unanswered_order_are_told(
    app: App, shop: Shop, connection: Connection
) -> None:
    order = unanswered(shop)

    sweep(app)

    told = [(one["eventType"], one["recipientId"], one["status"]) for one in notices(connection)]
    assert told == [
        ("ORDER_MISSED", "+6281200000001", "sent"),
        ("ORDER_REJECTED", "0812-0001-0001", "sent"),
    ]
    assert {one["metadata"]["orderId"] for one in notices(connection)} == {order}


def test_who_wants_no_whatsapp_gets_none_and_it_is_written_down(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: the buyer's wish is suppressed in the log; the jastiper is told all the same."""
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
def test_without_a_guest_the_answer_is_yes(
    app: App, shop: Shop, connection: Connection, guest: str | None
) -> None:
    """DOMAIN 2, 6: guestId may dangle, and a dangling id in the log would fail."""
    order = shop.order(age=HOUR, guest=guest)

    assert sweep(app).jobs == Tally(done=2)

    (notice,) = notices(connection)
    assert (notice["status"], notice["guestId"]) == ("sent", None)
    assert notice["metadata"]["orderId"] == order


@pytest.mark.parametrize("phone", ["", "not a phone", "12", "+", "021-555"])
def test_no_phone_fails_the_notice_and_not_the_order(
    app: App, shop: Shop, connection: Connection, phone: str
) -> None:
    """DOMAIN 3: at once, in the log of notifications, with no retries."""
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
    """DOMAIN 2: without tripId, through the product to its trip."""
    owner = shop.user(whatsapp_number="+6281200000077")
    product = shop.product(trip=shop.trip(jastiper=owner))
    unanswered(shop, trip=None, product=product)

    sweep(app)

    assert notices(connection)[0]["recipientId"] == "+6281200000077"


def test_the_jastiper_of_an_order_without_a_product_is_found_through_its_buyer(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 2: or through the participant to their trip."""
    trip = shop.trip(jastiper=shop.user(whatsapp_number="+6281200000078"))
    participant = shop.participant(trip=trip)
    unanswered(shop, trip=None, participant=participant)

    sweep(app)

    assert notices(connection)[0]["recipientId"] == "+6281200000078"


def test_one_notice_for_each_order_and_event_ever(
    app: App, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: an order that was reopened and expires again is not told again."""
    first, second = shop.order(age=HOUR), shop.order(age=HOUR)
    sweep(app)
    before = notices(connection)
    connection.execute(text("""update "Order" set status = 'pending_dp'"""))

    assert sweep(app).jobs == Tally(done=2)

    assert (shop.status(first), shop.status(second)) == ("cancelled", "cancelled")
    assert notices(connection) == before
    assert {one["metadata"]["orderId"] for one in before} == {first, second}


def test_a_notice_delivered_twice_is_sent_once(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: the message that comes again finds the notice sent."""
    shop.order(age=HOUR)
    sweep(app)
    (before,) = notices(connection)
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"messageId": before["id"]}, queue=OUTBOUND)

    assert drain(app) == Tally(skipped=1)
    assert notices(connection) == [before]


def test_a_failed_order_leaves_no_notice(app: App, shop: Shop, connection: Connection) -> None:
    """L1: the notice commits with the order, or vanishes with it."""
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
def test_an_order_is_named_as_its_buyer_knows_it(
    *, app: App, shop: Shop, connection: Connection, order_id: str, code: str | None, shown: str
) -> None:
    """DOMAIN 6: by its code, else `#` and the first 8 characters of the id in capitals."""
    shop.order(id=order_id, age=HOUR, code=code)

    sweep(app)

    (notice,) = notices(connection)
    assert f"Pesanan Anda {shown} " in said(notice)


def test_an_expired_order_says_why(app: App, shop: Shop, connection: Connection) -> None:
    shop.order(age=HOUR, participant=shop.participant(name="Budi"))

    sweep(app)

    (notice,) = notices(connection)
    assert said(notice).startswith("Halo Budi,")
    assert "30 menit" in said(notice)


@pytest.mark.parametrize(
    ("amount", "shown"),
    [(1, "Rp 1"), (50_000, "Rp 50.000"), (1_250_000, "Rp 1.250.000")],
)
def test_a_down_payment_will_be_returned(
    app: App, shop: Shop, connection: Connection, amount: int, shown: str
) -> None:
    """DOMAIN 6: "akan diproses", never "sudah dikembalikan"; rupiah have dots."""
    unanswered(shop, dp_amount=amount)

    sweep(app)

    rejected = said(notices(connection)[1])
    assert rejected.startswith("Halo Sari Wulandari,")
    assert "24 jam" in rejected
    assert f"{shown} akan diproses" in rejected
    assert "sudah dikembalikan" not in rejected


def test_without_a_down_payment_none_is_promised(
    app: App, shop: Shop, connection: Connection
) -> None:
    unanswered(shop, dp_amount=0)

    sweep(app)

    rejected = said(notices(connection)[1])
    assert "24 jam" in rejected
    assert "Rp" not in rejected
    assert "diproses" not in rejected


def test_the_jastiper_learns_what_was_missed(app: App, shop: Shop, connection: Connection) -> None:
    unanswered(shop, code="JST-MISSED-01")

    sweep(app)

    missed = said(notices(connection)[0])
    assert missed.startswith("Halo Rina Jastip,")
    assert "JST-MISSED-01" in missed
    assert "24 jam" in missed


def test_names_are_data_and_nothing_else(app: App, shop: Shop, connection: Connection) -> None:
    """A name that looks like a template is still a name."""
    name = "{order_code} 100% \\ 'Ayu' \"Lestari\" 東京"
    shop.order(age=HOUR, participant=shop.participant(name=name))

    assert sweep(app).jobs == Tally(done=2)

    (notice,) = notices(connection)
    assert said(notice).startswith(f"Halo {name},")
