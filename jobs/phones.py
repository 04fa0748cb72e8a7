"""Phone numbers as people and a mangling checkout write them, and masked as logs show them."""

import re

_NOT_DIGITS = re.compile(r"\D")
_MOBILE = re.compile(r"8\d{7,12}")


def normalized(phone: str) -> str | None:
    """Return *phone* in digits with its country code (628..., 1415...), or None where it is none.

    Every Indonesian spelling means 628...; a number that begins with another country's code, after
    a plus sign, stays what it is.
    """
    digits = _NOT_DIGITS.sub("", phone)
    foreign = phone.strip().startswith("+") and not digits.startswith("62")
    if foreign:
        return digits if 8 <= len(digits) <= 15 else None  # noqa: PLR2004 -- ITU-T E.164
    while digits.startswith(("62", "0")):
        digits = digits.removeprefix("62") if digits.startswith("62") else digits[1:]
    return f"62{digits}" if _MOBILE.fullmatch(digits) else None


def masked(phone: str) -> str:
    """Return enough of *phone* to recognize it by, never enough to dial."""
    digits = _NOT_DIGITS.sub("", phone)
    return f"{digits[:4]}****{digits[-3:]}" if len(digits) >= 10 else "****"  # noqa: PLR2004
