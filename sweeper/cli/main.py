"""The command line: reads what is asked, puts the parts together, tells what came of it."""

import getpass
import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import catalog, events, logs, redact
from sweeper.app import App
from sweeper.cli import output
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError, UsageError
from sweeper.job import Priority
from sweeper.monitoring.status import Status
from sweeper.postgres.database import in_one_line, unusable
from sweeper.queue.dead_letter_queue import Choice
from sweeper.queue.wire import json_value
from sweeper.sweep.plan import Plan
from sweeper.worker.completer import Tally

JOB_PACKAGE = "jobs"
SOME_JOB_RAISED = 3
BRAKE_HELD = 4

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Ids from `dead list`.")]
Type = Annotated[str | None, typer.Option("--type", help="Only this job type.")]
Reason = Annotated[
    str | None, typer.Option(help="Only: exhausted, invalid, unknown_type, crashed, rejected.")
]
Fingerprint = Annotated[str | None, typer.Option(help="Only errors of this kind.")]
Everything = Annotated[bool, typer.Option("--all", help="All of them.")]

cli = typer.Typer(
    name="sweeper",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
dead = typer.Typer(help="Look at dead letters, send them again, drop them.", no_args_is_help=True)
cli.add_typer(dead, name="dead")


def main() -> None:
    """Run the command line; an error is one or two lines on stderr, and an exit code."""
    try:
        known = catalog.load(JOB_PACKAGE)
        there = {group.name for group in cli.registered_groups}
        for name, commands in known.commands.items():
            if name not in there:
                cli.add_typer(commands, name=name)
        cli(obj={"catalog": known}, prog_name="sweeper")
    except SweeperError as error:
        typer.echo(redact.text(f"sweeper: {error}"), err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        logging.getLogger("sweeper").debug("unexpected", exc_info=error)
        typer.echo(f"sweeper: unexpected {in_one_line(error)}", err=True)
        typer.echo("this is a bug; SWEEPER_LOG__LEVEL=debug shows where", err=True)
        sys.exit(SweeperError.exit_code)


@cli.callback()
def begin(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="The TOML file; else SWEEPER_CONFIG, else /etc/sweeper/sweeper.toml."),
    ] = None,
) -> None:
    """Find orders that nobody acted on in time, queue them in pgmq, settle each exactly once.

    Begin with `sweeper demo`. Exit codes: 0 done, 2 usage, 3 some job raised an error, 4 the brake
    held, 69 database or pgmq unusable, 78 settings invalid.
    """
    context.obj["file"] = config


@contextmanager
def opened(context: typer.Context, stream: Any = None, **flags: Any) -> Iterator[App]:
    """Lend this command its app; the database's errors become an operator's."""
    app = App.load(context.obj["catalog"], file=context.obj["file"], flags=flags)
    log = app.settings.log
    logs.set_up(log.level, log.format, stream or sys.stderr, app.settings.secrets)
    try:
        yield app
    except (DBAPIError, PoolTimeoutError) as error:
        raise unusable(error, app.database) from error
    finally:
        app.close()


