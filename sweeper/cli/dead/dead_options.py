"""What the commands about dead letters share: the options that select them, and their causes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

import typer

from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.tables.column import Column
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind
from sweeper.humanize import number
from sweeper.queue.dead_letters.dead_letter_filter import WITHOUT, DeadLetterFilter
from sweeper.queue.dead_letters.dead_letter_table import DeadLetterGroup
from sweeper.redact import short
from sweeper.retry import DeadReason

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Ids that `dead list` shows.")]
Type = Annotated[
    str | None,
    typer.Option("--type", metavar="TYPE", help="Only dead letters of this job type; - for none."),
]
Reason = Annotated[DeadReason | None, typer.Option(metavar="REASON", help="Only this reason.")]
Fingerprint = Annotated[
    str | None,
    typer.Option(metavar="FINGERPRINT", help="Only dead letters whose error has this fingerprint."),
]
About = Annotated[
    str | None, typer.Option("--order", metavar="ORDER", help="Only this order's: its code or id.")
]
Why = Annotated[
    str | None, typer.Option(metavar="TEXT", help="The reason for doing so, for the log.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Only say how many there are, by cause; change nothing.")
]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]

CAUSES = 20
"""The causes that a person is shown."""

_CAUSE = (
    Column("letters", ColumnKind.NUMBER),
    Column("type", ColumnKind.TAG),
    Column("reason", ColumnKind.TAG),
    Column("fingerprint", ColumnKind.TAG),
    Column("first", ColumnKind.TIME),
    Column("last", ColumnKind.TIME),
    "latest error",
)


def about_key(app: App, typed: str | None, wanted: DeadLetterFilter) -> DeadLetterFilter:
    """Return *wanted* for the key that *typed* is, or is the code of; all of *wanted* for None.

    Raises UsageError where neither a row nor a dead letter has it.
    """
    if typed is None:
        return wanted
    if typed == WITHOUT:
        return replace(wanted, key=WITHOUT)
    with app.database.transaction() as tx:
        key = app.catalog.codes.find(tx, typed)
    if key is None:
        key = typed.strip()
        total, _ = app.dead_letter_queue.causes(DeadLetterFilter(key=key), 1)
        if not total:
            message = f"there is no order {short(key)!r}, and no dead letter about it"
            raise UsageError(message)
    return replace(wanted, key=key)


def counted(letters: int) -> str:
    """Return the number of dead letters in words: 1 dead letter, 1,502 dead letters."""
    return f"{number(letters)} dead {'letter' if letters == 1 else 'letters'}"


def print_causes(title: str, groups: Sequence[DeadLetterGroup]) -> None:
    """Print a table of causes."""
    causes = [
        (g.count, g.type, g.reason, g.fingerprint, g.first_at, g.last_at, g.error) for g in groups
    ]
    output.table(title, _CAUSE, causes, empty=f"{title}.")
