"""An operator's texts are read before anybody else reads them: known keys, and known fields."""

from collections.abc import Iterable, Iterator, Mapping
from string import Formatter
from typing import Any

FIELDS = ("name", "order_code", "dp_amount")
REFUND = "refund"
"""The end of a text's key where a down payment is owed back."""


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
