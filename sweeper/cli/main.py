"""The command line: the entry point, and the commands that set up and run the service."""

import io
import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sweeper import catalog, redact
from sweeper.cli import (
    acts,
    config,
    explain,
    history,
    lists,
    output,
    pauses,
    queues,
    reports,
    streams,
    sweep,
    tokens,
)
from sweeper.cli.dead import dead_letters
from sweeper.cli.session import JOB_PACKAGE, Json, Why, acting, open_app
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError
from sweeper.postgres import deferred
from sweeper.postgres.errors import in_one_line
from sweeper.queue.acts import Action
from sweeper.service import signals

COMMANDS = typer.Typer(
    name="sweeper",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; print an error in one or two lines on stderr, and set the exit code."""
    streams.open_closed()
    try:
        known = catalog.load(JOB_PACKAGE)
        added = {group.name for group in COMMANDS.registered_groups}
        for name, commands in known.commands.items():
            if name not in added:
                COMMANDS.add_typer(commands, name=name)
        with streams.written():
            code = COMMANDS(obj={"catalog": known}, prog_name="sweeper", standalone_mode=False)
        sys.exit(code)
    except typer.TyperException as error:
        told = io.StringIO()  # typer would quote what was typed with its control characters
        error.show(told)  # type: ignore[attr-defined]
        output.line(told.getvalue().rstrip(), to_stderr=True)
        sys.exit(error.exit_code)
    except SweeperError as error:
        output.line(redact.text(f"sweeper: {error}"), to_stderr=True)
        sys.exit(error.exit_code)
    except Exception as error:
        logging.getLogger("sweeper").debug("unexpected", exc_info=error)
        output.line(f"sweeper: unexpected {in_one_line(error)}", to_stderr=True)
        output.line("this is a bug; SWEEPER_LOG__LEVEL=debug shows where", to_stderr=True)
        sys.exit(SweeperError.exit_code)


@COMMANDS.callback()
def begin(
    context: typer.Context,
    file: Annotated[
        Path | None,
        typer.Option(
            "--config",
            help="Settings file (TOML); default: $SWEEPER_CONFIG or /etc/sweeper/sweeper.toml.",
        ),
    ] = None,
) -> None:
    """Find overdue orders, enqueue a job for each in pgmq, and complete each exactly once.

    To start, run `sweeper demo`. Exit codes: 0 success, 2 usage error, 3 a job raised an error,
    4 the brake held, 69 database or pgmq unusable, 78 invalid settings, 130 or 143 stopped.
    """
    context.obj["file"] = file


@COMMANDS.command()
def migrate(
    context: typer.Context,
    install_pgmq: Annotated[
        bool, typer.Option("--install-pgmq", help="Install pgmq if it is missing.")
    ] = False,
    with_indexes: Annotated[
        bool,
        typer.Option(
            "--with-indexes", help="Also create the indexes for scans, without blocking writes."
        ),
    ] = False,
    with_notify: Annotated[
        bool,
        typer.Option(
            "--with-notify", help="Also have pgmq notify of new messages: fewer polls when idle."
        ),
    ] = False,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Create or upgrade the schema and the queues. Safe to repeat and to run concurrently."""
    options = {
        "install_pgmq": install_pgmq,
        "with_indexes": with_indexes,
        "with_notify": with_notify,
    }
    more = (name for name, is_on in options.items() if is_on)
    subject = ", ".join(["schema and queues", *more])
    with open_app(context) as app, app.direct() as direct:
        with direct.transaction() as tx:
            deferred.send(tx)  # without a server nothing begins
        with acting(app, Action.MIGRATE, subject, reason, on=direct) as act:
            done = app.migrate(**options)
            act.finish("; ".join(done) or "nothing to do")
    if as_json:
        output.document({"done": done})
    else:
        output.line("\n".join(done) or "nothing to do: everything is in place")


@COMMANDS.command()
def run(context: typer.Context) -> None:
    """Run the service until SIGTERM. SIGUSR1 scans now, SIGHUP reloads the settings that can be."""
    received = signals.reloads()
    from sweeper.service.supervisor import Supervisor  # noqa: PLC0415 -- only this command needs the scheduler

    with open_app(context, sys.stdout) as app:
        app.settings.demand()
        raise typer.Exit(Supervisor(app, received).run())


COMMANDS.add_typer(sweep.COMMANDS)
COMMANDS.add_typer(pauses.COMMANDS)


COMMANDS.add_typer(queues.COMMANDS)
COMMANDS.add_typer(reports.COMMANDS)
COMMANDS.add_typer(acts.COMMANDS)
COMMANDS.add_typer(history.COMMANDS)
COMMANDS.add_typer(explain.COMMANDS)
COMMANDS.add_typer(lists.COMMANDS)


@COMMANDS.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check the settings and the database, and print what to repair. Changes nothing."""
    from sweeper.cli.checks.finding import Level  # noqa: PLC0415
    from sweeper.cli.doctor import examine  # noqa: PLC0415 -- only this command needs it

    with open_app(context) as app:
        findings = examine(app)
    if as_json:
        output.document([asdict(finding) for finding in findings])
    else:
        output.findings(findings)
    failed = {finding.about for finding in findings if finding.level is Level.ERROR}
    if failed:
        raise typer.Exit(
            SettingsError.exit_code if failed == {"settings"} else DatabaseUnusableError.exit_code
        )


@COMMANDS.command()
def grants(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="An existing login role.")],
) -> None:
    """Print the SQL for the grants that the service needs."""
    from sweeper.admin.grants import needed, statements  # noqa: PLC0415 -- only this command needs it

    with open_app(context) as app:
        wanted = needed(app.queues, app.catalog.grants, app.platform_schema)
        output.line("\n".join(statements(role, wanted)))


COMMANDS.add_typer(config.COMMANDS)
COMMANDS.add_typer(tokens.COMMANDS, name="token")


COMMANDS.add_typer(dead_letters.COMMANDS, name="dead")
