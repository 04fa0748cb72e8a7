"""`sweeper dead retry` and `dead drop`: the commands that act on dead letters."""

import sys
from dataclasses import replace
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.dead.dead_options import (
    CAUSES,
    About,
    DryRun,
    Everything,
    Fingerprint,
    Ids,
    Reason,
    Type,
    Why,
    about_key,
    counted,
    print_causes,
)
from sweeper.cli.lists import NewerThan, OlderThan, age
from sweeper.cli.session import Json, acting, open_app
from sweeper.errors import UsageError
from sweeper.queue.acts import Action, listed
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter, Seen
from sweeper.queue.dead_letters.dead_letter_queue import DeadLetterQueue

COMMANDS = typer.Typer()


@COMMANDS.command("retry")
def retry_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    about: About = None,
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: Everything = False,
    why: Why = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Send dead letters to their queues again. Their retry count is 0 then.

    Examples:
      sweeper dead retry 42  # one of them
      sweeper dead retry --type NOTIFICATION_SEND_WHATSAPP --dry-run  # how many these are
      sweeper dead retry --newer-than 1d --why "the provider is back"  # what died since then
    """
    wanted = _filter(ids, type_, reason, fingerprint, older_than, newer_than,
                     everything=everything or bool(about))  # fmt: skip
    with open_app(context) as app:
        app.check()
        wanted = about_key(app, about, wanted)
        if dry_run:
            _print_preview(app.dead_letter_queue, wanted, "retried", as_json=as_json)
            return
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
    older_than: OlderThan = None,
    newer_than: NewerThan = None,
    everything: Everything = False,
    why: Why = None,
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask on a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters. An order that is still due is queued again by the next scan.

    On a terminal it asks first where it takes several that were not given by their ids.

    Examples:
      sweeper dead drop 42 --why "a test"  # one of them
      sweeper dead drop --older-than 90d --dry-run  # how many are as old as this
      sweeper dead drop --type ORDER_EXPIRE_DP --why "cancelled by hand"  # those of a type
    """
    wanted = _filter(ids, type_, reason, fingerprint, older_than, newer_than,
                     everything=everything or bool(about))  # fmt: skip
    with open_app(context) as app:
        app.check()
        wanted = about_key(app, about, wanted)
        if dry_run:
            _print_preview(app.dead_letter_queue, wanted, "dropped", as_json=as_json)
            return
        asks = not (ids or yes) and sys.stdin.isatty()
        seen = _confirmed(app.dead_letter_queue, wanted) if asks else None
        with acting(app, Action.DROP, f"dead letters: {wanted}", why) as act:
            taken = app.dead_letter_queue.drop(wanted, act, expected=seen)
            act.finish(listed(taken))
    _print_taken("dropped", taken, as_json=as_json)


def _confirmed(queue: DeadLetterQueue, wanted: DeadLetterFilter) -> Seen:
    """Return what there is to see of the dead letters; of several, ask whether to drop them."""
    seen = queue.seen(wanted)
    if seen.count > 1:
        typer.confirm(f"drop {counted(seen.count)} for good?", abort=True, err=True)
    return seen


def _print_preview(
    queue: DeadLetterQueue, wanted: DeadLetterFilter, verb: str, *, as_json: bool
) -> None:
    """Print how many dead letters would be taken, by cause."""
    total, groups = queue.causes(wanted, CAUSES)
    if as_json:
        causes = [
            {"letters": g.count, "type": g.type, "reason": g.reason, "fingerprint": g.fingerprint}
            for g in groups
        ]
        output.document({"would_be": verb, "letters": total, "causes": causes})
    else:
        print_causes(f"{counted(total)} would be {verb}", groups)


def _filter(
    ids: list[int] | None,
    type_: str | None,
    reason: str | None,
    fingerprint: str | None,
    older_than: str | None,
    newer_than: str | None,
    *,
    everything: bool,
) -> DeadLetterFilter:
    if not (ids or type_ or reason or fingerprint or older_than or newer_than or everything):
        message = (
            "no dead letters selected: give ids, --type, --reason, --fingerprint, --order,"
            " --older-than, --newer-than or --all"
        )
        raise UsageError(message)
    chosen = DeadLetterFilter(ids or (), type_, reason, fingerprint)
    return replace(chosen, older=age(older_than), newer=age(newer_than))


def _print_taken(verb: str, ids: list[int], *, as_json: bool) -> None:
    if as_json:
        output.document({verb: ids})
    else:
        output.line(f"{counted(len(ids))} {verb}")
