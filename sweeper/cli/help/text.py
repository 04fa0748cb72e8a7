"""A page of the help as text for a terminal: plain, no wider than 80 columns, nothing cut off."""

from collections.abc import Iterable
from typing import Any

from sweeper.catalog import Catalog
from sweeper.cli.help import nouns
from sweeper.cli.help.first_steps import EXIT_CODES, FIRST
from sweeper.cli.help.pages import Example, Page
from sweeper.cli.help.panels import PANELS

_LEFT = 26  # columns for what is typed; what is longer has a line of its own


def write(page: Page, formatter: Any, catalog: Catalog | None) -> None:
    """Write *page* with click's *formatter*.

    catalog -- for the names of rules and job types; None where the job package cannot be loaded
    """
    is_first = len(page.path) == 1
    formatter.write_usage(page.name, page.usage)
    for paragraph in page.description:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(paragraph)
    if is_first:
        _write_examples(formatter, "Type first", FIRST)
    for panel, below in by_panel(page):
        rows = [(one.path[-1], one.summary) for one in below]
        _write_rows(formatter, panel if is_first else "Commands", rows)
    _write_rows(formatter, "Arguments", [(one.heading, one.meaning) for one in page.arguments])
    for heading, words in nouns.sections(page, catalog).items():
        unknown = {"": "not known, because the job package cannot be loaded"}
        _write_rows(formatter, heading, (words or unknown).items())
    _write_rows(formatter, "Options", [(one.heading, one.meaning) for one in page.options])
    _write_examples(formatter, "Examples", page.examples)
    if is_first:
        _write_rows(formatter, "Exit codes", EXIT_CODES.items())
        formatter.write_paragraph()
        formatter.write_text(
            f"`{page.name} COMMAND --help` shows a command's options and examples."
        )


def by_panel(page: Page) -> list[tuple[str, list[Page]]]:
    """Return the commands below *page* by their groups, in the order of the groups."""
    panels = dict.fromkeys([*PANELS, *(one.panel for one in page.commands)])
    found = [(panel, [one for one in page.commands if one.panel == panel]) for panel in panels]
    return [(panel, below) for panel, below in found if below]


def _write_rows(formatter: Any, heading: str, rows: Iterable[tuple[str, str]]) -> None:
    if rows := list(rows):
        with formatter.section(heading):
            formatter.write_dl(rows, col_max=_LEFT)


def _write_examples(formatter: Any, heading: str, examples: Iterable[Example]) -> None:
    """Write each example on one line, however long it is, so that it can be copied."""
    examples = list(examples)
    if not examples:
        return
    with formatter.section(heading):
        indent = " " * formatter.current_indent
        for example in examples:
            formatter.write(f"{indent}{example.line}\n")
            with formatter.indentation(), formatter.indentation():
                formatter.write_text(example.meaning)
