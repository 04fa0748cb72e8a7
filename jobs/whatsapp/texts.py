"""The texts of the notices: templates with named fields, in Indonesian and English."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Any

from jobs.limits import in_words
from sweeper import RejectedError

LANGUAGES = ("id", "en")
FIELDS = ("name", "order_code", "dp_amount", "limit")
REFUND = "refund"
"""The suffix of a text's key that is used when a down payment is owed to the buyer."""

_SHIPPED_LIMITS = {"ORDER_CANCELLED": timedelta(minutes=30)}
_LONGEST_LIMIT = 10**10  # seconds; metadata may say anything

Texts = Mapping[str, Mapping[str, str]]


@cache
def texts(file: Path | None = None) -> Texts:
    """Return every text by event and key: a language, or a language and `_refund`.

    file -- the operator's own texts; a text that is not in it stays as it is shipped

    Raises ValueError that names file, key and field of everything that is wrong in it.
    """
    source = file or resources.files(__package__).joinpath("messages.toml")
    try:
        found = tomllib.loads(source.read_text("utf-8"))
    except OSError as error:
        message = f"{source} cannot be read: {error.strerror}"
        raise ValueError(message) from error
    except ValueError as error:
        message = f"{source} is not valid TOML: {error}"
        raise ValueError(message) from error
    shipped = texts() if file else found
    if problems := [f"{source}: {fault}" for fault in faults(found, shipped)]:
        raise ValueError("\n".join(problems))
    return {event: {**variants, **found.get(event, {})} for event, variants in shipped.items()}


def render_text(
    event_type: str, facts: Mapping[str, Any], language: str = "id", file: Path | None = None
) -> str:
    """Return the text of a notice.

    facts -- the notice's metadata: name, orderCode, dpAmount in whole rupiah, limitSeconds
    file  -- the operator's own texts

    Raises RejectedError for an event that has no text.
    """
    event = texts(file).get(event_type)
    if event is None:
        message = f"there is no text for {event_type!r}"
        raise RejectedError(message)
    default = event[language]
    text = event.get(f"{language}_{REFUND}", default) if owed(facts) else default
    return text.format(**fields(event_type, facts, language)).strip()


def fields(event_type: str, facts: Mapping[str, Any], language: str = "id") -> dict[str, str]:
    """Return the fields that a text may use, formatted for people."""
    return {
        "name": str(facts.get("name") or "Kak"),
        "order_code": str(facts.get("orderCode") or ""),
        "dp_amount": rupiah(owed(facts)),
        "limit": in_words(_limit(event_type, facts), language),
    }


def _limit(event_type: str, facts: Mapping[str, Any]) -> timedelta:
    """Return the limit that has passed; the shipped one where the metadata does not say it."""
    seconds = facts.get("limitSeconds")
    if type(seconds) is int and 0 < seconds < _LONGEST_LIMIT:
        return timedelta(seconds=seconds)
    return _SHIPPED_LIMITS.get(event_type, timedelta(hours=24))


def owed(facts: Mapping[str, Any]) -> int:
    """Return the down payment in a notice's metadata, in whole rupiah; 0 where there is none."""
    amount = str(facts.get("dpAmount"))
    return int(amount) if amount.isdecimal() else 0


def rupiah(amount: int) -> str:
    """Return whole rupiah as Indonesians write them: Rp 1.250.000."""
    return f"Rp {amount:,}".replace(",", ".")


def faults(found: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each error in *found*, beginning with the key of the text.

    shipped -- the shipped texts; no other events and keys are valid
    """
    for event, variants in found.items():
        if event not in shipped or not isinstance(variants, dict):
            yield f"{event} is not a valid event; the events are {', '.join(shipped)}"
            continue
        for key, text in variants.items():
            if key not in shipped[event] or not isinstance(text, str):
                names = ", ".join(shipped[event])
                yield f"{event}.{key} is not a valid text; the texts are {names}"
                continue
            for fault in _text_faults(key, text):
                yield f"{event}.{key} {fault}"


def _text_faults(key: str, text: str) -> Iterator[str]:
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        yield f"is not a valid template: {error}"
        return
    used = {name for _, name, spec, conversion in parts if not spec and not conversion}
    for _, name, spec, conversion in parts:
        if name not in FIELDS or spec or conversion:
            field = _braced([name])
            yield f"uses {field}, which is not a valid field; the fields are {_braced(FIELDS)}"
    required = {"order_code", "dp_amount"} if key.endswith(f"_{REFUND}") else {"order_code"}
    for name in sorted(required - used):
        yield f"lacks {_braced([name])}"


def _braced(names: Iterable[str | None]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
