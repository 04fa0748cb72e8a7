"""`sweeper pause` and `sweeper resume`: stop rules and queues for a while, and let them go on."""

from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, Why, acting, length, open_app, user
from sweeper.errors import UsageError
from sweeper.queue.acts import Action

Target = Annotated[
    str, typer.Argument(metavar="TARGET", help="A rule, a queue, outbound or everything.")
]

COMMANDS = typer.Typer()


@COMMANDS.command(rich_help_panel=panels.RUN)
def pause(
    context: typer.Context,
    target: Target,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; everybody who looks is shown it.")
    ],
    for_: Annotated[
        str, typer.Option("--for", metavar="TIME", help="The pause ends by itself after this.")
    ] = "1h",
    until_resumed: Annotated[
        bool, typer.Option("--until-resumed", help="It has no end but `sweeper resume`.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stop a rule, a queue or everything for a while.

    The pause holds at once, for all processes on all machines.
    A paused rule is not scanned; its jobs that are queued already go on. Nothing is read from a
    paused queue, and nothing is lost: what is due waits. What has begun is finished.

    Examples:
      sweeper pause expire_dp --for 2h --reason "wrong clock in the app"  # no scan for two hours
      sweeper pause outbound --reason "texts are wrong"  # no call to a provider for an hour
      sweeper pause everything --until-resumed --reason "restoring a backup"  # without an end
    """
    if not reason.strip():
        message = "say why, with --reason"
        raise UsageError(message)
    after = None if until_resumed else length(for_)
    with open_app(context) as app:
        app.check()
        with acting(app, Action.PAUSE, target, reason) as act:
            paused = app.pauses.pause(target, after, user(), reason, act)
    output.document(paused.as_json()) if as_json else output.line(str(paused))


@COMMANDS.command(rich_help_panel=panels.RUN)
def resume(
    context: typer.Context, target: Target, reason: Why = None, as_json: Json = False
) -> None:
    """Let a paused rule or queue go on.

    Examples:
      sweeper resume expire_dp  # this rule is scanned again
      sweeper resume everything --reason "restored"  # end every pause
    """
    with open_app(context) as app:
        app.check()
        with acting(app, Action.RESUME, target, reason) as act:
            resumed = app.pauses.resume(target, act)
        left = app.pauses.read()
    if as_json:
        output.document({"resumed": resumed, "pauses": [pause.as_json() for pause in left]})
        return
    output.line(f"resumed: {', '.join(resumed)}" if resumed else f"{target} was not paused")
    for pause in left:
        output.line(f"still: {pause}")
