"""`sweeper sweep` and `sweeper drain`: scan and process jobs, or only process them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, TextIO

import typer

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.cli import output, sweep_report
from sweeper.cli.help import panels
from sweeper.cli.session import (
    BRAKE_HELD,
    SOME_JOB_RAISED,
    Json,
    Why,
    acting,
    exit_for,
    open_app,
    program,
    stoppable,
    user,
)
from sweeper.cli.terminal.failures import Failures
from sweeper.errors import UsageError
from sweeper.event import overheard
from sweeper.queue import inspect
from sweeper.queue.acts import Act, Action
from sweeper.sweep.plan import Plan
from sweeper.sweep.runner import Report

Rules = Annotated[
    list[str] | None, typer.Argument(metavar="RULE", help="By default every rule that is on.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--max",
        min=1,
        max=2**31 - 1,
        metavar="N",
        help="Sweep up to N orders of each rule; with more due, stop and queue none.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would happen, and roll it back.")
]
ScanOnly = Annotated[
    bool, typer.Option("--scan-only", help="Queue the jobs, and leave them to the service.")
]
PlanFile = Annotated[
    typer.FileText | None,
    typer.Option(metavar="FILE", help="Sweep only the orders of this dry run that are still due."),
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show the log also on a terminal, above the progress bar.")
]

COMMANDS = typer.Typer()


@COMMANDS.command(rich_help_panel=panels.RUN)
def sweep(
    context: typer.Context,
    rules: Rules = None,
    dry_run: DryRun = False,
    scan_only: ScanOnly = False,
    max_: Limit = None,
    plan: PlanFile = None,
    reason: Why = None,
    verbose: Verbose = False,
    as_json: Json = False,
) -> None:
    """Scan the rules, process all waiting jobs, and exit. Safe while the service runs.

    To sweep only orders that you have checked, write a plan, read it, and sweep it: this processes
    only the orders of the plan that are still due, and no other jobs.

    Examples:
      sweeper sweep --dry-run  # what would happen; everything is rolled back
      sweeper sweep expire_dp --max 500  # one rule, although up to 500 orders are due
      sweeper sweep --dry-run --json > plan.json  # a plan to read
      sweeper sweep --plan plan.json  # that plan and nothing else
    """
    with stoppable() as stopping, _opened(context, verbose, as_json) as (app, failures):
        loaded = _plan(app, plan, rules)
        chosen = [app.catalog.rule(name) for name in rules or (loaded or app).rules]
        limit = max_ or (loaded.limit if loaded else app.settings.safety.max_per_sweep)
        runner, action = app.sweep(stopping), Action.DRY_RUN if dry_run else Action.SWEEP
        reason = reason or (f"plan {loaded.sweep_id}" if loaded else None)
        names = ", ".join(rule.name for rule in chosen)
        with _begun(app, action, names, reason) as (act, progress):
            report = runner.run(
                chosen,
                limit=limit,
                actor=user(),
                reason=reason,
                planned=loaded.planned if loaded else None,
                dry_run=dry_run,
                scan_only=scan_only,
                progress=progress,
            )
            act.finish(str(report), refused=report.braked)
        if as_json:
            output.document(report.as_json())
        else:
            sweep_report.all_of(app, report, failures, limit, program(context))
        _exit_for(report)


@COMMANDS.command(rich_help_panel=panels.RUN)
def drain(
    context: typer.Context, reason: Why = None, verbose: Verbose = False, as_json: Json = False
) -> None:
    """Process all waiting jobs and exit. No rule is scanned; safe while the service runs.

    Examples:
      sweeper drain  # after `sweeper enqueue`, or `sweeper dead retry`
      sweeper drain --json --reason "after the outage"  # the outcomes, for a program
    """
    with stoppable() as stopping, _opened(context, verbose, as_json) as (app, failures):
        runner = app.sweep(stopping)
        started = time.monotonic()
        with _begun(app, Action.DRAIN, "every queue", reason) as (act, progress):
            tally = runner.drain(progress)
            act.finish(str(tally))
        seconds = time.monotonic() - started
        if as_json:
            output.document({"jobs": asdict(tally), "duration_ms": round(seconds * 1000)})
        else:
            sweep_report.tally(tally, seconds)
            sweep_report.failed(app, failures, program(context))
            sweep_report.paused(app.pauses.read())
        exit_for(tally)


@contextmanager
def _opened(
    context: typer.Context,
    verbose: bool,  # noqa: FBT001 -- options, as they were typed
    as_json: bool,  # noqa: FBT001 -- likewise
) -> Iterator[tuple[App, Failures]]:
    """Yield the app, and the failures that are heard of; the log goes above a progress bar.

    A person at a terminal is told at the end what failed: no log is shown there, but errors that
    the report does not tell. Everywhere else the log is read by machines, and is complete.
    """
    log = output.Stderr()
    quiet = log.isatty() and not verbose
    failures = Failures(tells=quiet and not as_json)
    with open_app(context, log, quiet=quiet) as app, overheard(failures.hear):
        yield app, failures


@contextmanager
def _begun(
    app: App, action: Action, subject: str, reason: str | None = None
) -> Iterator[tuple[Act, Callable[[Tally], None]]]:
    """Yield an act that has begun, and what advances the progress bar of its jobs."""
    with (
        acting(app, action, subject, reason) as act,
        output.progress(lambda: _visible(app)) as progress,
    ):
        act.begin()
        yield act, progress


def _exit_for(report: Report) -> None:
    """Exit with code 4 if the brake stopped a rule, or 3 if some job raised an error, or would."""
    if report.braked:
        raise typer.Exit(BRAKE_HELD)
    if report.dry_run and report.dry_run.faults:
        raise typer.Exit(SOME_JOB_RAISED)
    exit_for(report.jobs)


def _plan(app: App, file: TextIO | None, rules: list[str] | None) -> Plan | None:
    """Return the plan in *file*, None without a file; raises UsageError if it cannot be used."""
    if file is None:
        return None
    if rules:
        message = "a plan already names its rules: leave out RULE or --plan"
        raise UsageError(message)
    try:
        return app.plan(file.read())
    except UnicodeDecodeError as error:
        message = f"the plan is not valid text: {error.reason}"
        raise UsageError(message) from error


def _visible(app: App) -> int:
    with app.database.transaction() as tx:
        return sum(depth.ready for depth in inspect.depths(tx, app.queues).values())
