"""The texts of the notices: what their job files declare, and the operator's own instead."""

import math
import tomllib
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

from jobs.limits import in_words
from jobs.whatsapp.notice import LANGUAGES, NOTICE_TYPES, REFUND, Notice, text_faults
from sweeper import RejectedError

_LONGEST_LIMIT = 10**10  # seconds; metadata may say anything

Texts = Mapping[str, Mapping[str, str]]


def texts(file: Path | None = None) -> Texts:
    """Return every text by event and key: a language, or a language and `_refund`.

    file -- the operator's own texts; a text that is not in it stays as its job file declares it

    Raises ValueError that names file, key and field of everything that is wrong in it.
    """
    if file and (problems := [f"{file}: {fault}" for fault in faults(_read(file))]):
        raise ValueError("\n".join(problems))
    return {name: _of(notice, file) for name, notice in NOTICE_TYPES.values.items()}


def _of(notice: Notice, file: Path | None) -> Mapping[str, str]:
    """Return the texts of one notice; a file was checked with the settings, at the start."""
    return {**notice.texts, **(_read(file).get(notice.name, {}) if file else {})}


@cache
def _read(file: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}"
        raise ValueError(message) from error
    except ValueError as error:
        message = f"{file} is not valid TOML: {error}"
        raise ValueError(message) from error


def render_text(
    event_type: str, facts: Mapping[str, Any], language: str = "id", file: Path | None = None
) -> str:
    """Return the text of a notice.

    facts -- the notice's metadata: name, orderCode, dpAmount in whole rupiah, limitSeconds, and
             what its variables are
    file  -- the operator's own texts

    Raises RejectedError for an event that has no text.
    """
    notice = NOTICE_TYPES.values.get(event_type)
    if notice is None:
        message = f"there is no text for {event_type!r}"
        raise RejectedError(message)
    variants = _of(notice, file)
    default = variants[language]
    text = variants.get(f"{language}_{REFUND}", default) if owed(facts) else default
    return text.format(**fields(notice, facts, language)).strip()


def fields(notice: Notice, facts: Mapping[str, Any], language: str = "id") -> dict[str, str]:
    """Return the variables that a text may use, formatted for people."""
    own = {
        variable.name: variable.shown(facts.get(variable.name), language)
        for variable in notice.variables
    }
    return own | {
        "name": str(facts.get("name") or "Kak"),
        "order_code": str(facts.get("orderCode") or ""),
        "dp_amount": rupiah(owed(facts)),
        "limit": in_words(_limit(notice, facts), language),
    }


def sample(notice: Notice, key: str, limit: timedelta) -> dict[str, Any]:
    """Return the metadata of an invented notice whose text is that of *key*.

    limit -- the limit of its rule
    """
    own = {variable.name: variable.sample for variable in notice.variables}
    return own | {
        "name": "Sari Wulandari",
        "orderCode": "JST-ABC123-XY",
        "dpAmount": 50_000 if key.endswith(f"_{REFUND}") else 0,
        "limitSeconds": math.ceil(limit.total_seconds()),
    }


def _limit(notice: Notice, facts: Mapping[str, Any]) -> timedelta:
    """Return the limit that has passed; the shipped one where the metadata does not say it."""
    seconds = facts.get("limitSeconds")
    if type(seconds) is int and 0 < seconds < _LONGEST_LIMIT:
        return timedelta(seconds=seconds)
    return notice.limit


def owed(facts: Mapping[str, Any]) -> int:
    """Return the down payment in a notice's metadata, in whole rupiah; 0 where there is none."""
    amount = str(facts.get("dpAmount"))
    return int(amount) if amount.isdecimal() else 0


def rupiah(amount: int) -> str:
    """Return whole rupiah as Indonesians write them: Rp 1.250.000."""
    return f"Rp {amount:,}".replace(",", ".")


def faults(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield one line for each error in an operator's texts, beginning with the key of the text."""
    declared = NOTICE_TYPES.values
    for event, variants in found.items():
        if event not in declared or not isinstance(variants, dict):
            yield f"{event} is not a valid event; the events are {', '.join(declared)}"
            continue
        for key, text in variants.items():
            if key not in declared[event].texts or not isinstance(text, str):
                names = ", ".join(declared[event].texts)
                yield f"{event}.{key} is not a valid text; the texts are {names}"
                continue
            for fault in text_faults(key, text, declared[event].fields):
                yield f"{event}.{key} {fault}"


__all__ = ["LANGUAGES", "fields", "owed", "render_text", "rupiah", "sample", "texts"]
