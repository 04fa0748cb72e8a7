"""What the notices say: texts as data, Indonesian first, with named fields."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jobs.proofread import REFUND, faults
from sweeper import RejectedError

LANGUAGES = ("id", "en")

Texts = Mapping[str, Mapping[str, str]]


@cache
def texts(file: Path | None = None) -> Texts:
    """Return every text by event and key: a language, or a language and `_refund`.

    file -- an operator's own; what it does not say stays as it is shipped

    Raises ValueError that names file, key and field of all that is wrong with it.
    """
    source = file or resources.files(__package__).joinpath("messages.toml")
    try:
        found = tomllib.loads(source.read_text("utf-8"))
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror}"
        raise ValueError(message) from error
    except ValueError as error:
        message = f"{source} is no TOML: {error}"
        raise ValueError(message) from error
    shipped = texts() if file else found
    if wrong := [f"{source}: {fault}" for fault in faults(found, shipped)]:
        raise ValueError("\n".join(wrong))
    return {event: {**variants, **found.get(event, {})} for event, variants in shipped.items()}


def rendered(
    event_type: str, facts: Mapping[str, Any], language: str = "id", file: Path | None = None
) -> str:
    """Return the text of a notice.

    facts -- the notice's metadata: name, orderCode, dpAmount in whole rupiah
    file  -- an operator's own texts

    Raises RejectedError for an event that has no text.
    """
    event = texts(file).get(event_type)
    if event is None:
        message = f"there is no text for {event_type!r}"
        raise RejectedError(message)
    usual = event[language]
    text = event.get(f"{language}_{REFUND}", usual) if owed(facts) else usual
    return text.format(**fields(facts)).strip()


def fields(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what a text may name, as people read it."""
    return {
        "name": str(facts.get("name") or "Kak"),
        "order_code": str(facts.get("orderCode") or ""),
        "dp_amount": rupiah(owed(facts)),
    }


def owed(facts: Mapping[str, Any]) -> int:
    """Return the down payment that a notice speaks of, in whole rupiah; 0 where there is none."""
    amount = str(facts.get("dpAmount"))
    return int(amount) if amount.isdecimal() else 0


def rupiah(amount: int) -> str:
    """Return whole rupiah as Indonesians write them: Rp 1.250.000."""
    return f"Rp {amount:,}".replace(",", ".")
