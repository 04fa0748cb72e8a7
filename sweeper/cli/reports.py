"""`sweeper status` and `audit`: the commands that read everything."""

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import events
from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, open_app
from sweeper.cli.tables.column import Column
from sweeper.cli.terminal import status_report
from sweeper.cli.terminal.status_report import Reading
from sweeper.exports import ColumnKind
from sweeper.humanize import at, capped
from sweeper.monitoring.audit import Balance
from sweeper.monitoring.sign import last_sign
from sweeper.postgres.errors import unusable
from sweeper.queue.hidden import MOST_HIDDEN

COMMANDS = typer.Typer()

_PROBLEM = (Column("key", ColumnKind.KEY), Column("problem"))
_GAP = (Column("sweep", ColumnKind.SWEEP), Column("rule", ColumnKind.TAG), *_PROBLEM)
_FOREIGN = (Column("sweep", ColumnKind.SWEEP), Column("type", ColumnKind.TAG), *_PROBLEM)


@COMMANDS.command(rich_help_panel=panels.LOOK)
def status(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every two seconds, until Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how things are: what is the matter, and if a service runs.

    Then the rules, the queues and the dead letters.

    Examples:
      sweeper status  # how things are now
      sweeper status --watch  # every two seconds, until Ctrl-C
      sweeper status --json  # the same for a program
    """
    with open_app(context) as app:
        app.check()
        if as_json:
            sign = last_sign(app.database, app.settings.service.heartbeat_every)
            output.document(app.status_reader.read().as_json() | {"service": sign.as_json()})
        elif watch:
            status_report.watch(partial(_read, app))
        else:
            status_report.show(reading(app))


@COMMANDS.command(rich_help_panel=panels.LOOK)
def audit(
    context: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Check the whole ledger; a large one takes minutes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the ledger: every job ended exactly once. Exit code 1 if not.

    It checks the newest part of a large ledger, and says what it has left out.

    Examples:
      sweeper audit  # the newest part of the ledger; seconds
      sweeper audit --all  # all of it
      sweeper audit --json  # the gaps, for a program
    """
    with open_app(context) as app:
        app.check()
        with output.counter("jobs checked") as checked:
            balance = app.auditor.audit(everything=everything, checked=checked)
    output.document(asdict(balance)) if as_json else _print_balance(balance)
    for gap in balance.gaps:
        events.JOB_LOST.log(**asdict(gap))
    if balance.gaps:
        raise typer.Exit(1)


def _print_balance(found: Balance) -> None:
    """Print the result of the audit."""
    since = f" since {at(found.since)} UTC" if found.since else ""
    output.line(f"{found.sweeps} scans{since} sent {found.jobs} jobs; {found.waiting} still wait")
    if found.gaps:
        rows = [(gap.sweep_id, gap.rule, gap.key, gap.problem) for gap in found.gaps]
        output.table("jobs that are lost, or were done twice", _GAP, rows)
    else:
        which = "every job of these" if found.left_out else "every job"
        output.line(f"no job lost or done twice: {which} that does not wait ended exactly once")
    if found.foreign:
        strangers = [(one.sweep_id, one.type, one.key, one.problem) for one in found.foreign]
        what = f"{found.foreign_count} messages name a sweep that did not send them"
        output.table(what, _FOREIGN, strangers)
    if found.hidden.count:
        names = ", ".join(found.hidden.names)
        count = capped(found.hidden.count, MOST_HIDDEN)
        output.line(f"{count} messages are hidden ({names}): no scan waits for them")
    for part in found.left_out:
        output.line(f"not checked: {part} (sweeper audit --all)")


def reading(app: App) -> Reading:
    """Return the status, and what its report needs besides."""
    sign = last_sign(app.database, app.settings.service.heartbeat_every)
    status, max_skew = app.status_reader.read(), app.settings.safety.max_clock_skew
    return Reading(status, sign, app.catalog.figures, app.rules, max_skew)


def _read(app: App) -> Reading | str:
    try:
        return reading(app)
    except (DBAPIError, PoolTimeoutError) as error:
        return str(unusable(error, app.database.url))
