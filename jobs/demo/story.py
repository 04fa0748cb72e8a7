"""The story: the whole walk on a small shop, told in the order in which it happens."""

import json
import sys

from jobs.demo import death, walk
from jobs.demo.stage import TAKEN_AT, Stage, staged
from jobs.demo.voice import chapter, say, show, table
from jobs.demo.witness import Witness
from sweeper import logs
from sweeper.cli import output


def tell(*, keep: bool, serve: bool) -> int:
    """Set the stage, tell every chapter, and clear it away again; return the exit code.

    keep  -- leave server and database, and say how to reach and remove them
    serve -- run the service on them until it is told to stop
    """
    with staged(keep=keep) as stage:
        witness = Witness(stage.app)
        _open(stage, witness)
        shelf = witness.stock()
        walk.look(stage, witness)
        walk.sweep(stage, witness)
        walk.restock(witness, shelf)
        walk.notices(stage, witness)
        walk.refunds(witness)
        letter = death.die(stage)
        death.revive(stage, witness, letter)
        _sweep_again(stage)
        _close(stage, keep=keep, serve=serve)
        return _serve(stage) if serve else 0


def _open(stage: Stage, witness: Witness) -> None:
    chapter("sweeper demo")
    server = stage.app.status_reader.read().database
    say(
        f"A small shop has {len(witness.orders())} orders, in a Postgres {server.server} of its "
        f"own with pgmq {server.pgmq}. Nobody acted on some of them in time, and two rules look "
        "for those:"
    )
    table(
        ("rule", "overdue when", "becomes"),
        (
            ("expire_dp", "no down payment (DP) 30 minutes after checkout", "cancelled"),
            ("auto_refund", "no answer by the jastiper 24 hours after the DP", "rejected"),
        ),
    )


def _sweep_again(stage: Stage) -> None:
    chapter("8. A second sweep finds nothing")
    say("This is what `sweeper sweep` prints, and below it `sweeper status`:\n")
    app = stage.app
    limit = app.settings.safety.max_per_sweep
    output.sweep(app.sweep().run(app.rules.values(), limit=limit), limit)
    output.status(app.status_reader.read())


def _close(stage: Stage, *, keep: bool, serve: bool) -> None:
    chapter("What to try next")
    if not (keep or serve):
        say("The stage is cleared away. To walk around on it yourself:")
        show(("sweeper demo --keep", "sweeper demo --serve", "sweeper --help"))
        return
    say("From any other terminal, on this same shop:")
    product = json.dumps({"productId": stage.cast.unpaid_product, "quantity": 7})
    show(
        (
            f"export DATABASE_URL='{stage.url}'",
            f"export SWEEPER_STOCK__TAKEN_AT={TAKEN_AT}",
            "sweeper status",
            "sweeper sweep --dry-run",
            f"sweeper explain {stage.cast.sent_back}",
            "sweeper refunds list",
            f"sweeper enqueue STOCK_RELEASE '{product}'",
            "sweeper drain",
            "sweeper dead list",
        )
    )
    if keep:
        say("The server runs on until you remove it:")
        stop = f"kill -INT $(head -n 1 {stage.folder}/postmaster.pid)"
        show((f"{stop} && sleep 2 && rm -r {stage.folder}",))


def _serve(stage: Stage) -> int:
    from sweeper.service.supervisor import Supervisor  # noqa: PLC0415 -- only the service pays for its scheduler

    say("The service runs now; its log follows. Ctrl-C stops it.\n")
    logs.configure(stage.app.settings.log.level, stage.app.settings.log.format, sys.stdout)
    return Supervisor(stage.app).run()
