"""`sweeper dead`: the commands that list, show, retry and drop dead letters."""

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.session import Json, open_app
from sweeper.errors import UsageError
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.dead_letter_queue import DeadLetterFilter
from sweeper.retry import DeadReason

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Ids that `dead list` shows.")
]
Type = Annotated[str | None, typer.Option("--type", help="Only dead letters of this job type.")]
Reason = Annotated[DeadReason | None, typer.Option(help="Only this reason.")]
Fingerprint = Annotated[
    str | None, typer.Option(help="Only dead letters whose error has this fingerprint.")
]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]

COMMANDS = typer.Typer(help="List, show, retry or drop dead letters.", no_args_is_help=True)


@COMMANDS.command("list")
def list_dead(
    context: typer.Context,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    as_json: Json = False,
) -> None:
    """List dead letters, oldest first."""
    with open_app(context) as app:
        app.check()
        found = app.dead_letter_queue.find(DeadLetterFilter((), type_, reason, fingerprint))
    if as_json:
        _print_list(letter.as_json() for letter in found)
    else:
        _print_table(found)


@COMMANDS.command("show")
def show_dead(
    context: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids that `dead list` shows.")],
    as_json: Json = False,
) -> None:
    """Show dead letters in full, with body and error."""
    with open_app(context) as app:
        app.check()
        found = app.dead_letter_queue.find(DeadLetterFilter(ids))
    shown = [letter.as_json() for letter in found]
    if as_json:
        _print_list(shown)
    else:
        for letter in shown:
            _print_indented(letter)


@COMMANDS.command("retry")
def retry_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Send dead letters to their queues again, with the retry count at 0."""
    wanted = _filter(ids, type_, reason, fingerprint, everything=everything)
    with open_app(context) as app:
        app.check()
        taken = app.dead_letter_queue.retry(wanted)
    _print_taken("retried", [letter.msg_id for letter in taken], as_json=as_json)


@COMMANDS.command("drop")
def drop_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters. An order that is still due is enqueued again by the next scan."""
    wanted = _filter(ids, type_, reason, fingerprint, everything=everything)
    with open_app(context) as app:
        app.check()
        taken = app.dead_letter_queue.drop(wanted)
    _print_taken("dropped", [letter.msg_id for letter in taken], as_json=as_json)


def _filter(
    ids: list[int] | None,
    type_: str | None,
    reason: str | None,
    fingerprint: str | None,
    *,
    everything: bool,
) -> DeadLetterFilter:
    if not (ids or type_ or reason or fingerprint or everything):
        message = "no dead letters selected: give ids, --type, --reason, --fingerprint or --all"
        raise UsageError(message)
    return DeadLetterFilter(ids or (), type_, reason, fingerprint)


def _print_taken(verb: str, ids: list[int], *, as_json: bool) -> None:
    if as_json:
        output.document({verb: ids})
    else:
        output.line(f"{len(ids)} dead letters {verb}")


def _print_list(texts: Iterable[str]) -> None:
    """Print JSON texts as one list, each as it comes, so that none of them is kept."""
    separator = "[\n"
    for text in texts:
        output.raw_json(f"{separator}  {text}", end="")
        separator = ",\n"
    output.raw_json("[]" if separator == "[\n" else "\n]")


def _print_indented(text: str) -> None:
    """Print a JSON text indented, or as it is where it holds what Python refuses to read."""
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2)
    output.raw_json(text)


def _print_table(found: Sequence[DeadLetter]) -> None:
    columns = ("id", "type", "key", "reason", "attempts", "died at", "fingerprint", "error")
    rows = [
        (m.msg_id, m.type, m.key, m.reason, m.attempts, m.died_at, m.fingerprint, m.error)
        for m in found
    ]
    output.table(f"{len(found)} dead letters", columns, rows)
