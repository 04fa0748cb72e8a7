"""`sweeper token`: tokens that nobody has to invent."""

from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json
from sweeper.errors import UsageError
from sweeper.settings import token_name
from sweeper.web import tokens
from sweeper.web.tokens import Scope

COMMANDS = typer.Typer(no_args_is_help=True, rich_help_panel=panels.SET_UP)


@COMMANDS.callback()
def group() -> None:
    """Make tokens for the page and the HTTP API.

    Examples:
      sweeper token new ratih --scope act  # for a person who may act
      sweeper token new grafana  # for a program that only looks
    """


@COMMANDS.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose it is: a to z, 0 to 9, _ and -.")
    ],
    scope: Annotated[
        Scope,
        typer.Option(metavar="SCOPE", help="read: only looks, from anywhere; act: may also act."),
    ] = Scope.READ,
    as_json: Json = False,
) -> None:
    """Make a token, and its line for the settings. It is shown this once; nothing is changed.

    Examples:
      sweeper token new ratih --scope act  # for a person who may act
      sweeper token new grafana  # for a program that only looks
    """
    try:
        token_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    token = tokens.make()
    line = f'{name} = "{tokens.line(token, scope)}"'
    if as_json:
        output.document({"name": name, "scope": scope, "token": token, "line": line})
        return
    output.line("The token, for its bearer alone. It is shown this once, and stored nowhere:")
    output.line(f"  {token}")
    output.line("The line for the section [web.tokens] of sweeper.toml. It is no secret:")
    output.line(f"  {line}")
    output.line("Then: systemctl reload sweeper")