@cli.command()
def migrate(
    context: typer.Context,
    install_pgmq: Annotated[
        bool, typer.Option("--install-pgmq", help="Install pgmq where it is missing.")
    ] = False,
    with_indexes: Annotated[
        bool,
        typer.Option(
            "--with-indexes", help="Create the indexes that make scans cheap, concurrently."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Create or upgrade schema sweeper and the queues; safe to repeat, and to run twice at once."""
    with opened(context) as app:
        done = app.migrate(install_pgmq=install_pgmq, with_indexes=with_indexes)
    if as_json:
        output.document({"done": done})
    else:
        typer.echo("\n".join(done) or "nothing to do: everything is in place")


@cli.command()
def run(context: typer.Context) -> None:
    """Run the service: schedule, drain, outbound, until SIGTERM. SIGUSR1 scans at once."""
    from sweeper.service.supervisor import Service  # noqa: PLC0415 -- only the service pays for its scheduler

    with opened(context, sys.stdout) as app:
        app.settings.demand()
        app.check()
        raise typer.Exit(Service(app).run())


@cli.command()
def sweep(
    context: typer.Context,
    rules: Annotated[list[str] | None, typer.Argument(metavar="[RULE]...")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen; with --json, as a plan.")
    ] = False,
    scan_only: Annotated[
        bool, typer.Option("--scan-only", help="Enqueue; leave the work to the service.")
    ] = False,
    max_: Annotated[
        int | None,
        typer.Option("--max", min=1, metavar="N", help="Answer the brake: up to N rows a rule."),
    ] = None,
    plan: Annotated[
        typer.FileText | None,
        typer.Option(
            metavar="FILE", help="Touch only the orders of this dry run that are still due."
        ),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Why; it stands in the books.")] = None,
    as_json: Json = False,
) -> None:
    """Make one full pass now: scan the rules, work off every visible message, exit.

    Safe beside a running service. Without RULE, every rule that is on.

    To sweep just what you have looked at: sweep --dry-run --json > plan.json, read it, then
    sweep --plan plan.json. A plan works off its own orders, and leaves the rest to the service.
    """
    with opened(context) as app:
        obeyed = _plan(app, plan, rules)
        chosen = [app.catalog.rule(name) for name in rules or (obeyed or app).rules]
        limit = max_ or (obeyed.limit if obeyed else app.settings.safety.max_per_sweep)
        machine = app.sweep()
        with output.progress(lambda: _visible(app)) as progress:
            report = machine.run(
                chosen,
                limit=limit,
                actor=_user(),
                reason=reason or (f"plan {obeyed.sweep_id}" if obeyed else None),
                planned=obeyed.planned if obeyed else None,
                dry_run=dry_run,
                scan_only=scan_only,
                progress=progress,
            )
    output.document(report.as_json()) if as_json else output.sweep(report, limit)
    if report.braked:
        raise typer.Exit(BRAKE_HELD)
    _exit_for(report.jobs)


@cli.command()
def drain(context: typer.Context, as_json: Json = False) -> None:
    """Work off every visible message, and exit."""
    with opened(context) as app:
        machine = app.sweep()
        began = time.monotonic()
        with output.progress(lambda: _visible(app)) as progress:
            tally = machine.drain(progress)
    seconds = time.monotonic() - began
    if as_json:
        output.document({"jobs": asdict(tally), "duration_ms": round(seconds * 1000)})
    else:
        output.tally(tally, seconds)
    _exit_for(tally)


@cli.command()
def enqueue(
    context: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as ORDER_EXPIRE_DP.")],
    payload: Annotated[str, typer.Argument(help="""JSON, such as '{"orderId": "..."}'.""")],
    priority: Annotated[Priority | None, typer.Option(help="Else the type's own.")] = None,
    delay: Annotated[int, typer.Option(min=0, metavar="SECONDS")] = 0,
    as_json: Json = False,
) -> None:
    """Validate a job, send it, and print its message id."""
    with opened(context) as app:
        try:
            value = json_value(payload)
        except ValueError as error:
            message = f"the payload is not JSON: {error}"
            raise UsageError(message) from error
        msg_id, queue = app.enqueue(type_, value, priority, timedelta(seconds=delay))
    output.document({"msg_id": msg_id, "queue": queue}) if as_json else typer.echo(msg_id)


@cli.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds.")] = False,
    as_json: Json = False,
) -> None:
    """Show queues, rules, dead letters and overdue orders."""
    with opened(context) as app:
        app.check()
        if as_json:
            output.document(app.reader.read().as_json())
        elif watch:
            output.watch(partial(_read, app))
        else:
            output.status(app.reader.read())


@cli.command()
def explain(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(help="The order's id.")],
    as_json: Json = False,
) -> None:
    """Tell everything that was ever decided about one order, and why it is, or is not, due."""
    with opened(context) as app:
        app.check()
        story = app.explainer.explain(order_id)
    if not story.rules and not story.facts:
        message = f"there is no order {order_id!r}, and nothing was ever decided about it"
        raise UsageError(message)
    output.document(story.as_json()) if as_json else output.story(story)


@cli.command()
def audit(context: typer.Context, as_json: Json = False) -> None:
    """Prove from the books that every job ended once, or name what is missing (exit code 1)."""
    with opened(context) as app:
        app.check()
        balance = app.auditor.audit()
    output.document(asdict(balance)) if as_json else output.balance(balance)
    for gap in balance.gaps:
        events.JOB_LOST.tell(**asdict(gap))
    if balance.gaps:
        raise typer.Exit(1)


@cli.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at everything that must be right, and say at once all that is not, with its remedy."""
    from sweeper.cli.doctor import Level, examine  # noqa: PLC0415 -- only the doctor needs the doctor

    with opened(context) as app:
        findings = examine(app)
    if as_json:
        output.document([asdict(finding) for finding in findings])
    else:
        output.findings(findings)
    ill = {finding.about for finding in findings if finding.level is Level.ERROR}
    if ill:
        raise typer.Exit(
            SettingsError.exit_code if ill == {"settings"} else DatabaseUnusableError.exit_code
        )


@cli.command()
def grants(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="A login role, which must exist already.")],
) -> None:
    """Print the SQL that gives a role the least that the service needs."""
    from sweeper.admin.grants import needed, statements  # noqa: PLC0415 -- likewise

    with opened(context) as app:
        typer.echo("\n".join(statements(role, needed(app.queues, app.catalog.grants))))


@cli.command()
def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the effective settings, secrets masked, each with where it came from."""
    with opened(context) as app:
        rows = app.settings.table()
    if as_json:
        output.document({name: {"value": value, "from": origin} for name, value, origin in rows})
    else:
        output.table("settings", ("key", "value", "from"), rows)


@cli.command()
def purge(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(help="One of our queues, by its whole name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really.")] = False,
    as_json: Json = False,
) -> None:
    """Empty one queue, for tests; the queue and its archive stay. The books will miss its jobs."""
    with opened(context) as app:
        if queue not in app.queues:
            message = f"there is no queue {queue!r}; there are {', '.join(app.queues)}"
            raise UsageError(message)
        if not yes:
            message = f"this deletes every message of {queue}; add --yes if you mean it"
            raise UsageError(message)
        app.check()
        with app.database.transaction() as tx:
            count = app.queues.purge(tx, queue)
    if as_json:
        output.document({"queue": queue, "purged": count})
    else:
        typer.echo(f"{count} messages deleted from {queue}")


@dead.command("list")
def list_dead(
    context: typer.Context,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    as_json: Json = False,
) -> None:
    """List dead letters, the oldest first."""
    with opened(context) as app:
        app.check()
        found = app.graveyard.find(Choice((), type_, reason, fingerprint))
    if as_json:
        output.document([output.letter_json(letter) for letter in found])
    else:
        output.letters(found)


@dead.command("show")
def show_dead(
    context: typer.Context,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids from `dead list`.")],
    as_json: Json = False,
) -> None:
    """Show dead letters whole, with body and error."""
    with opened(context) as app:
        app.check()
        found = app.graveyard.find(Choice(ids))
    shown = [output.letter_json(letter) for letter in found]
    if as_json:
        output.document(shown)
    else:
        for letter in shown:
            output.out.print_json(data=letter)


@dead.command("retry")
def retry_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Send dead letters again, each with a clean count."""
    choice = _choice(ids, type_, reason, fingerprint, everything=everything)
    with opened(context) as app:
        app.check()
        taken = app.graveyard.retry(choice)
    _tell_taken("retried", [letter.msg_id for letter in taken], as_json=as_json)


@dead.command("drop")
def drop_dead(
    context: typer.Context,
    ids: Ids = None,
    type_: Type = None,
    reason: Reason = None,
    fingerprint: Fingerprint = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Delete dead letters; an order that is still due is found again by the next scan."""
    choice = _choice(ids, type_, reason, fingerprint, everything=everything)
    with opened(context) as app:
        app.check()
        taken = app.graveyard.drop(choice)
    _tell_taken("dropped", [letter.msg_id for letter in taken], as_json=as_json)


def _choice(
    ids: list[int] | None,
    type_: str | None,
    reason: str | None,
    fingerprint: str | None,
    *,
    everything: bool,
) -> Choice:
    if not (ids or type_ or reason or fingerprint or everything):
        message = "say which: ids, --type, --reason, --fingerprint or --all"
        raise UsageError(message)
    return Choice(ids or (), type_, reason, fingerprint)


def _tell_taken(verb: str, ids: list[int], *, as_json: bool) -> None:
    if as_json:
        output.document({verb: ids})
    else:
        typer.echo(f"{len(ids)} dead letters {verb}")


def _plan(app: App, file: TextIO | None, rules: list[str] | None) -> Plan | None:
    """Return the plan to obey, if there is one; raises UsageError for one that cannot be."""
    if file is None:
        return None
    if rules:
        message = "a plan names its rules itself: leave out RULE, or --plan"
        raise UsageError(message)
    try:
        return app.plan(file.read())
    except UnicodeDecodeError as error:
        message = f"the plan is no text: {error.reason}"
        raise UsageError(message) from error


def _user() -> str:
    """Return who runs this, by number where the number has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _visible(app: App) -> int:
    with app.database.transaction() as tx:
        return sum(depth.ready for depth in app.queues.depths(tx).values())


def _read(app: App) -> Status | str:
    try:
        return app.reader.read()
    except (DBAPIError, PoolTimeoutError) as error:
        return str(unusable(error, app.database))


def _exit_for(tally: Tally) -> None:
    if tally.failed:
        raise typer.Exit(SOME_JOB_RAISED)
