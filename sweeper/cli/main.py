"""The command line: its groups, and the commands that set the service up and run it."""

import logging
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from sweeper import catalog, redact
from sweeper.cli import dead_letters, output, reports, sweep
from sweeper.cli.session import JOB_PACKAGE, Json, open_app
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError, UsageError
from sweeper.job import Priority
from sweeper.postgres.errors import in_one_line
from sweeper.queue.wire import json_value

COMMANDS = typer.Typer(
    name="sweeper",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line; an error is one or two lines on stderr, and an exit code."""
    try:
        known = catalog.load(JOB_PACKAGE)
        there = {group.name for group in COMMANDS.registered_groups}
        for name, commands in known.commands.items():
            if name not in there:
                COMMANDS.add_typer(commands, name=name)
        COMMANDS(obj={"catalog": known}, prog_name="sweeper")
    except SweeperError as error:
        typer.echo(redact.text(f"sweeper: {error}"), err=True)
        sys.exit(error.exit_code)
    except Exception as error:
        logging.getLogger("sweeper").debug("unexpected", exc_info=error)
        typer.echo(f"sweeper: unexpected {in_one_line(error)}", err=True)
        typer.echo("this is a bug; SWEEPER_LOG__LEVEL=debug shows where", err=True)
        sys.exit(SweeperError.exit_code)


@COMMANDS.callback()
def begin(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help="The TOML file; else SWEEPER_CONFIG, else /etc/sweeper/sweeper.toml."),
    ] = None,
) -> None:
    """Find orders that nobody acted on in time, queue them in pgmq, settle each exactly once.

    Begin with `sweeper demo`. Exit codes: 0 done, 2 usage, 3 some job raised an error, 4 the brake
    held, 69 database or pgmq unusable, 78 settings invalid.
    """
    context.obj["file"] = config


@COMMANDS.command()
def migrate(
    context: typer.Context,
    install_pgmq: Annotated[
        bool, typer.Option("--install-pgmq", help="Install pgmq where it is missing.")
    ] = False,
    with_indexes: Annotated[
        bool,
        typer.Option(
            "--with-indexes", help="Create the indexes that make scans cheap, concurrently."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Create or upgrade schema sweeper and the queues; safe to repeat, and to run twice at once."""
    with open_app(context) as app:
        done = app.migrate(install_pgmq=install_pgmq, with_indexes=with_indexes)
    if as_json:
        output.document({"done": done})
    else:
        typer.echo("\n".join(done) or "nothing to do: everything is in place")


@COMMANDS.command()
def run(context: typer.Context) -> None:
    """Run the service: schedule, drain, outbound, until SIGTERM. SIGUSR1 scans at once."""
    from sweeper.service.supervisor import Supervisor  # noqa: PLC0415 -- only the service pays for its scheduler

    with open_app(context, sys.stdout) as app:
        app.settings.demand()
        app.check()
        raise typer.Exit(Supervisor(app).run())


COMMANDS.add_typer(sweep.COMMANDS)


@COMMANDS.command()
def enqueue(
    context: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Such as ORDER_EXPIRE_DP.")],
    payload: Annotated[str, typer.Argument(help="""JSON, such as '{"orderId": "..."}'.""")],
    priority: Annotated[Priority | None, typer.Option(help="Else the type's own.")] = None,
    delay: Annotated[int, typer.Option(min=0, metavar="SECONDS")] = 0,
    as_json: Json = False,
) -> None:
    """Validate a job, send it, and print its message id."""
    with open_app(context) as app:
        try:
            value = json_value(payload)
        except ValueError as error:
            message = f"the payload is not JSON: {error}"
            raise UsageError(message) from error
        msg_id, queue = app.enqueue(type_, value, priority, timedelta(seconds=delay))
    output.document({"msg_id": msg_id, "queue": queue}) if as_json else typer.echo(msg_id)


COMMANDS.add_typer(reports.COMMANDS)


@COMMANDS.command()
def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at everything that must be right, and say at once all that is not, with its remedy."""
    from sweeper.cli.doctor import Level, examine  # noqa: PLC0415 -- only the doctor needs the doctor

    with open_app(context) as app:
        findings = examine(app)
    if as_json:
        output.document([asdict(finding) for finding in findings])
    else:
        output.findings(findings)
    ill = {finding.about for finding in findings if finding.level is Level.ERROR}
    if ill:
        raise typer.Exit(
            SettingsError.exit_code if ill == {"settings"} else DatabaseUnusableError.exit_code
        )


@COMMANDS.command()
def grants(
    context: typer.Context,
    role: Annotated[str, typer.Argument(help="A login role, which must exist already.")],
) -> None:
    """Print the SQL that gives a role the least that the service needs."""
    from sweeper.admin.grants import needed, statements  # noqa: PLC0415 -- likewise

    with open_app(context) as app:
        typer.echo("\n".join(statements(role, needed(app.queues, app.catalog.grants))))


@COMMANDS.command()
def config(context: typer.Context, as_json: Json = False) -> None:
    """Show the effective settings, secrets masked, each with where it came from."""
    with open_app(context) as app:
        rows = app.settings.table()
    if as_json:
        output.document({name: {"value": value, "from": origin} for name, value, origin in rows})
    else:
        output.table("settings", ("key", "value", "from"), rows)


@COMMANDS.command()
def purge(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(help="One of our queues, by its whole name.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really.")] = False,
    as_json: Json = False,
) -> None:
    """Empty one queue, for tests; the queue and its archive stay. The books will miss its jobs."""
    with open_app(context) as app:
        if queue not in app.queues:
            message = f"there is no queue {queue!r}; there are {', '.join(app.queues)}"
            raise UsageError(message)
        if not yes:
            message = f"this deletes every message of {queue}; add --yes if you mean it"
            raise UsageError(message)
        app.check()
        with app.database.transaction() as tx:
            count = app.queues.purge(tx, queue)
    if as_json:
        output.document({"queue": queue, "purged": count})
    else:
        typer.echo(f"{count} messages deleted from {queue}")


COMMANDS.add_typer(dead_letters.COMMANDS, name="dead")
