"""What the notices say: texts as data, Indonesian first, with named fields."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any

from sweeper import RejectedError

LANGUAGES = ("id", "en")
FIELDS = ("name", "order_code", "dp_amount")
REFUND = "refund"
"""The end of a text's key where a down payment is owed back."""

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


def render_text(
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


def faults(found: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with *found*, each fault with the key that it stands under.

    shipped -- the texts that there are; no others can be told
    """
    for event, variants in found.items():
        if event not in shipped or not isinstance(variants, dict):
            yield f"{event} is no event; there are {', '.join(shipped)}"
            continue
        for key, text in variants.items():
            if key not in shipped[event] or not isinstance(text, str):
                yield f"{event}.{key} is no text; there are {', '.join(shipped[event])}"
                continue
            for fault in _misspelt(key, text):
                yield f"{event}.{key} {fault}"


def _misspelt(key: str, text: str) -> Iterator[str]:
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        yield f"is no template: {error}"
        return
    named = {name for _, name, spec, conversion in parts if not spec and not conversion}
    for _, name, spec, conversion in parts:
        if name not in FIELDS or spec or conversion:
            yield f"names {_braced([name])}, which no notice has; there are {_braced(FIELDS)}"
    needed = {"order_code", "dp_amount"} if key.endswith(f"_{REFUND}") else {"order_code"}
    for name in sorted(needed - named):
        yield f"lacks {_braced([name])}"


def _braced(names: Iterable[str | None]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
