"""`sweeper demo`: a small shop on a Postgres of its own, swept step by step."""

from typing import Annotated

import typer

COMMANDS = typer.Typer(invoke_without_command=True, subcommand_metavar="", rich_help_panel="Start")


@COMMANDS.callback()
def demo(
    *,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the server running and print how to reach it.")
    ] = False,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="Then run the service, with new orders, until Ctrl-C."),
    ] = False,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop and remove a demo that was kept.")
    ] = False,
) -> None:
    """Show a whole sweep, step by step, on a Postgres of its own.

    In a few seconds it starts an embedded Postgres with pgmq, fills a small shop with orders,
    sweeps it, and shows the results: orders, stock, notices, refunds, and a dead letter that is
    retried. Your own data is not touched, no message is sent, and everything is removed at the end.

    Examples:
      sweeper demo  # told as a story
      sweeper demo --serve  # and then the service and its page, until Ctrl-C
      sweeper demo --keep  # and leave the database, to try other commands on
    """
    if stop:
        from jobs.demo.kept import stop_kept  # noqa: PLC0415 -- as below

        raise typer.Exit(stop_kept())
    from jobs.demo.story import run_demo  # noqa: PLC0415 -- other commands do not need a server

    raise typer.Exit(run_demo(keep=keep, serve=serve))
