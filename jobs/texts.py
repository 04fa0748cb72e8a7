"""What the notices say: texts as data, Indonesian first, with named fields."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from sweeper import RejectedError

LANGUAGES = ("id", "en")


@cache
def texts() -> dict[str, dict[str, str]]:
    """Return every text by event and language."""
    return tomllib.loads(resources.files(__package__).joinpath("messages.toml").read_text("utf-8"))


def rendered(event_type: str, facts: Mapping[str, Any], language: str = "id") -> str:
    """Return the text of a notice.

    facts -- the notice's metadata: name, orderCode, dpAmount in whole rupiah

    Raises RejectedError for an event that has no text.
    """
    amount = int(facts.get("dpAmount") or 0)
    if event_type not in texts():
        message = f"there is no text for {event_type!r}"
        raise RejectedError(message)
    event = texts()[event_type]
    variant = f"{language}_refund"
    text = event[variant] if amount > 0 and variant in event else event[language]
    return text.format(
        name=facts.get("name") or "Kak",
        order_code=facts.get("orderCode", ""),
        dp_amount=rupiah(amount),
    ).strip()


def rupiah(amount: int) -> str:
    """Return whole rupiah as Indonesians write them: Rp 1.250.000."""
    return f"Rp {amount:,}".replace(",", ".")
