"""Phone numbers as people and a mangling checkout write them, and masked as logs show them."""

import re

import phonenumbers

_NOT_DIGITS = re.compile(r"\D")
_HOME = re.compile(r"(?:62|0)*")  # what is put before an Indonesian number, by whomever


def normalize(phone: str) -> str | None:
    """Return *phone* in digits with its country code (628..., 1415...), or None where it is none.

    Every Indonesian spelling means 628..., whatever heap of 62 and 0 stands before it. A plus sign,
    or 00, begins an international number: another country's stays what it is. All are held against
    the numbering plans that `phonenumbers` carries.
    """
    before, plus, after = phone.rpartition("+")
    heap, digits = _NOT_DIGITS.sub("", before), _NOT_DIGITS.sub("", after)
    if any(map(str.isalpha, phone)) or not _HOME.fullmatch(heap):
        return None
    abroad = digits.removeprefix("00")
    if (plus or abroad != digits) and not abroad.startswith(("62", "0")):
        return _valid(abroad)
    mobile = _HOME.sub("", digits, count=1)
    return _valid(f"62{mobile}") if mobile.startswith("8") else None


def mask(phone: str) -> str:
    """Return enough of *phone* to recognize it by, never enough to dial; one number is shown alike.

    What is no number is not shown, unless it is long enough to be a mistyped one.
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
