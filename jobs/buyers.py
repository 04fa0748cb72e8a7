"""Find orders by the last digits of their buyer's phone, as people who answer customers do."""

import re
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, any_, func, literal, or_, select

from jobs.tables import GUEST, ORDER, PARTICIPANT
from jobs.whatsapp.phones import normalize
from sweeper import Finder

_MASKED = re.compile(r"[\d+]*[*.\u2026]+\s*(\d{3,4})")  # 6281****890, ...7890
_BARE = re.compile(r"\d{3,4}")


def ending_of(text: str) -> str | None:
    """Return the last digits of the phone that *text* stands for: three or four, and never more.

    With more, whoever may only read could try digit by digit what the mask hides (L11).
    """
    if masked := _MASKED.fullmatch(text):
        return masked[1]
    if _BARE.fullmatch(text):
        return text
    digits = normalize(text)
    return digits[-4:] if digits else None


def by_phone(text: str, keys: ColumnElement[Any]) -> Select[Any] | None:
    """Return the orders among *keys* whose buyer's phone ends as *text* does, the latest first."""
    ending = ending_of(text)
    if ending is None:
        return None
    # Each in a step of its own: the server might walk through all orders, or all buyers, otherwise.
    named = (
        select(ORDER.c.id, ORDER.c.createdAt, ORDER.c.participantId, ORDER.c.guestId)
        .where(ORDER.c.id == any_(keys))
        .cte("named")
        .prefix_with("materialized")
    )
    phones = (
        select(PARTICIPANT.c.phone).where(PARTICIPANT.c.id == named.c.participantId),
        select(GUEST.c.phone).where(GUEST.c.id == named.c.guestId),
    )
    ends = (
        func.right(func.regexp_replace(phone.scalar_subquery(), r"\D", "", "g"), len(ending))
        == ending
        for phone in phones
    )
    what = literal(f"the buyer's phone ends in {ending}", Text)
    found = select(named.c.id, what).where(or_(*ends))
    return found.order_by(named.c.createdAt.desc(), named.c.id)


FINDERS = (
    Finder("phones", "endings of buyers' phones, of orders that were lately swept", by_phone),
)
