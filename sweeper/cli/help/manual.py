"""The manual: all pages of the help as one man page, sweeper(1), in roff.

https://man7.org/linux/man-pages/man7/man.7.html describes the macros.
"""

import textwrap
from collections.abc import Iterable, Iterator

from sweeper.catalog import Catalog
from sweeper.cli.help import nouns
from sweeper.cli.help.first_steps import ENVIRONMENT, EXIT_CODES, FILES, FIRST
from sweeper.cli.help.pages import HELP, Example, Page
from sweeper.cli.help.text import by_panel
from sweeper.monitoring.version import version

_SEE = "systemctl(1), journalctl(1), psql(1); the runbook, in share/sweeper/docs/runbook.md"


def roff(page: Page, catalog: Catalog | None) -> str:
    """Return the manual of *page* and all commands below it.

    It bears no date, so that the same program always makes the same page.
    """
    return "\n".join(_lines(page, catalog))


def _lines(page: Page, catalog: Catalog | None) -> Iterator[str]:
    yield f'.TH SWEEPER 1 "" "sweeper {_escaped(version())}" "Sweeper"'
    yield ".ad l"  # else man stretches lines with spaces
    yield from _section("NAME")
    yield f"sweeper \\- {_text(page.summary[:1].lower() + page.summary[1:])}"
    yield from _section("SYNOPSIS")
    yield from _usage(page)
    yield from _section("DESCRIPTION")
    yield from _paragraphs(page.description)
    yield ".PP"
    yield "These options stand before COMMAND:"
    yield from _table((one.heading, one.meaning) for one in page.options)
    yield from _section("FIRST STEPS")
    yield "These change nothing of yours."
    yield from _examples(FIRST)
    for panel, below in by_panel(page):
        yield from _section(panel.upper())
        for command in below:
            for one in command.walk():
                yield from _command(one, catalog)
    yield from _section("EXIT STATUS")
    yield from _table(EXIT_CODES.items())
    yield from _section("ENVIRONMENT")
    yield from _table(ENVIRONMENT.items())
    yield from _section("FILES")
    yield from _table(FILES.items())
    yield from _section("SEE ALSO")
    yield _text(_SEE)


def _command(page: Page, catalog: Catalog | None) -> Iterator[str]:
    yield f'.SS "{_escaped(page.name)}"'
    yield from _usage(page)
    yield ".PP"
    yield from _paragraphs(page.description)
    yield from _table((one.heading, one.meaning) for one in page.arguments)
    for heading, words in nouns.sections(page, catalog).items():
        if words:
            yield ".PP"
            yield _escaped(f"{heading}:")
            yield from _table(words.items())
    options = [one for one in page.options if one != HELP]
    yield from _table((one.heading, one.meaning) for one in options)
    yield ".PP"
    yield "Examples:"
    yield from _examples(page.examples)


def _section(title: str) -> Iterator[str]:
    yield f'.SH "{_escaped(title)}"'


def _usage(page: Page) -> Iterator[str]:
    yield f"\\fB{_escaped(page.name)}\\fR {_escaped(page.usage)}"


def _paragraphs(texts: Iterable[str]) -> Iterator[str]:
    for number, text in enumerate(texts):
        if number:
            yield ".PP"
        yield _text(text)


def _table(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    for left, right in rows:
        yield ".TP"
        yield f"\\fB{_escaped(left)}\\fR"
        yield _text(right or left)


def _examples(examples: Iterable[Example]) -> Iterator[str]:
    for example in examples:
        yield ".PP"
        yield _text(f"{example.meaning[:1].upper()}{example.meaning[1:].removesuffix('.')}:")
        yield from (".PP", ".RS 4", ".EX", _escaped(example.line), ".EE", ".RE")


def _text(text: str) -> str:
    """Return running text, whose lines are short, as other programs' are."""
    lines = textwrap.wrap(text, 64, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_escaped, lines))


def _escaped(text: str) -> str:
    """Return *text* for roff: no word of it is a command, and a hyphen can be copied."""
    told = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    told = told.replace("'", "\\(aq").replace("`", "\\(ga")
    return f"\\&{told}" if told.startswith(".") else told
