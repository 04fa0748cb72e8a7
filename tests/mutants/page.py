"""The table of mutants: on the terminal, and as docs/mutants.md."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from tests.mutants.areas import AREAS
from tests.mutants.mutant import Mutant
from tests.mutants.tree import Fate, Result
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "mutants.md"

_INTRODUCTION = """\
# Mutants

A mutant is one fault, planted on purpose: a test must fail. `python -m tests.mutants --write`
plants each in a copy of the tree, runs the tests that ought to see it, and writes this page; what
exactly was replaced stands in `tests/mutants/planted/`. L1 to L12 are the laws of
[architecture.md](architecture.md), *access* is who may do what, and *contract* is what operators
and programs rely on. The seconds are those of a whole run of pytest, most of them to start it.

{count} mutants: {killed} killed, {explained} equivalent, with the reason in its row.
"""
_STYLES = {Fate.KILLED: "green", Fate.SURVIVED: "bold red"}


def table(results: Sequence[Result]) -> Table:
    """Return the results as a table for people."""
    shown = Table("law", "planted", "file", "fate", "test", "s", title_justify="left")
    shown.columns[-1].justify = "right"
    for result in results:
        mutant = result.mutant
        style = "green" if result.is_well else _STYLES.get(result.fate, "bold yellow")
        told = [
            mutant.law,
            mutant.name,
            mutant.file,
            f"[{style}]{result.fate}[/]",
            _seen_by(result),
        ]
        shown.add_row(*told, f"{result.seconds:.0f}")
    return shown


def page(results: Sequence[Result]) -> str:
    """Return the text of docs/mutants.md."""
    by_name = {result.mutant.name: result for result in results}
    explained = sum(bool(result.mutant.equivalent) for result in results)
    parts = [
        _INTRODUCTION.format(
            count=len(results), killed=len(results) - explained, explained=explained
        )
    ]
    for title, mutants in AREAS.items():
        parts.append("\n".join(_section(title, mutants, by_name)))
    return "\n".join(parts)


def names_on_the_page() -> list[str]:
    """Return the names of the mutants that the page has."""
    rows = [line.split(" | ") for line in PAGE.read_text("utf-8").splitlines()]
    return [row[1] for row in rows if row[0] != "| law" and len(row) > 1]


def _section(title: str, mutants: Sequence[Mutant], results: Mapping[str, Result]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| law | planted | file | seen by | s |"
    yield "|---|---|---|---|--:|"
    for mutant in mutants:
        result = results[mutant.name]
        seen = mutant.equivalent or f"`{_seen_by(result)}`"
        yield f"| {mutant.law} | {mutant.name} | `{mutant.file}` | {seen} | {result.seconds:.0f} |"
    yield ""


def _seen_by(result: Result) -> str:
    test = (result.test or "").removeprefix("tests/")
    return test or result.mutant.equivalent or "none of its tests"
