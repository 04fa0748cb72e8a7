"""`sweeper dead`: the commands that list, show, retry and drop dead letters."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.session import Json, acting, open_app
from sweeper.errors import UsageError
from sweeper.postgres.clock import iso
from sweeper.queue.acts import Action, listed
from sweeper.queue.dead_letter_queue import DeadLetterFilter, DeadLetterQueue
from sweeper.queue.dead_letter_table import MOST_GROUPED
from sweeper.redact import short
from sweeper.retry import DeadReason

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", help="Ids that `dead list` shows.")
]
Type = Annotated[str | None, typer.Option("--type", help="Only dead letters of this job type.")]
Reason = Annotated[DeadReason | None, typer.Option(help="Only this reason.")]
Fingerprint = Annotated[
    str | None, typer.Option(help="Only dead letters whose error has this fingerprint.")
]
About = Annotated[
    str | None, typer.Option("--order", metavar="ORDER", help="Only this order's: its code or id.")
]
Why = Annotated[str | None, typer.Option("--why", help="Why; `sweeper acts` shows it.")]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]

_CAUSE = ("letters", "type", "reason", "fingerprint", "first", "last", "latest error")
_LETTER = ("id", "type", "code", "key", "reason", "attempts", "died at", "fingerprint", "error")
_CAUSES = 20
_NEWEST = 50  # dead letters that a person is shown

COMMANDS = typer.Typer(help="List, show, retry or drop dead letters.", no_args_is_help=True)


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
            min=1, max=2**31 - 1, help="Only the newest so many; 50 by default, all with --json."
        ),
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ID", help="Only those older than this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List dead letters: their causes and the newest ones, or all with --json, oldest first."""
    wanted = DeadLetterFilter((), type_, reason, fingerprint, before, limit)
    with open_app(context) as app:
        app.check()
        wanted = _about(app, about, wanted)
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
    """Show dead letters in full, with body and error."""
    if not (ids or about):
        message = "no dead letters selected: give ids or --order"
        raise UsageError(message)
    with open_app(context) as app:
        app.check()
        found = app.dead_letter_queue.find(_about(app, about, DeadLetterFilter(ids or ())))
    shown = (letter.as_json() for letter in found)
    if as_json:
        output.json_list(shown)
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
    about: About = None,
    everything: Everything = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Send dead letters to their queues again, with the retry count at 0."""
    wanted = _filter(ids, type_, reason, fingerprint, everything=everything or bool(about))
    with open_app(context) as app:
        app.check()
        wanted = _about(app, about, wanted)
        with acting(app, Action.RETRY, f"dead letters: {wanted}", why) as act:
            taken = app.dead_letter_queue.retry(wanted, act)
            act.finish(listed(taken))
    _print_taken("retried", taken, as_json=as_json)


@COMMANDS.command("drop")
def drop_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    about: About = None,
    everything: Everything = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Delete dead letters. An order that is still due is enqueued again by the next scan."""
    wanted = _filter(ids, type_, reason, fingerprint, everything=everything or bool(about))
    with open_app(context) as app:
        app.check()
        wanted = _about(app, about, wanted)
        with acting(app, Action.DROP, f"dead letters: {wanted}", why) as act:
            taken = app.dead_letter_queue.drop(wanted, act)
            act.finish(listed(taken))
    _print_taken("dropped", taken, as_json=as_json)


def _filter(
    ids: list[int] | None,
    type_: str | None,
    reason: str | None,
    fingerprint: str | None,
    *,
    everything: bool,
) -> DeadLetterFilter:
    if not (ids or type_ or reason or fingerprint or everything):
        message = (
            "no dead letters selected: give ids, --type, --reason, --fingerprint, --order or --all"
        )
        raise UsageError(message)
    return DeadLetterFilter(ids or (), type_, reason, fingerprint)


def _about(app: App, typed: str | None, wanted: DeadLetterFilter) -> DeadLetterFilter:
    """Return *wanted* for the key that *typed* is, or is the code of; all of *wanted* for None.

    Raises UsageError where neither a row nor a dead letter has it.
    """
    if typed is None:
        return wanted
    with app.database.transaction() as tx:
        key = app.catalog.codes.find(tx, typed)
    if key is None:
        key = typed.strip()
        total, _ = app.dead_letter_queue.causes(DeadLetterFilter(key=key), 1)
        if not total:
            message = f"there is no order {short(key)!r}, and no dead letter about it"
            raise UsageError(message)
    return replace(wanted, key=key)


def _print_taken(verb: str, ids: list[int], *, as_json: bool) -> None:
    if as_json:
        output.document({verb: ids})
    else:
        output.line(f"{len(ids)} dead letters {verb}")


def _print_indented(text: str) -> None:
    """Print a JSON text indented, or as it is where it holds what Python refuses to read."""
    with suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2)
    output.raw_json(text)


def _print_tables(queue: DeadLetterQueue, wanted: DeadLetterFilter) -> None:
    """Print the causes of all that *wanted* selects, then the newest of them."""
    total, groups = queue.causes(wanted, _CAUSES)
    newest = f", the newest {MOST_GROUPED} by cause" if total > MOST_GROUPED else ""
    causes = [
        (g.count, g.type, g.reason, g.fingerprint, iso(g.first_at), iso(g.last_at), g.error)
        for g in groups
    ]
    output.table(f"{total} dead letters{newest}", _CAUSE, causes)
    limit = wanted.limit or _NEWEST
    one_more = queue.find(replace(wanted, limit=limit + 1))
    shown = one_more[-limit:][::-1]
    rows = [
        (
            m.msg_id,
            m.type,
            m.code,
            m.key,
            m.reason,
            m.attempts,
            iso(m.died_at),
            m.fingerprint,
            m.error,
        )
        for m in shown
    ]
    if shown:
        output.table(f"the newest {len(shown)}, newest first", _LETTER, rows)
    if len(one_more) > limit:
        output.line(f"older ones: add --before {shown[-1].msg_id}; --json lists all")
