"""The command line: the entry point, and the commands that set up and run the service."""

import logging
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sweeper import catalog, redact
from sweeper.catalog import Catalog
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
from sweeper.cli.help import mistakes, panels
from sweeper.cli.help.commands import COMMANDS as COMMANDS_OF_THE_HELP
from sweeper.cli.help.commands import Version
from sweeper.cli.help.dress import dress
from sweeper.cli.session import Jobs, Json, Why, acting, job_packages, open_app
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
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; print an error in a few lines on stderr, and set the exit code."""
    streams.open_closed()
    known = _known()
    try:
        with streams.written():
            commands = tree(known["catalog"])
            code = commands(obj=known, prog_name="sweeper", standalone_mode=False)
        sys.exit(code)
    except typer.TyperException as error:
        if fault := known["fault"]:  # what seems misspelled may be a command of the jobs
            _end(fault, known["command"])
        output.line(mistakes.misspelled(error, known["command"]), to_stderr=True)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is told
        _end(error, known["command"])


def tree(known: Catalog | None) -> Any:
    """Return all commands as typer's tree; those of the job package where it could be loaded."""
    del COMMANDS.registered_groups[_OF_THE_ENGINE:]
    for name, commands in (known.commands if known else {}).items():
        COMMANDS.add_typer(commands, name=name)
    dress(COMMANDS)
    return typer.main.get_command(COMMANDS)


def _known() -> dict[str, Any]:
    """Return what all commands share: the catalog, or why there is none; help works without."""
    known: dict[str, Any] = {"catalog": None, "fault": None, "command": "sweeper"}
    try:
        known["catalog"] = catalog.load(*job_packages(sys.argv[1:]))
    except Exception as error:  # noqa: BLE001 -- a job file may raise anything; commands refuse
        known["fault"] = error
    return known


def _end(error: Exception, command: str) -> NoReturn:
    """Tell of *error*, which ended *command*, and exit."""
    if isinstance(error, SweeperError):
        output.line(redact.text(mistakes.failed(error, command)), to_stderr=True)
        sys.exit(error.exit_code)
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
            metavar="FILE",
            help="Settings file (TOML); default: $SWEEPER_CONFIG or /etc/sweeper/sweeper.toml.",
        ),
    ] = None,
    version: Version = False,
    jobs: Jobs = None,
) -> None:
    """Find overdue orders, queue a job for each in pgmq, and settle each exactly once."""
    del version, jobs  # these were read before anything was parsed: jobs bring commands
    context.obj["file"] = file


@COMMANDS.command(rich_help_panel=panels.START)
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
    """Create or upgrade the schema and the queues. Safe to repeat and to run concurrently.

    Examples:
      sweeper migrate --install-pgmq  # the first time, with the owner's login in DIRECT_URL
      sweeper migrate  # after an upgrade
      sweeper migrate --with-indexes --with-notify  # for large tables, and quick pick-up
    """
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


@COMMANDS.command(rich_help_panel=panels.RUN)
def run(context: typer.Context) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    SIGUSR1 scans now, SIGHUP reloads the settings that can be.

    Examples:
      sweeper run  # here, with the log on the screen; Ctrl-C stops it
      sudo systemctl enable --now sweeper  # under systemd, after `make install`
      sudo systemctl reload sweeper  # take over changed settings
    """
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


@COMMANDS.command(rich_help_panel=panels.START)
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Check settings and database, and print what to repair. Changes nothing.

    Examples:
      sweeper doctor  # every finding, the worst last, each with what to type
      sweeper doctor --json  # the same for a program
    """
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


@COMMANDS.command(rich_help_panel=panels.SET_UP)
def grants(
    context: typer.Context,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="An existing login role.")],
) -> None:
    """Print the SQL for the grants that the service needs. The tables' owner runs it.

    Examples:
      sweeper grants sweeper  # for the login that is named sweeper
      sweeper grants sweeper | psql "$DIRECT_URL"  # grant them at once, as the owner
    """
    from sweeper.admin.grants import needed, statements  # noqa: PLC0415 -- only this command needs it

    with open_app(context) as app:
        wanted = needed(app.queues, app.catalog.grants, app.platform_schema)
        output.line("\n".join(statements(role, wanted)))


COMMANDS.add_typer(config.COMMANDS)
COMMANDS.add_typer(COMMANDS_OF_THE_HELP)
COMMANDS.add_typer(tokens.COMMANDS, name="token")


COMMANDS.add_typer(dead_letters.COMMANDS, name="dead")

_OF_THE_ENGINE = len(COMMANDS.registered_groups)
