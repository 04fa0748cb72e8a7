"""`sweeper sweep` and `sweeper drain`: one full pass, or only its second half."""

import time
from dataclasses import asdict
from typing import Annotated, TextIO

import typer

from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.session import BRAKE_HELD, Json, exit_for, open_app, user
from sweeper.errors import UsageError
from sweeper.queue import inspect
from sweeper.sweep.plan import Plan

COMMANDS = typer.Typer()


@COMMANDS.command()
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
    with open_app(context) as app:
        obeyed = _plan(app, plan, rules)
        chosen = [app.catalog.rule(name) for name in rules or (obeyed or app).rules]
        limit = max_ or (obeyed.limit if obeyed else app.settings.safety.max_per_sweep)
        machine = app.sweep()
        with output.progress(lambda: _visible(app)) as progress:
            report = machine.run(
                chosen,
                limit=limit,
                actor=user(),
                reason=reason or (f"plan {obeyed.sweep_id}" if obeyed else None),
                planned=obeyed.planned if obeyed else None,
                dry_run=dry_run,
                scan_only=scan_only,
                progress=progress,
            )
    output.document(report.as_json()) if as_json else output.sweep(report, limit)
    if report.braked:
        raise typer.Exit(BRAKE_HELD)
    exit_for(report.jobs)


@COMMANDS.command()
def drain(context: typer.Context, as_json: Json = False) -> None:
    """Work off every visible message, and exit."""
    with open_app(context) as app:
        machine = app.sweep()
        began = time.monotonic()
        with output.progress(lambda: _visible(app)) as progress:
            tally = machine.drain(progress)
    seconds = time.monotonic() - began
    if as_json:
        output.document({"jobs": asdict(tally), "duration_ms": round(seconds * 1000)})
    else:
        output.tally(tally, seconds)
    exit_for(tally)


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


def _visible(app: App) -> int:
    with app.database.transaction() as tx:
        return sum(depth.ready for depth in inspect.depths(tx, app.queues).values())
