"""The settings about texts of others: who gets them, and how many an hour."""

from collections.abc import Iterator
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.cli.checks.finding import Level
from sweeper.cli.doctor import examine
from sweeper.errors import SettingsError
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.verbs import (
    HOUR,
    MINUTE,
    OUTBOUND,
    OpenApp,
    dead_letters,
    drain,
    make_visible,
    rows,
    send,
    sweep,
)

TYPE = "NOTIFICATION_SEND_WHATSAPP"
STRANGER = "0812-9999-9999"


@pytest.fixture
def whatsapp() -> Iterator[Provider]:
    with provider("fonnte") as running:
        yield running


def send_text(app: App, phone: str = STRANGER, message: str = "Halo", **metadata: Any) -> None:
    payload = {"recipientPhone": phone, "message": message, "metadata": metadata}
    send(app, TYPE, payload, queue=OUTBOUND)


def to(whatsapp: Provider) -> list[str]:
    return sorted(one.to for one in whatsapp.deliveries)


def test_texts_of_others_go_to_any_number_by_default(open_app: OpenApp, whatsapp: Provider) -> None:
    """DOMAIN 5: the platform's own code sends so."""
    app = open_app(**whatsapp.settings())
    send_text(app)

    assert drain(app) == Tally(done=1)
    assert to(whatsapp) == ["6281299999999"]


@pytest.mark.parametrize(
    ("stored", "sent"),
    [
        ("0812-0001-0001", "+62 812 0001 0001"),
        ("6208120001 0001", "081200010001"),
        ("62+6281200010001", "812-0001-0001"),
        ("+1 (415) 555-0142", "+14155550142"),
    ],
)
@pytest.mark.parametrize("table", ["Participant", "Guest", "User"])
def test_known_numbers_get_texts_in_every_spelling(
    *,
    open_app: OpenApp,
    shop: Shop,
    connection: Connection,
    whatsapp: Provider,
    table: str,
    stored: str,
    sent: str,
) -> None:
    """DOMAIN 3: the platform's numbers are compared in the provider's form."""
    shop.order(age=MINUTE)
    column = "whatsappNumber" if table == "User" else "phone"
    connection.execute(text(f'update "{table}" set "{column}" = :phone'), {"phone": stored})
    app = open_app(**whatsapp.settings(free_text="known"))
    send_text(app, sent)

    assert drain(app) == Tally(done=1)


@pytest.mark.parametrize("phone", [STRANGER, "+1 415 001 0001", "0001 0001", "nobody", ""])
def test_other_numbers_get_none_where_only_known_ones_may(
    open_app: OpenApp, shop: Shop, whatsapp: Provider, connection: Connection, phone: str
) -> None:
    """The dead letter says why, and no row in NotificationLog counts it as a notice."""
    shop.order(age=MINUTE)
    app = open_app(**whatsapp.settings(free_text="known"))
    send_text(app, phone)
    send_text(app, "0812-0001-0001")

    assert drain(app) == Tally(done=1, dead=1)
    (letter,) = dead_letters(app)
    assert (letter.reason, "whatsapp.free_text" in letter.error) == ("rejected", True)
    assert to(whatsapp) == ["6281200010001"]
    assert len(rows(connection, '"NotificationLog"')) == 1


def test_no_text_of_others_is_sent_where_they_are_off(
    open_app: OpenApp, shop: Shop, whatsapp: Provider
) -> None:
    """Notices about orders go on."""
    shop.order(age=HOUR)
    app = open_app(**whatsapp.settings(free_text="off"))
    send_text(app, "0812-0001-0001")

    report = sweep(app, "expire_dp")

    assert (report.jobs.done, report.jobs.dead) == (2, 1)
    assert len(whatsapp.deliveries) == 1


def test_a_recipient_gets_no_more_texts_an_hour_than_the_quota(
    open_app: OpenApp, whatsapp: Provider, frozen: FrozenDateTimeFactory
) -> None:
    """Every spelling of a number is one recipient, and each process counts what others sent."""
    settings = whatsapp.settings(free_text_per_recipient=2)
    send_text(open_app(), "0812-9999-9999", "a")
    send_text(open_app(), "+6281299999999", "b")
    assert drain(open_app(**settings)) == Tally(done=2)
    send_text(open_app(), "6281299999999", "c")
    send_text(open_app(), "0812-8888-8888", "c")

    other = open_app(**settings)
    assert drain(other) == Tally(done=1, dead=1)
    assert "whatsapp.free_text_per_recipient" in dead_letters(other)[0].error

    frozen.tick(HOUR)
    other.dead_letter_queue.retry(DeadLetterFilter())
    assert drain(other) == Tally(done=1)


def test_a_flood_of_texts_keeps_no_notice_from_being_sent(
    open_app: OpenApp, shop: Shop, whatsapp: Provider
) -> None:
    """What exceeds the quota is refused without a call, so it uses none of the provider's rate."""
    app = open_app(**whatsapp.settings(free_text_per_hour=3))
    for number in range(40):
        send_text(app, f"0812-9999-{number:04}", f"text {number}")
    shop.order(age=HOUR)

    report = sweep(app, "expire_dp")

    assert (report.jobs.done, report.jobs.dead) == (5, 37)
    assert (whatsapp.requests, "6281200010001" in to(whatsapp)) == (4, True)
    assert {letter.reason for letter in dead_letters(app)} == {"rejected"}


def test_a_retry_of_a_text_is_not_counted_twice(open_app: OpenApp, whatsapp: Provider) -> None:
    whatsapp.behaviours.append(Behaviour.BROKEN)
    app = open_app(**whatsapp.settings(free_text_per_hour=1, free_text_per_recipient=1))
    send_text(app)
    assert drain(app) == Tally(retried=1)
    make_visible(app)

    assert drain(app) == Tally(done=1)


def test_notices_about_orders_are_not_counted(
    open_app: OpenApp, shop: Shop, whatsapp: Provider
) -> None:
    shop.many(5, age=HOUR)
    app = open_app(**whatsapp.settings(free_text_per_hour=1, free_text_per_recipient=1))

    assert sweep(app, "expire_dp").jobs == Tally(done=10)


@pytest.mark.parametrize(
    "flags",
    [{"free_text": "some"}, {"free_text_per_hour": 0}, {"free_text_per_recipient": -1}],
    ids=str,
)
def test_a_wrong_value_is_refused(open_app: OpenApp, flags: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="free_text"):
        open_app(**{f"whatsapp__{name}": value for name, value in flags.items()})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({}, ["to any number", "whoever may insert", "no quota"]),
        ({"free_text": "known"}, ["Participant, Guest or User", "no quota"]),
        ({"free_text": "off"}, ["refused"]),
        ({"free_text_per_hour": 9, "free_text_per_recipient": 2}, ["9 an hour", "2 to a number"]),
    ],
    ids=str,
)
def test_the_doctor_says_what_the_setting_means(
    open_app: OpenApp, flags: dict[str, Any], said: list[str]
) -> None:
    """It is no error and no warning, because the platform's own code sends such texts."""
    app = open_app(**{f"whatsapp__{name}": value for name, value in flags.items()})

    (found,) = [one for one in examine(app) if one.about == "whatsapp"]

    assert found.level is Level.OK
    assert [part for part in said if part not in found.what] == []
