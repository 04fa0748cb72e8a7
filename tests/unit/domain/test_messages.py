"""The texts of the notices: polite, in the recipient's language, and without false promises."""

import re
from string import Formatter

import pytest

from jobs.whatsapp.notice import NOTICE_TYPES
from jobs.whatsapp.texts import LANGUAGES, render_text, rupiah, texts
from sweeper import RejectedError, catalog

CATALOG = catalog.load("jobs")
EVENTS = tuple(NOTICE_TYPES.values)
FACTS = {"name": "Sari", "orderCode": "JST-ABC123-XY", "dpAmount": 1_250_000}

EVERY_TEXT = [
    pytest.param(text, id=f"{event} {variant}")
    for event, variants in texts().items()
    for variant, text in variants.items()
]


def test_every_event_has_a_text_in_both_languages() -> None:
    assert [] == [event for event in EVENTS if not set(LANGUAGES) <= set(texts()[event])]


def test_the_texts_of_the_platforms_own_job_files_are_collected() -> None:
    assert {"ORDER_CANCELLED", "ORDER_REJECTED", "ORDER_MISSED"} <= set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_a_notice_names_a_rule_that_there_is(event: str) -> None:
    assert NOTICE_TYPES.values[event].rule in CATALOG.rules


@pytest.mark.parametrize("event", EVENTS)
def test_a_notice_greets_the_recipient_by_name(event: str) -> None:
    assert render_text(event, FACTS).startswith("Halo Sari,")
    assert render_text(event, FACTS, "en").startswith("Hello Sari,")


@pytest.mark.parametrize("event", EVENTS)
def test_a_notice_names_the_order_and_addresses_the_recipient_politely(event: str) -> None:
    text = render_text(event, FACTS)

    assert "JST-ABC123-XY" in text
    assert re.search(r"\bAnda\b", text)
    assert not re.search(r"\b(kamu|kau|lu)\b", text, re.IGNORECASE)


@pytest.mark.parametrize(
    ("event", "limit"),
    [("ORDER_CANCELLED", "30 menit"), ("ORDER_REJECTED", "24 jam"), ("ORDER_MISSED", "24 jam")],
)
def test_a_notice_says_which_time_limit_has_passed(event: str, limit: str) -> None:
    assert limit in render_text(event, FACTS)


def test_a_notice_says_that_an_owed_down_payment_will_be_returned() -> None:
    """The text says "akan diproses" (will be processed), because no money has been returned yet."""
    text = render_text("ORDER_REJECTED", FACTS)

    assert "Rp 1.250.000 akan diproses" in text


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_no_notice_says_that_money_has_been_returned(text: str) -> None:
    assert not re.search(r"sudah|telah dikembalikan|was returned|refunded", text)


@pytest.mark.parametrize("amount", [0, None, "0"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_notice_without_a_down_payment_does_not_mention_money(
    amount: object, language: str
) -> None:
    text = render_text("ORDER_REJECTED", FACTS | {"dpAmount": amount}, language)

    assert not re.search(r"Rp|DP|down payment", text)


@pytest.mark.parametrize("event", sorted({*EVENTS} - {"ORDER_REJECTED"}))
def test_only_a_rejection_mentions_money(event: str) -> None:
    assert "Rp" not in render_text(event, FACTS)


@pytest.mark.parametrize("name", [None, ""])
def test_a_recipient_without_a_name_gets_a_general_greeting(name: str | None) -> None:
    assert render_text("ORDER_CANCELLED", FACTS | {"name": name}).startswith("Halo Kak,")


@pytest.mark.parametrize(
    "name", ["{order_code}", "{", "100%s", "Sari\\n", "{0}", "{name.__class__}"]
)
def test_a_name_is_not_interpreted_as_a_template(name: str) -> None:
    assert render_text("ORDER_CANCELLED", FACTS | {"name": name}).startswith(f"Halo {name},")


@pytest.mark.parametrize("text", EVERY_TEXT)
def test_a_text_uses_known_fields_only(text: str) -> None:
    used = {field for _, field, _, _ in Formatter().parse(text) if field is not None}

    assert used <= {"name", "order_code", "dp_amount", "limit"}


def test_an_event_without_a_text_is_rejected() -> None:
    """A retry cannot help, because the text would still be missing."""
    with pytest.raises(RejectedError, match="there is no text for 'ORDER_LOST'"):
        render_text("ORDER_LOST", FACTS)


@pytest.mark.parametrize(
    ("amount", "written"),
    [(0, "Rp 0"), (500, "Rp 500"), (50_000, "Rp 50.000"), (1_250_000, "Rp 1.250.000")],
)
def test_rupiah_are_written_with_dots_for_thousands(amount: int, written: str) -> None:
    assert written == rupiah(amount)
