"""The demo: a small shop, and the walk told as a story."""

from typing import Annotated

import typer

COMMANDS = typer.Typer(invoke_without_command=True, subcommand_metavar="")


@COMMANDS.callback()
def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running; print how to reach it.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Run the service on it afterwards, until Ctrl-C.")
    ] = False,
) -> None:
    """Tell the whole walk as a story, in a few seconds, on a Postgres of its own.

    Starts an embedded Postgres with pgmq, fills a small shop with orders, sweeps it, and shows what
    became of them: orders, stock, notices, refunds, and a job that dies and lives again. Nothing
    of yours is touched, nobody is called, and everything is removed at the end.
    """
    from jobs.demo.story import tell  # noqa: PLC0415 -- other commands need neither server nor shop

    raise typer.Exit(tell(keep=keep, serve=serve))
