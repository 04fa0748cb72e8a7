"""The second half of the demo: a job fails, becomes a dead letter, and is retried successfully."""

import json
import time
from collections.abc import Iterator

from sqlalchemy import text

from jobs.demo.environment import DemoEnvironment
from jobs.demo.printing import chapter, say, show, table
from jobs.demo.shell import command
from jobs.demo.shop_reader import ShopReader
from sweeper.batch import Tally
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter

_REPAIRED_STOCK = 100
_REPAIR = text('UPDATE "Product" SET stock = :stock WHERE id = :id')


def exhaust_retries(demo: DemoEnvironment) -> DeadLetter:
    """Run the failing job until its retries are exhausted; return its dead letter."""
    chapter("6. A job that fails")
    say(
        "One order could not be cancelled: somebody typed a stock of 2147483647 stickers, and one "
        "sticker more is no integer. A job that fails rests 5 s, then 30 s, then 5 min; on this "
        "stage 1 s each. Nothing of a failed try remains."
    )
    show(_executions(demo))
    (letter,) = demo.app.dead_letter_queue.find(DeadLetterFilter())
    _show_dead_letter(letter, demo)
    return letter


def retry_dead_letter(demo: DemoEnvironment, reader: ShopReader, letter: DeadLetter) -> None:
    """Repair the cause, retry the dead letter, and show that its job is done."""
    chapter("7. Mended, and sent again")
    product, order = demo.watched.overflow_product, demo.watched.overflow_order
    say("A person mends the cause first, then brings the job back with a clean count:")
    repair = _REPAIR.bindparams(stock=_REPAIRED_STOCK, id=product)
    sql = repair.compile(compile_kwargs={"literal_binds": True})
    show((f"{sql};", command(f"dead retry {letter.msg_id}")))
    with demo.app.database.transaction(schema_in_path=True) as tx:
        tx.execute(repair)
    demo.app.dead_letter_queue.retry(DeadLetterFilter([letter.msg_id]))
    tally = demo.app.sweep().drain()
    (status, code), stock = reader.orders()[order], reader.stock()
    left = next(one.stock for one in stock if one.id == product)
    say(
        f"{tally.done} jobs done, the order's and its notice's: {code} is {status}, "
        f"{left} stickers are on the shelf, and no dead letter is left."
    )


def _executions(demo: DemoEnvironment) -> Iterator[str]:
    """Drain until the job is dead; yield one line for each execution that failed."""
    yield "execution 1 failed, in the sweep"
    worker, began, tally, execution = demo.app.sweep(), time.monotonic(), Tally(), 1
    while not tally.dead:
        time.sleep(0.05)
        tally = worker.drain()
        for number in range(tally.failed):
            execution += 1
            is_last = tally.dead and number == tally.failed - 1
            outcome = "it is dead" if is_last else "it will be tried again"
            yield f"execution {execution} failed, {time.monotonic() - began:.0f} s later: {outcome}"


def _show_dead_letter(letter: DeadLetter, demo: DemoEnvironment) -> None:
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
    line = json.loads(demo.log.getvalue().splitlines()[-1])
    say("Of everything the engine logged, this line is the one to be woken by:")
    show([json.dumps({name: line[name] for name in ("level", "event", "key")})])
