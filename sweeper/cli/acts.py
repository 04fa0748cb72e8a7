"""`sweeper acts`: what people did by hand, the latest first."""

from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, length, open_app
from sweeper.cli.tables.column import Column
from sweeper.exports import ColumnKind
from sweeper.monitoring.acts import PAGE, ActFilter, ActPage
from sweeper.queue.acts import Action

_COLUMNS = (
    Column("id", ColumnKind.NUMBER, str),
    Column("at", ColumnKind.TIME),
    Column("action", ColumnKind.TAG),
    "what",
    "who",
    Column("from", ColumnKind.TAG),
    "why",
    Column("outcome", ColumnKind.TAG),
    "detail",
    "host",
)

COMMANDS = typer.Typer()


@COMMANDS.command(rich_help_panel=panels.LOOK)
def acts(
    context: typer.Context,
    action: Annotated[
        Action | None, typer.Option(metavar="ACTION", help="Only this action.")
    ] = None,
    actor: Annotated[
        str | None, typer.Option(metavar="WHO", help="Only what WHO did, as the column names them.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only the last TIME, such as 2h or 7d.")
    ] = None,
    before: Annotated[
        int | None, typer.Option(min=1, metavar="ID", help="Only those older than this one.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=10_000, metavar="N", help="At most so many.")
    ] = PAGE,
    as_json: Json = False,
) -> None:
    """Show what people did by hand, the latest first.

    It says who, when, from where, why, and what became of it.
    An act that is `begun` goes on, or its process was killed: what it had done by then is done, and
    `explain` shows it for each order. A sweep that was stopped, because too many orders were due,
    is `refused`. A command with a mistake in it is no act. Acts are kept as long as the ledger
    (history.keep).

    Say why when you act: with --reason, or --why for `sweeper dead`, where --reason selects.

    Examples:
      sweeper acts --since 2h  # the last two hours
      sweeper acts --action drop --actor ratih  # the dead letters that ratih dropped
      sweeper acts --limit 10 --json  # the latest ten, for a program
    """
    wanted = ActFilter(action, actor, length(since) if since else None, before, limit)
    with open_app(context) as app:
        app.check()
        found = app.act_reader.read(wanted)
    output.document(found.as_json()) if as_json else _print(found, wanted)


def _print(found: ActPage, wanted: ActFilter) -> None:
    empty = "No acts by hand." if wanted == ActFilter(limit=wanted.limit) else "No acts match."
    rows = [
        (
            act.id,
            act.at,
            act.action,
            act.subject,
            act.actor,
            act.origin,
            act.reason,
            act.outcome,
            act.detail,
            act.host,
        )
        for act in found.acts
    ]
    output.table("acts by hand, the latest first", _COLUMNS, rows, empty=empty)
    if found.older:
        output.line(f"older ones: add --before {found.older}")
