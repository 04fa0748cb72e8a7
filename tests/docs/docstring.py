"""Docstrings as the project writes them: sentences, and lists of names with their meanings."""

import inspect
import re
from dataclasses import dataclass

_ITEM = re.compile(r"(?P<names>[\w, ]+?) +-- (?P<meaning>.*)")
_NAME = re.compile(r"\*(\w+)\*")


@dataclass(frozen=True, slots=True)
class Docstring:
    """A docstring that has been read.

    text     -- its paragraphs, as Markdown
    meanings -- by name, from its lists; two names that share a line share their meaning
    """

    text: str
    meanings: dict[str, str]


def read(docstring: str | None) -> Docstring:
    """Read a docstring."""
    paragraphs, meanings = list[str](), dict[str, str]()
    for block in inspect.cleandoc(docstring or "").split("\n\n"):
        found = _items(block)
        if found:
            meanings |= found
        else:
            paragraphs.append(" ".join(block.split()))
    return Docstring(_NAME.sub(r"`\1`", "\n\n".join(filter(None, paragraphs))), meanings)


def _items(block: str) -> dict[str, str]:
    """Return the meanings that *block* lists, or nothing where it is no list."""
    found, names = dict[str, str](), list[str]()
    for line in block.splitlines():
        if item := _ITEM.fullmatch(line):
            names = [name.strip() for name in item["names"].split(",")]
            found |= dict.fromkeys(names, item["meaning"])
        elif names and line.startswith(" "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            return {}
    return {name: _NAME.sub(r"`\1`", meaning) for name, meaning in found.items()}
