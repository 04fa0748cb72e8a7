"""`sweeper dead`: the commands that list, show, retry and drop dead letters."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.dead import dead_acts
from sweeper.cli.dead.dead_options import (
    CAUSES,
    About,
    Fingerprint,
    Ids,
    Reason,
    Type,
    about_key,
    counted,
    print_causes,
)
from sweeper.cli.help import panels
from sweeper.cli.lists import NewerThan, OlderThan, age
from sweeper.cli.session import Json, open_app
from sweeper.cli.tables.column import Column
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.queue.dead_letters.dead_letter_queue import DeadLetterQueue
from sweeper.queue.dead_letters.dead_letter_table import MOST_GROUPED

_LETTER = (
    Column("id", ColumnKind.NUMBER, str),
    Column("type", ColumnKind.TAG),
    Column("code", ColumnKind.KEY),
    Column("key", ColumnKind.KEY),
    Column("reason", ColumnKind.TAG),
    Column("attempts", ColumnKind.NUMBER),
    Column("died at", ColumnKind.TIME),
    Column("fingerprint", ColumnKind.TAG),
    "error",
)
_IN_FULL = (*_LETTER, Column("queue", ColumnKind.TAG), Column("sweep", ColumnKind.SWEEP))
_NEWEST = 50  # dead letters that a person is shown

HELP = """List, show, retry or drop dead letters.

A dead letter is a job that is given up: its retries are exhausted, or no retry can help.

Examples:
  sweeper dead list  # what died, by cause
  sweeper dead show 42  # one of them in full
  sweeper dead retry --type ORDER_EXPIRE_DP  # once the cause is mended
"""

COMMANDS = typer.Typer(help=HELP, no_args_is_help=True, rich_help_panel=panels.ACT)


@COMMANDS.command("list")
def list_dead(
    context: typer.Context,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    about: About = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2**31 - 1,
            metavar="N",
            help="Only the newest so many; 50 by default, all with --json.",
        ),
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ID", help="Only those older than this one.")
    ] = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    as_json: Json = False,
) -> None:
    """List dead letters: their causes, and the newest. With --json all, the oldest first.

    Examples:
      sweeper dead list  # the causes, and the newest
      sweeper dead list --reason exhausted --newer-than 1d  # what failed too often since yesterday
      sweeper dead list --json | jq length  # how many there are
    """
    wanted = DeadLetterFilter((), type_, reason, fingerprint, before, limit)
    wanted = replace(wanted, older=age(older_than), newer=age(newer_than))
    with open_app(context) as app:
        app.check()
        wanted = about_key(app, about, wanted)
        if as_json:
            output.json_list(letter.as_json() for letter in app.dead_letter_queue.stream(wanted))
        else:
            _print_tables(app.dead_letter_queue, wanted)


@COMMANDS.command("show")
def show_dead(
    context: typer.Context,
    ids: Ids = None,
    about: About = None,
    as_json: Json = False,
) -> None:
    """Show dead letters in full, with body and error.

    Examples:
      sweeper dead show 42 43  # by the ids that `sweeper dead list` shows
      sweeper dead show --order JST-ABC123-XY  # those about one order
    """
    if not (ids or about):
        message = "no dead letters selected: give ids or --order"
        raise UsageError(message)
    with open_app(context) as app:
        app.check()
        found = app.dead_letter_queue.find(about_key(app, about, DeadLetterFilter(ids or ())))
    if as_json:
        output.json_list(letter.as_json() for letter in found)
    else:
        for letter in found:
            _print_in_full(letter)


def _print_in_full(letter: DeadLetter) -> None:
    """Print a dead letter, then its body: indented, or as it is where Python refuses to read it."""
    row = (*_row(letter), letter.queue, letter.sweep_id)
    output.record(f"dead letter {letter.msg_id}", _IN_FULL, row)
    body = letter.body or "null"
    with suppress(ValueError, RecursionError):
        body = json.dumps(json.loads(body), indent=2)
    output.line(f"body:\n{body}\n")


def _row(letter: DeadLetter) -> tuple[object, ...]:
    return (
        letter.msg_id,
        letter.type,
        letter.code,
        letter.key,
        letter.reason,
        letter.attempts,
        letter.died_at,
        letter.fingerprint,
        letter.error,
    )


def _print_tables(queue: DeadLetterQueue, wanted: DeadLetterFilter) -> None:
    """Print the causes of all that *wanted* selects, then the newest of them."""
    total, groups = queue.causes(wanted, CAUSES)
    if not total:
        output.line("No dead letters." if str(wanted) == "all" else "No dead letters match.")
        return
    newest = f", the newest {MOST_GROUPED} by cause" if total > MOST_GROUPED else ""
    print_causes(f"{counted(total)}{newest}", groups)
    limit = wanted.limit or _NEWEST
    one_more = queue.find(replace(wanted, limit=limit + 1))
    shown = one_more[-limit:][::-1]
    output.line("")
    title = f"the newest {len(shown)}{', newest first' if len(shown) > 1 else ''}"
    output.table(title, _LETTER, [_row(letter) for letter in shown], empty="No older ones.")
    if len(one_more) > limit:
        output.line(f"older ones: add --before {shown[-1].msg_id}; --json lists all")


COMMANDS.add_typer(dead_acts.COMMANDS)
