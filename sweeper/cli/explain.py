"""`sweeper explain` and `find`: the commands that read about one thing."""

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, open_app
from sweeper.cli.tables.column import Column, zone_of
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind
from sweeper.humanize import age, at, in_line
from sweeper.monitoring.about.facts import Fact
from sweeper.monitoring.about.place import Place, State
from sweeper.monitoring.about.search import Found, Hit, Kind, Search
from sweeper.monitoring.about.sweep import Scan, SweepReader
from sweeper.monitoring.explain import Explanation
from sweeper.redact import short

COMMANDS = typer.Typer()

_HIT = (
    Column("kind", ColumnKind.TAG),
    Column("code", ColumnKind.KEY),
    Column("id", ColumnKind.KEY),
    "what",
    Column("read on with", ColumnKind.TAG),
)
_JOB = (
    Column("code", ColumnKind.KEY),
    Column("key", ColumnKind.KEY),
    Column("outcome", ColumnKind.TAG),
    Column("at", ColumnKind.TIME),
    "why",
)
_SCAN = {
    "at": Column("at", ColumnKind.TIME),
    "rule": Column("rule", ColumnKind.TAG),
    "trigger": Column("trigger", ColumnKind.TAG),
    "actor": Column("by"),
    "reason": Column("why"),
    "found": Column("found", ColumnKind.NUMBER),
    "enqueued": Column("enqueued", ColumnKind.NUMBER),
    "already_queued": Column("already queued", ColumnKind.NUMBER),
    "dead": Column("dead", ColumnKind.NUMBER),
    "braked": Column("braked", ColumnKind.NUMBER),
    "anomalies": Column("anomalies", ColumnKind.NUMBER),
    "host": Column("host"),
}
_NEXT = {Kind.KEY: "sweeper explain", Kind.LETTER: "sweeper dead show"}


@COMMANDS.command(rich_help_panel=panels.LOOK)
def explain(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(metavar="ORDER", help="The order's code or id.")],
    as_json: Json = False,
) -> None:
    """Show the history of one order, and why it is due or not. Then: what may be done about it.

    Examples:
      sweeper explain JST-ABC123-XY  # by its code
      sweeper explain ckz1 --json  # by its id, for a program
    """
    with open_app(context) as app:
        app.check()
        explanation = app.explainer.explain(order_id)
    if not explanation.is_known:
        message = f"there is no order {short(order_id)!r}, and nothing was ever decided about it"
        raise UsageError(message)
    if as_json:
        output.document(explanation.as_json())
    else:
        _print_explanation(explanation)


@COMMANDS.command(rich_help_panel=panels.LOOK)
def find(
    context: typer.Context,
    text: Annotated[
        str,
        typer.Argument(
            metavar="TEXT",
            help="An order's id or code, a message's number, a sweep's id, a phone's last digits.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Find what a text means, and show a sweep that it names.

    Examples:
      sweeper find JST-ABC123-XY  # an order
      sweeper find 4711  # a message or a dead letter, or a phone's last digits
    """
    with open_app(context) as app:
        app.check()
        found = Search(app.database, app.queues, app.catalog).find(text)
        sweeps = [hit.id for hit in found.hits if hit.kind is Kind.SWEEP]
        reader = SweepReader(app.database, app.queues, app.catalog)
        scans = [scan for sweep_id in sweeps for scan in reader.read(sweep_id)]
    if as_json:
        output.document(found.as_json() | {"scans": [scan.as_json() for scan in scans]})
    else:
        _print_found(found)
        _print_scans(scans)


def _print_explanation(found: Explanation) -> None:
    """Print the key, whether each rule finds it due, its history, and what may be done."""
    name = f"{found.code} ({found.key})" if found.code else found.key
    output.out.print(in_line(name), style="bold", markup=False)
    output.out.print(in_line(found.headline), markup=False)
    for name, check in found.rules.items():
        due = "due" if check.due else "not due"
        output.out.print(f"{name}: {due} at {at(found.at, seconds=True, zone=None)}", style="bold")
        for term, holds in check.terms.items():
            output.out.print(f"  {'yes' if holds else 'no ':3}  {term}", markup=False)
    if not found.rules:
        output.out.print("the order no longer exists", markup=False)
    if found.since:
        output.out.print(f"scans before {found.since} are shown where a job of theirs has ended")
    _print_history(list(found.steps))
    if found.took is not None:
        output.out.print(f"from found to done: {age(found.took)}", markup=False)
    for place in found.where:
        output.out.print(f"now: {in_line(str(place))}", markup=False)
        if place.has_failed:
            output.entry(_again(place, found.at), place.trouble)
    for remedy in found.possible:
        command = f"  {remedy.command}" if remedy.command else ""
        output.out.print(in_line(f"{remedy.what}{command}"), markup=False)


def _print_history(steps: Sequence[tuple[Fact, float | None]]) -> None:
    """Print what happened to a key, each with the seconds since what happened before."""
    if steps:
        zone = zone_of(fact.at for fact, _ in steps)
        output.out.print(f"its history (times in {zone})", style="bold")
    for fact, after in steps:
        length = f"  (after {age(after)})" if after and after >= 1 else ""
        when = at(fact.at, seconds=True, zone=None)
        output.out.print(f"  {when}  {in_line(fact.what)}{length}", markup=False)


def _again(place: Place, asked: str) -> str:
    """Return when a job that has failed is tried again, seen from a time in ISO format."""
    if place.state is State.IN_FLIGHT:
        return "it is tried again now"
    assert place.visible_at  # noqa: S101 -- only a dead letter has none
    left = (place.visible_at - datetime.fromisoformat(asked)).total_seconds()
    return f"it is tried again in {age(left)}" if left >= 1 else "it is due to be tried again"


def _print_found(found: Found) -> None:
    """Print the hits with what to type next, or what was tried."""
    tried = "".join(f"\n  {what}" for what in found.tried)
    empty = f"Nothing is found by {short(found.typed)!r}. Looked for in:{tried}"
    rows = [(hit.kind, hit.code, hit.id, hit.what, _next(hit)) for hit in found.hits]
    output.table("found", _HIT, rows, empty=empty)


def _next(hit: Hit) -> str | None:
    return f"{_NEXT[hit.kind]} {shlex.quote(hit.id)}" if hit.kind in _NEXT else None


def _print_scans(scans: Sequence[Scan]) -> None:
    """Print the scans of a sweep, and the jobs of each."""
    if scans:
        output.line("")
        rows = [[getattr(scan, name) for name in _SCAN] for scan in scans]
        output.table("scans", list(_SCAN.values()), rows)
    for scan in scans:
        jobs = [(job.code, job.key, job.outcome or "open", job.at, job.what) for job in scan.jobs]
        more = f"; {scan.left_out} more are not shown" if scan.left_out else ""
        if jobs:
            output.line("")
            output.table(f"jobs of {scan.rule}{more}", _JOB, jobs)
