"""What all commands share: the --json option, the app, the user and the exit codes."""

import gc
import getpass
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any

import typer
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import durations, logs, settings
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.cli import output
from sweeper.errors import StoppedError, UsageError
from sweeper.monitoring import systemd
from sweeper.postgres.database import Database
from sweeper.postgres.errors import unusable
from sweeper.queue.acts import Act, Action, Acts, By, Origin
from sweeper.service import signals

SOME_JOB_RAISED = 3
BRAKE_HELD = 4

Why = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; `sweeper acts` shows it.")
]
Jobs = Annotated[
    list[str] | None,
    typer.Option(
        "--jobs",
        metavar="PACKAGE",
        help="Job package, by module or entry point; repeat it for several. "
        "Default: $SWEEPER_JOBS, with commas between several, or jobs.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print a JSON document instead.")]


def job_packages(arguments: Sequence[str]) -> list[str]:
    """Return the names of the job packages of a command line, before it can be parsed.

    The packages bring commands of their own, so they are loaded before anything else is understood.
    """
    named, rest = list[str](), iter(arguments)
    for argument in rest:
        option, is_joined, value = argument.partition("=")
        if option == "--jobs":
            named.append(value if is_joined else next(rest, ""))
        elif option == "--config" and not is_joined:
            next(rest, None)
        elif not argument.startswith("-"):
            break
    return settings.job_packages(named)


@contextmanager
def open_app(
    context: typer.Context, stream: Any = None, *, quiet: bool = False, **flags: Any
) -> Iterator[App]:
    """Yield the app of a command and close it; turn database errors into messages for operators.

    quiet -- log nothing below an error, unless the settings ask for everything
    """
    app = App.load(context.obj["catalog"], file=context.obj["file"], flags=flags)
    log = app.settings.log
    level = "error" if quiet and log.level != "debug" else log.level
    logs.configure(level, log.format, stream or sys.stderr, app.settings.secrets)
    gc.freeze()  # what is loaded lives on: not to be looked through while messages come and go
    try:
        yield app
    except (DBAPIError, PoolTimeoutError) as error:
        raise unusable(error, app.database.url) from error
    finally:
        gc.unfreeze()
        app.close()


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Yield the function that says whether SIGTERM or Ctrl-C has asked the command to stop.

    A command that was asked exits with code 143 or 130, unless it fails with an error.
    """
    received = list[str]()

    def ask(name: str) -> None:
        received.append(name)
        # Not through a buffered stream: the signal may have interrupted a write to it.
        with suppress(OSError):
            told = f"sweeper: {name}: finishing what was begun; again to stop at once\n"
            os.write(2, f"{output.CLEAR_LINE if os.isatty(2) else ''}{told}".encode())

    restore = signals.on_stop(ask)
    try:
        yield lambda: bool(received)
    except (StoppedError, typer.Exit):
        if not received:
            raise
    finally:
        restore()
    if received:
        what = "what was begun is finished, and the rest was given back"
        output.line(f"sweeper: stopped by {received[0]}: {what}", to_stderr=True)
        raise typer.Exit(signals.exit_code(received[0]))


def length(text: str) -> timedelta:
    """Return the length of time that was typed; raises UsageError where it is none."""
    try:
        return durations.positive(durations.parse(text))
    except ValueError as error:
        raise UsageError(str(error)) from error


def user() -> str:
    """Return the user name of this process, or its uid if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def acting(
    app: App, action: Action, subject: str, reason: str | None = None, *, on: Database | None = None
) -> AbstractContextManager[Act]:
    """Yield the act of a command, which is written down with who runs it; see `Acts.recording`.

    on -- where it is written; the app's database by default
    """
    acts = Acts(on) if on else app.acts
    origin = Origin.UNIT if systemd.is_unit() else Origin.COMMAND
    return acts.recording(action, subject, By(user(), origin), reason)


def program(context: typer.Context) -> str:
    """Return how the next command is typed: `sweeper`, with the settings file of this one."""
    file = context.obj["file"]
    return f"sweeper --config {shlex.quote(str(file))}" if file else "sweeper"


def exit_for(tally: Tally) -> None:
    """Exit with code 3 if some job raised an error."""
    if tally.failed:
        raise typer.Exit(SOME_JOB_RAISED)
