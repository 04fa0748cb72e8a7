"""Normalize phone numbers as people and the checkout write them, and mask them for logs."""

import re

import phonenumbers

_NOT_DIGITS = re.compile(r"\D")
_PREFIXES = re.compile(
    r"(?:62|0)*"
)  # the prefixes that precede an Indonesian number, repeated or not


def normalize(phone: str) -> str | None:
    """Return *phone* in digits with its country code (628..., 1415...), or None if it is not valid.

    Every Indonesian spelling becomes 628..., however many 62 and 0 precede it. A plus sign or 00
    begins an international number, and a number of another country keeps its country code. All
    numbers are checked against the numbering plans of `phonenumbers`.
    """
    before, plus, after = phone.rpartition("+")
    prefix, digits = _NOT_DIGITS.sub("", before), _NOT_DIGITS.sub("", after)
    if any(map(str.isalpha, phone)) or not _PREFIXES.fullmatch(prefix):
        return None
    abroad = digits.removeprefix("00")
    if (plus or abroad != digits) and not abroad.startswith(("62", "0")):
        return _valid(abroad)
    mobile = _PREFIXES.sub("", digits, count=1)
    return _valid(f"62{mobile}") if mobile.startswith("8") else None


def mask(phone: str) -> str:
    """Return enough of *phone* to recognize it, but not enough to dial it.

    All spellings of one number have the same mask. A text that is not a valid number becomes
    `****`, unless it has enough digits to be a mistyped number.
    """
    digits = normalize(phone) or _NOT_DIGITS.sub("", phone)
    return f"{digits[:4]}****{digits[-3:]}" if len(digits) >= 10 else "****"  # noqa: PLR2004


def _valid(digits: str) -> str | None:
    try:
        number = phonenumbers.parse(f"+{digits}")
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)[1:]
