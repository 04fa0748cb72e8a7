"""`sweeper config` and `sweeper openapi`: what is set, and what is served."""

import json
from collections.abc import Sequence
from itertools import groupby

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, open_app
from sweeper.cli.tables.column import Column
from sweeper.exports import ColumnKind
from sweeper.settings import is_live

COMMANDS = typer.Typer()

_COLUMNS = (
    Column("key", ColumnKind.TAG),
    Column("value", shown=lambda value: value if isinstance(value, str) else json.dumps(value)),
    Column("from", ColumnKind.TAG),
    Column("change by", ColumnKind.TAG),
)


@COMMANDS.command(rich_help_panel=panels.SET_UP)
def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the settings, the source of each, and what a change needs. Secrets are masked.

    Examples:
      sweeper config  # every setting that is in force here
      sweeper --config new.toml config  # whether a file is valid, before it is used
      sweeper config --json  # for a program
    """
    with open_app(context) as app:
        rows = app.settings.table()
    if as_json:
        output.document(
            {
                name: {"value": value, "from": origin, "reload": is_live(name)}
                for name, value, origin in rows
            }
        )
    else:
        _print(rows)


def _print(settings: Sequence[tuple[str, str, str]]) -> None:
    """Print the settings, a table for each section: one long name narrows no other section's."""
    for place, (section, rows) in enumerate(groupby(settings, lambda row: row[0].split(".")[0])):
        if place:
            output.line("")
        told = [(*row, "reload" if is_live(row[0]) else "restart") for row in rows]
        output.table(section, _COLUMNS, told)


@COMMANDS.command(rich_help_panel=panels.SET_UP)
def openapi(context: typer.Context) -> None:
    """Print the description of the HTTP API (OpenAPI 3.1, JSON).

    Examples:
      sweeper openapi > openapi.json  # for a generator of clients
      sweeper openapi | jq '.paths | keys'  # the addresses
    """
    from sweeper.web.openapi import describe  # noqa: PLC0415 -- only this command needs it

    output.document(describe(context.obj["catalog"]))
