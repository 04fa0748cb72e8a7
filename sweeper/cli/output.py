"""All that commands print, with control characters visible: documents, lines, tables, progress."""

import csv
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from sweeper import redact
from sweeper.batch import Tally
from sweeper.cli.tables.column import Column
from sweeper.cli.tables.table import Table
from sweeper.exports import ColumnKind
from sweeper.humanize import in_line, visible


class _Console(Console):
    """A console that makes the control characters in strings visible."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(visible(o) if isinstance(o, str) else o for o in objects), **options)


_NO_LIMIT = 100_000  # a pipe has no width, and what reads it needs complete lines

out = _Console(highlight=False, soft_wrap=True, width=None if os.isatty(1) else _NO_LIMIT)
err = _Console(stderr=True, highlight=False)

CLEAR_LINE = "\r\x1b[K"  # on a terminal: what follows takes the place of a progress bar


class Stderr:
    """Standard error as it is when it is written to: a progress bar lets lines appear above it."""

    def write(self, text: str) -> int:
        """Write to it."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Write out what it holds back."""
        sys.stderr.flush()

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return sys.stderr.isatty()


def width() -> int:
    """Return the width of stdout: what COLUMNS says, or the terminal has; a pipe has no limit."""
    return shutil.get_terminal_size((_NO_LIMIT, 24)).columns


def document(value: Any) -> None:
    """Print *value* to stdout as a JSON document."""
    raw_json(json.dumps(value, indent=2, default=str))


def raw_json(text: str, end: str = "\n") -> None:
    """Print JSON text, whose control characters are escapes; `json.dumps` leaves out one."""
    print(text.replace("\x7f", "\\u007f"), end=end)  # noqa: T201 -- stdout is the contract


def json_list(texts: Iterable[str]) -> None:
    """Print JSON texts as one list, each as it comes, so that none of them is kept."""
    separator = "[\n"
    for text in texts:
        raw_json(f"{separator}  {text}", end="")
        separator = ",\n"
    raw_json("[]" if separator == "[\n" else "\n]")


def write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print *rows* as CSV, with a header line."""
    writer = csv.DictWriter(sys.stdout, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({k: in_line(v) if isinstance(v, str) else v for k, v in row.items()})


def line(text: object, *, to_stderr: bool = False) -> None:
    """Print plain text, as it is but for control characters."""
    typer.echo(visible(str(text)), err=to_stderr)


def table(
    title: str,
    columns: Sequence[str | Column],
    rows: Sequence[Sequence[object]],
    *,
    empty: str = "None.",
) -> None:
    """Print the rows of a list, or the sentence *empty* where there are none.

    columns -- a text stands for a column with this heading, whose kind its values tell
    """
    if rows:
        out.print(_table(title, columns, rows), width=width())
    else:
        line(empty)


def record(title: str, columns: Sequence[str | Column], row: Sequence[object]) -> None:
    """Print one thing in full: a line for each of its values that is not empty."""
    out.print(replace(_table(title, columns, [row]), is_record=True), width=width())


def entry(what: str, more: str) -> None:
    """Print an entry of a list, and below it more of it; a terminal gets it between its words."""
    for text, indent in ((what, 2), (more, 4)):
        told = in_line(redact.text(text))
        if out.is_terminal:
            out.print(Padding(Text(told), (0, 0, 0, indent), expand=False), soft_wrap=False)
        else:
            line(f"{' ' * indent}{told}")


def typed(command: str) -> None:
    """Print a line to type, which stands alone and is never folded, so that it can be copied."""
    out.print(f"    {in_line(command)}", style="cyan", markup=False)


@contextmanager
def progress(left: Callable[[], int]) -> Iterator[Callable[[Tally], None]]:
    """Show a progress bar if stderr is a terminal; yields the function that advances it.

    left -- returns how many messages are still visible; called once, after the first step
    """
    if not err.is_terminal:
        yield lambda _tally: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("jobs", total=None)

        def advance(tally: Tally) -> None:
            processed = tally.done + tally.skipped + tally.failed + tally.postponed
            if bar.tasks[0].total is None:
                bar.update(task, total=processed + left())
            bar.advance(task, processed)

        yield advance


@contextmanager
def counter(what: str) -> Iterator[Callable[[int], None]]:
    """Count on a terminal's stderr; yields the function that adds to the number."""
    if not err.is_terminal:
        yield lambda _number: None
        return
    columns = (TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda number: bar.advance(task, number)


def findings(found: Sequence[Any]) -> None:
    """Print the findings of the doctor, the worst last, next to the prompt."""
    marks = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "error": "[red]error  [/]"}
    for one in sorted(found, key=lambda finding: list(marks).index(finding.level)):
        out.print(f"{marks[one.level]}  {escape(one.about)}: {escape(one.what)}")
        if one.remedy:
            out.print(f"         {one.remedy}", markup=False)
        if one.runbook:
            out.print(f"         see {one.runbook}", markup=False)


def _table(title: str, columns: Sequence[str | Column], rows: Sequence[Sequence[object]]) -> Table:
    headed = [
        Column(one, _kind_of([row[place] for row in rows])) if isinstance(one, str) else one
        for place, one in enumerate(columns)
    ]
    return Table(visible(title), headed, rows)


def _kind_of(values: Sequence[object]) -> ColumnKind:
    """Return what a column without a declared kind holds."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float}:
        return ColumnKind.NUMBER
    return ColumnKind.TIME if kinds and kinds <= {datetime, timedelta} else ColumnKind.TEXT
