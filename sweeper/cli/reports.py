"""`sweeper status`, `explain` and `audit`: the commands that only read."""

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import events
from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.session import Json, open_app
from sweeper.errors import UsageError
from sweeper.monitoring.status import Status
from sweeper.postgres.errors import unusable

COMMANDS = typer.Typer()


@COMMANDS.command()
def status(
    context: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", help="Refresh every two seconds.")] = False,
    as_json: Json = False,
) -> None:
    """Show queues, rules, dead letters and overdue orders."""
    with open_app(context) as app:
        app.check()
        if as_json:
            output.document(app.status_reader.read().as_json())
        elif watch:
            output.watch(partial(_read, app))
        else:
            output.status(app.status_reader.read())


@COMMANDS.command()
def explain(
    context: typer.Context,
    order_id: Annotated[str, typer.Argument(help="The id of the order.")],
    as_json: Json = False,
) -> None:
    """Show the history of one order, and why it is due or not."""
    with open_app(context) as app:
        app.check()
        explanation = app.explainer.explain(order_id)
    if not explanation.rules and not explanation.facts:
        message = f"there is no order {order_id!r}, and nothing was ever decided about it"
        raise UsageError(message)
    if as_json:
        output.document(explanation.as_json())
    else:
        output.explanation(explanation)


@COMMANDS.command()
def audit(context: typer.Context, as_json: Json = False) -> None:
    """Check the ledger: every job ended exactly once. Exit code 1 if not."""
    with open_app(context) as app:
        app.check()
        balance = app.auditor.audit()
    output.document(asdict(balance)) if as_json else output.balance(balance)
    for gap in balance.gaps:
        events.JOB_LOST.log(**asdict(gap))
    if balance.gaps:
        raise typer.Exit(1)


def _read(app: App) -> Status | str:
    try:
        return app.status_reader.read()
    except (DBAPIError, PoolTimeoutError) as error:
        return str(unusable(error, app.database.url))
