"""`sweeper enqueue` and `sweeper purge`: send one job by hand, and empty a queue."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import typer

from sweeper.app import App
from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, Why, acting, length, open_app, stoppable
from sweeper.durations import format_duration
from sweeper.errors import UsageError
from sweeper.job import Priority
from sweeper.queue.acts import Action
from sweeper.queue.json_text import json_value

COMMANDS = typer.Typer()


@COMMANDS.command(rich_help_panel=panels.ACT)
def enqueue(
    context: typer.Context,
    type_: Annotated[
        str, typer.Argument(metavar="TYPE", help="Job type, such as ORDER_EXPIRE_DP.")
    ],
    payload: Annotated[
        str,
        typer.Argument(metavar="PAYLOAD", help="""JSON object, such as '{"orderId": "..."}'."""),
    ],
    priority: Annotated[
        Priority | None,
        typer.Option(metavar="PRIORITY", help="By default that of the job type."),
    ] = None,
    delay: Annotated[
        int,
        typer.Option(
            min=0, max=31_536_000, metavar="SECONDS", help="Make it visible after this time."
        ),
    ] = 0,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Validate a job, queue it, and print its message id.

    The service, or `sweeper drain`, then processes it, if its order is still due.

    Examples:
      sweeper enqueue ORDER_EXPIRE_DP '{"orderId": "ckz1"}'  # one order; ids, not codes
      sweeper enqueue ORDER_EXPIRE_DP '{"orderId": "ckz1"}' --delay 600  # in ten minutes
      sweeper enqueue ORDER_AUTO_REFUND '{"orderId": "ckz1"}' --priority high  # before the others
    """
    with open_app(context) as app:
        try:
            value = json_value(payload)
        except ValueError as error:
            message = f"the payload is not JSON: {error}"
            raise UsageError(message) from error
        app.check()
        with acting(app, Action.ENQUEUE, type_, reason) as act:
            msg_id, queue = app.enqueue(type_, value, priority, timedelta(seconds=delay), act)
    output.document({"msg_id": msg_id, "queue": queue}) if as_json else output.line(msg_id)


@COMMANDS.command(rich_help_panel=panels.ACT)
def purge(
    context: typer.Context,
    queue: Annotated[str, typer.Argument(metavar="QUEUE", help="The full name of the queue.")],
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only dead letters of this age, such as 90d.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Confirm that all messages are to be deleted.")
    ] = False,
    reason: Why = None,
    as_json: Json = False,
) -> None:
    """Delete all messages of a queue, for tests. `audit` then reports their jobs as lost.

    With --older-than, drop old dead letters, as `dead drop` does: the ledger records each of them.

    Examples:
      sweeper purge jastipin_jobs_dead --older-than 90d --yes  # drop old dead letters
      sweeper purge jastipin_jobs_low  # refused without --yes, with which its jobs are lost
    """
    age = None if older_than is None else length(older_than)
    with stoppable() as stopping, open_app(context) as app:
        if queue not in app.queues:
            message = f"there is no queue {queue!r}; there are {', '.join(app.queues)}"
            raise UsageError(message)
        if age and queue != app.queues.dead:
            message = f"only dead letters have an age: leave out --older-than, or {queue}"
            raise UsageError(message)
        if not yes:
            what = f"every message of {queue}" + (" of that age" if age else "")
            message = f"this deletes {what}; add --yes if you mean it"
            raise UsageError(message)
        app.check()
        count = _purge(app, queue, age, reason, stopping)
        if as_json:
            output.document({"queue": queue, "purged": count})
        else:
            output.line(f"{count} messages deleted from {queue}")


def _purge(
    app: App, queue: str, age: timedelta | None, reason: str | None, stopping: Callable[[], bool]
) -> int:
    """Delete all messages of *queue*, or the dead letters of this *age*; return how many."""
    subject = f"{queue}, older than {format_duration(age)}" if age else queue
    with acting(app, Action.PURGE, subject, reason) as act:
        if age:
            count = app.dead_letter_queue.purge(age, stopping, act)
            act.finish(f"{count} dead letters dropped")
        else:
            with app.database.transaction() as tx:
                count = app.queues.purge(tx, queue)
                act.done(tx, f"{count} messages deleted")
    return count
