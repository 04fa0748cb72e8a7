"""The demo from beginning to end: start it, print every chapter, and clean up."""

import json
import sys

from jobs.demo import failing_job, sweep_story
from jobs.demo.customers import EVERY, ordering
from jobs.demo.environment import DemoEnvironment, demo_environment
from jobs.demo.printing import chapter, say, show, table
from jobs.demo.shell import command, export
from jobs.demo.shop_reader import ShopReader
from sweeper import logs
from sweeper.cli import sweep_report
from sweeper.cli.reports import reading
from sweeper.cli.terminal import status_report


def run_demo(*, keep: bool, serve: bool) -> int:
    """Set up the demo, print every chapter, and remove the demo again; return the exit code.

    keep  -- keep server and database, and print how to reach and remove them
    serve -- run the service on them until it is stopped
    """
    with demo_environment(keep=keep) as demo:
        reader = ShopReader(demo.app)
        _open(demo, reader)
        stock = reader.stock()
        sweep_story.show_due_orders(demo, reader)
        sweep_story.run_sweep(demo, reader)
        sweep_story.show_stock(reader, stock)
        sweep_story.show_notices(demo, reader)
        sweep_story.show_refunds(reader)
        letter = failing_job.exhaust_retries(demo)
        failing_job.retry_dead_letter(demo, reader, letter)
        _sweep_again(demo)
        _close(demo, keep=keep, serve=serve)
        return _serve(demo) if serve else 0


def _open(demo: DemoEnvironment, reader: ShopReader) -> None:
    chapter("sweeper demo")
    server = demo.app.status_reader.read().database
    say(
        f"A small shop has {len(reader.orders())} orders, in a Postgres {server.server} of its "
        "own. Nobody acted on some of them in time, and two rules look for those:"
    )
    table(
        ("rule", "overdue when", "becomes"),
        (
            ("expire_dp", "no down payment (DP) 30 minutes after checkout", "cancelled"),
            ("auto_refund", "no answer by the jastiper 24 hours after the DP", "rejected"),
        ),
    )
    say(
        f"What a rule finds becomes a job in pgmq {server.pgmq}: a message queue that lives in "
        "tables of the same Postgres. So an order and its job change in one transaction, or "
        "neither does: no job is lost, and none is done twice."
    )


def _sweep_again(demo: DemoEnvironment) -> None:
    chapter("8. A second sweep finds nothing")
    say("This is what `sweeper sweep` prints, and below it `sweeper status`:\n")
    app = demo.app
    limit = app.settings.safety.max_per_sweep
    sweep_report.sweep(app.sweep().run(app.rules.values(), limit=limit))
    status_report.show(reading(app))


def _close(demo: DemoEnvironment, *, keep: bool, serve: bool) -> None:
    chapter("What to try next")
    if not (keep or serve):
        say("The stage is cleared away. To walk around on it yourself:")
        show(map(command, ("demo --keep", "demo --serve", "--help")))
        return
    say("From another terminal, in this folder, on this same shop:")
    product = json.dumps({"productId": demo.watched.unpaid_product, "quantity": 7})
    commands = (
        "status",
        "sweep --dry-run",
        f"explain {demo.watched.sent_back}",
        "refunds list",
        f"enqueue STOCK_RELEASE '{product}'",
        "drain",
        "dead list",
    )
    show((export(demo), *map(command, commands)))
    if keep:
        say(f"The server runs on, in {demo.folder}, until you stop it:")
        show((command("demo --stop"),))


def _serve(demo: DemoEnvironment) -> int:
    from sweeper.service.supervisor import Supervisor  # noqa: PLC0415 -- only the service needs the scheduler

    seconds = EVERY.total_seconds()
    say(
        f"open {demo.page}",
        f"The service runs now, and every {seconds:g} s an order falls due: watch it there, or in "
        "another terminal with `status --watch`. Its log follows; Ctrl-C stops it.\n",
    )
    logs.configure(demo.app.settings.log.level, demo.app.settings.log.format, sys.stdout)
    with ordering(demo.app):
        return Supervisor(demo.app).run()
