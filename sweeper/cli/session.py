"""What every command needs: its options, the app on its database, and its exit code."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import logs
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.postgres.errors import unusable

JOB_PACKAGE = "jobs"
SOME_JOB_RAISED = 3
BRAKE_HELD = 4

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@contextmanager
def open_app(context: typer.Context, stream: Any = None, **flags: Any) -> Iterator[App]:
    """Lend this command its app; the database's errors become an operator's."""
    app = App.load(context.obj["catalog"], file=context.obj["file"], flags=flags)
    log = app.settings.log
    logs.configure(log.level, log.format, stream or sys.stderr, app.settings.secrets)
    try:
        yield app
    except (DBAPIError, PoolTimeoutError) as error:
        raise unusable(error, app.database.url) from error
    finally:
        app.close()


def user() -> str:
    """Return who runs this command, by number where the number has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def exit_for(tally: Tally) -> None:
    """Exit with 3 where some job raised an error."""
    if tally.failed:
        raise typer.Exit(SOME_JOB_RAISED)
