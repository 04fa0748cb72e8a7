"""`sweeper config` and `sweeper openapi`: what is set, and what is served."""

import typer

from sweeper.cli import output
from sweeper.cli.session import Json, open_app
from sweeper.settings import is_live

COMMANDS = typer.Typer()


@COMMANDS.command()
def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the settings, the source of each, and what a change needs. Secrets are masked."""
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
        told = [(*row, "reload" if is_live(row[0]) else "restart") for row in rows]
        output.table("settings", ("key", "value", "from", "a change needs"), told)


@COMMANDS.command()
def openapi(context: typer.Context) -> None:
    """Print the description of the HTTP addresses for machines (OpenAPI 3.1, JSON)."""
    from sweeper.web.openapi import describe  # noqa: PLC0415 -- only this command needs it

    output.document(describe(context.obj["catalog"]))
