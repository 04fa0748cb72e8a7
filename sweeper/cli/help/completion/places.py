"""The places in a command line, and what may stand at each: what all shells' completions say."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sweeper.catalog import Catalog
from sweeper.cli.help import nouns
from sweeper.cli.help.pages import Page, Parameter

_SAFE = re.compile(r"[\w.:@%+=/-]+", re.ASCII)
EVERY = "every"
"""The number of an argument that may be repeated."""


@dataclass(frozen=True, slots=True)
class Value:
    """What may stand for a parameter.

    words    -- some words, and what each means; empty where it may be any text
    is_file  -- whether it is the name of a file
    """

    words: Mapping[str, str]
    is_file: bool


@dataclass(frozen=True, slots=True)
class Option:
    """An option; *value* is None for a flag."""

    names: tuple[str, ...]
    meaning: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class Place:
    """A command, and what may follow it.

    path      -- the command as it is typed: sweeper dead list
    commands  -- the commands below it, and what each does
    arguments -- what may stand for each argument, by its number from 1, or EVERY
    """

    path: str
    commands: Mapping[str, str]
    options: tuple[Option, ...]
    arguments: Mapping[str, Value]


def places(page: Page, catalog: Catalog | None) -> list[Place]:
    """Return the place of each command, from *page* on downwards."""
    return [_place(one, catalog) for one in page.walk()]


def _place(page: Page, catalog: Catalog | None) -> Place:
    def value(parameter: Parameter) -> Value:
        words = nouns.words(parameter, catalog).items()
        safe = {word: meaning for word, meaning in words if _SAFE.fullmatch(word)}
        return Value(safe, parameter.is_file)

    return Place(
        path=page.name,
        commands={one.path[-1]: one.summary for one in page.commands},
        options=tuple(
            Option(one.names, _brief(one.help), value(one) if one.value else None)
            for one in page.options
        ),
        arguments={
            EVERY if one.is_repeated else str(number): value(one)
            for number, one in enumerate(page.arguments, 1)
        },
    )


def _brief(text: str) -> str:
    """Return the first part of *text*: a list of completions has little room."""
    return re.split(r"[.;:] ", text, maxsplit=1)[0].removesuffix(".")


def quoted(text: str) -> str:
    """Return *text* in single quotes, as bash and zsh read it."""
    return "'" + text.replace("'", "'\\''") + "'"


def spaced(words: Iterable[str]) -> str:
    """Return words with spaces between them, in single quotes."""
    return quoted(" ".join(words))
