"""Phone numbers: every spelling normalizes to one number, and logs show it masked (DOMAIN 3)."""

import re

import pytest

from jobs.whatsapp.phones import mask, normalize

ONE_NUMBER = "6281234567890"

SPELLINGS = [
    "081234567890",
    "+6281234567890",
    "6281234567890",
    "81234567890",
    "0812-3456-7890",
    "0812 3456 7890",
    "(0812) 3456 7890",
    "+62 812-3456-7890",
    "+62 (812) 3456.7890",
    "  081234567890\n",
    "62081234567890",
    "62 0812-3456-7890",
    "62+6281234567890",
    "62+62 812-3456-7890",
    "626281234567890",
    "6281234567890 ",
    "+62081234567890",
    "00 62 812 3456 7890",
]


@pytest.mark.parametrize("phone", SPELLINGS)
def test_every_indonesian_spelling_normalizes_to_one_number(phone: str) -> None:
    assert ONE_NUMBER == normalize(phone)


@pytest.mark.parametrize(
    ("phone", "number"),
    [
        ("+1 415 555 0142", "14155550142"),
        ("+1 (415) 555-0142", "14155550142"),
        (" +65 8123 4567", "6581234567"),
        ("+81 90-1234-5678", "819012345678"),
        ("+852 8123 4567", "85281234567"),
        ("62+1 415 555 0142", "14155550142"),
    ],
)
def test_a_foreign_number_keeps_its_country_code(phone: str, number: str) -> None:
    """It never becomes an Indonesian number, even when the checkout put 62 before it."""
    assert number == normalize(phone)


@pytest.mark.parametrize(
    "phone",
    [
        "",
        " ",
        "-",
        "not a phone",
        "0",
        "62",
        "+",
        "+62",
        "0812",
        "+1 415",
        "12345678901",
        "08123456789012345678",
        "+" + "1" * 16,
        "sari@example.com",
    ],
)
def test_a_text_that_is_not_a_phone_number_normalizes_to_none(phone: str) -> None:
    assert normalize(phone) is None


@pytest.mark.parametrize("phone", ["+081234567890", "+0812345678"])
def test_a_normalized_number_never_begins_with_a_zero(phone: str) -> None:
    """No country code begins with a zero, so a plus sign before a zero marks no foreign number."""
    assert not (normalize(phone) or "").startswith("0")


@pytest.mark.parametrize(
    ("phone", "shown"),
    [
        ("081234567890", "6281****890"),
        ("62+62081234567890", "6281****890"),
        ("+62 812-3456-7890", "6281****890"),
        ("+1 415 555 0142", "1415****142"),
        ("0812345", "****"),
        ("not a phone", "****"),
        ("", "****"),
    ],
)
def test_a_masked_number_can_be_recognized_but_not_dialled(phone: str, shown: str) -> None:
    assert shown == mask(phone)


@pytest.mark.parametrize("phone", [*SPELLINGS, "1" * 10, "9" * 40, "+1 415 555 0142"])
def test_a_masked_number_never_shows_more_than_seven_digits(phone: str) -> None:
    """L11: no full phone number ever reaches a log."""
    assert len(re.findall(r"\d", mask(phone))) <= 7
