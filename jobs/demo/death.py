"""The second half of the story: a job that fails, dies, is mended and lives again."""

import json
import time
from collections.abc import Iterator

from sqlalchemy import text

from jobs.demo.stage import Stage
from jobs.demo.voice import chapter, say, show, table
from jobs.demo.witness import Witness
from sweeper.batch import Tally
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.dead_letter_queue import DeadLetterFilter

_SANE = 100
_MEND = text('UPDATE "Product" SET stock = :stock WHERE id = :id')


def die(stage: Stage) -> DeadLetter:
    """Let the failing job use up its retries; return its dead letter."""
    chapter("6. A job that fails")
    say(
        "One order could not be cancelled: somebody typed a stock of 2147483647 stickers, and one "
        "sticker more is no integer. A job that fails rests 5 s, then 30 s, then 5 min; on this "
        "stage 1 s each. Nothing of a failed try remains."
    )
    show(_executions(stage))
    (letter,) = stage.app.dead_letter_queue.find(DeadLetterFilter())
    _lay_out(letter, stage)
    return letter


def revive(stage: Stage, witness: Witness, letter: DeadLetter) -> None:
    """Mend the cause, send the letter again, and show that it is done."""
    chapter("7. Mended, and sent again")
    product, order = stage.cast.overflow_product, stage.cast.overflow_order
    say("A person mends the cause first, then brings the job back with a clean count:")
    mend = _MEND.bindparams(stock=_SANE, id=product)
    sql = mend.compile(compile_kwargs={"literal_binds": True})
    show((f"{sql};", f"sweeper dead retry {letter.msg_id}"))
    with stage.app.database.transaction() as tx:
        tx.execute(mend)
    stage.app.dead_letter_queue.retry(DeadLetterFilter([letter.msg_id]))
    tally = stage.app.sweep().drain()
    (status, code), stock = witness.orders()[order], witness.stock()
    left = next(one.stock for one in stock if one.id == product)
    say(
        f"{tally.done} jobs done, the order's and its notice's: {code} is {status}, "
        f"{left} stickers are on the shelf, and no dead letter is left."
    )


def _executions(stage: Stage) -> Iterator[str]:
    """Drain until the job is dead, and tell every execution when it has failed."""
    yield "execution 1 failed, in the sweep"
    machine, began, tally, execution = stage.app.sweep(), time.monotonic(), Tally(), 1
    while not tally.dead:
        time.sleep(0.05)
        tally = machine.drain()
        if tally.failed:
            execution += 1
            fate = "dead" if tally.dead else "it will be tried again"
            yield f"execution {execution} failed, {time.monotonic() - began:.0f} s later: {fate}"


def _lay_out(letter: DeadLetter, stage: Stage) -> None:
    say("Past its retries it is a dead letter, with its body and its error, for a person to read:")
    table(
        (f"dead letter {letter.msg_id}", ""),
        (
            ("type", letter.type),
            ("order", letter.key),
            ("reason", f"{letter.reason} after {letter.attempts} executions"),
            ("error", letter.error),
            ("body", letter.body),
        ),
    )
    alarm = json.loads(stage.log.getvalue().splitlines()[-1])
    say("Of everything the engine logged, this line is the one to be woken by:")
    show([json.dumps({name: alarm[name] for name in ("level", "event", "type", "msg_id", "key")})])
