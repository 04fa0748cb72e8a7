"""What the notices say to people: kind, in their language, and never a promise too much."""

import re
from string import Formatter

import pytest

from jobs.whatsapp.texts import LANGUAGES, render_text, rupiah, texts
from sweeper import RejectedError

EVENTS = ("ORDER_CANCELLED", "ORDER_REJECTED", "ORDER_MISSED")
FACTS = {"name": "Sari", "orderCode": "JST-ABC123-XY", "dpAmount": 1_250_000}

EVERY_TEXT = [
    pytest.param(text, id=f"{event} {variant}")
    for event, variants in texts().items()
    for variant, text in variants.items()
]


def test_every_event_has_its_text_in_both_languages() -> None:
    actual = {event: set(LANGUAGES) <= set(texts()[event]) for event in texts()}

    assert dict.fromkeys(EVENTS, True) == actual


@pytest.mark.parametrize("event", EVENTS)
def test_a_notice_greets_its_reader_by_name(event: str) -> None:
    assert render_text(event, FACTS).startswith("Halo Sari,")
    assert render_text(event, FACTS, "en").startswith("Hello Sari,")


@pytest.mark.parametrize("event", EVENTS)
def test_a_notice_names_its_order_and_addresses_its_reader_politely(event: str) -> None:
    text = render_text(event, FACTS)

    assert "JST-ABC123-XY" in text
    assert re.search(r"\bAnda\b", text)
    assert not re.search(r"\b(kamu|kau|lu)\b", text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("event", "limit"),
    [("ORDER_CANCELLED", "30 menit"), ("ORDER_REJECTED", "24 jam"), ("ORDER_MISSED", "24 jam")],
)
def test_a_notice_says_which_time_ran_out(event: str, limit: str) -> None:
    assert limit in render_text(event, FACTS)


def test_a_down_payment_that_is_owed_will_be_returned() -> None:
    """It says "akan diproses": it has not been returned yet, and nobody may believe so."""
    text = render_text("ORDER_REJECTED", FACTS)

    assert "Rp 1.250.000 akan diproses" in text


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_no_notice_says_that_money_was_returned(text: str) -> None:
    assert not re.search(r"sudah|telah dikembalikan|was returned|refunded", text)


@pytest.mark.parametrize("amount", [0, None, "0"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_without_a_down_payment_no_money_is_spoken_of(amount: object, language: str) -> None:
    text = render_text("ORDER_REJECTED", FACTS | {"dpAmount": amount}, language)

    assert not re.search(r"Rp|DP|down payment", text)


@pytest.mark.parametrize("event", ["ORDER_CANCELLED", "ORDER_MISSED"])
def test_only_a_rejected_buyer_is_owed_money(event: str) -> None:
    assert "Rp" not in render_text(event, FACTS)


@pytest.mark.parametrize("name", [None, ""])
def test_somebody_without_a_name_is_greeted_all_the_same(name: str | None) -> None:
    assert render_text("ORDER_CANCELLED", FACTS | {"name": name}).startswith("Halo Kak,")


@pytest.mark.parametrize(
    "name", ["{order_code}", "{", "100%s", "Sari\\n", "{0}", "{name.__class__}"]
)
def test_a_name_is_text_and_never_a_template(name: str) -> None:
    assert render_text("ORDER_CANCELLED", FACTS | {"name": name}).startswith(f"Halo {name},")


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_a_text_asks_for_known_fields_only(text: str) -> None:
    asked = {field for _, field, _, _ in Formatter().parse(text) if field is not None}

    assert asked <= {"name", "order_code", "dp_amount"}


def test_an_event_without_a_text_is_rejected() -> None:
    """No retry can write it."""
    with pytest.raises(RejectedError, match="there is no text for 'ORDER_LOST'"):
        render_text("ORDER_LOST", FACTS)


@pytest.mark.parametrize(
    ("amount", "written"),
    [(0, "Rp 0"), (500, "Rp 500"), (50_000, "Rp 50.000"), (1_250_000, "Rp 1.250.000")],
)
def test_rupiah_have_dots_for_thousands(amount: int, written: str) -> None:
    assert written == rupiah(amount)
