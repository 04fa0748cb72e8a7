"""Ids, keys and types that are longer than any of ours: invalid at once, and shown in short."""

import io
import json
from typing import Any

import pytest

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.logs import configure
from sweeper.queue import inspect
from tests.support.verbs import (
    DEAD,
    OUTBOUND,
    QUEUE,
    Run,
    dead_letters,
    drain,
    messages,
    send,
    send_raw,
    sweep,
)

pytestmark = pytest.mark.usefixtures("frozen")

HUGE = "x" * 500_000
TYPE = "ORDER_EXPIRE_DP"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"

CASES: dict[str, tuple[str, Any]] = {
    "an order": (TYPE, {"orderId": HUGE}),
    "one of several orders": (TYPE, {"orderIds": ["c", HUGE]}),
    "a stock release": ("STOCK_RELEASE", {"orderId": HUGE, "shouldRefund": True}),
    "a product": ("STOCK_RELEASE", {"productId": HUGE, "quantity": 1}),
    "a notice": (NOTICE, {"messageId": HUGE}),
    "a notice's order": (NOTICE, {"messageId": "n", "metadata": {"orderId": HUGE}}),
    "a type": (HUGE, {"orderId": "c"}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_name_that_is_too_long_is_invalid_at_once(app: App, run: Run, name: str) -> None:
    """It is not retried, keeps its body, and neither the log nor a command repeats it."""
    log = io.StringIO()
    configure("debug", "json", log, ())
    kind, payload = CASES[name]
    queue = OUTBOUND if kind == NOTICE else QUEUE
    send(app, kind, payload, queue=queue)

    tally = sweep(app).jobs

    (letter,) = dead_letters(app)
    assert (1, 0) == (tally.dead, tally.retried)
    assert (letter.reason, letter.attempts, messages(app, queue)) == ("invalid", 0, [])
    assert "200" in letter.error
    assert len(letter.body or "") > len(HUGE)
    assert len(log.getvalue()) < 5_000
    assert len(run("dead", "list")[1]) < 5_000


def test_a_name_of_the_longest_length_is_worked(app: App) -> None:
    send(app, TYPE, {"orderId": "x" * 200})

    assert drain(app) == Tally(skipped=1)


def test_a_sweep_id_that_is_too_long_is_none(app: App) -> None:
    send(app, "MAKE_COFFEE", {}, sweepId=HUGE)
    send(app, TYPE, {"orderId": "c"}, sweepId=HUGE)

    assert drain(app) == Tally(skipped=1, dead=1)


@pytest.mark.parametrize("field", ["type", "key", "error", "fingerprint", "queue", "died_at"])
def test_a_foreign_dead_letter_is_shown_in_short(app: App, run: Run, field: str) -> None:
    """What is shown says how much was cut."""
    send_raw(app, json.dumps({"reason": "rejected", field: HUGE}), queue=DEAD)

    code, out, _ = run("dead", "list", "--json")

    assert (code, len(out) < 2_000) == (0, True)
    assert field == "died_at" or "9800 characters cut" in out or "9400 characters cut" in out
    assert app.backlog_reader.read().causes


def test_a_waiting_message_is_shown_in_short(app: App, run: Run) -> None:
    send_raw(app, json.dumps({"type": HUGE, "payload": {"orderId": "c"}}))
    send(app, TYPE, {"orderId": "c"}, retryCount=HUGE)

    with app.database.transaction() as tx:
        oldest = inspect.depths(tx, app.queues)[QUEUE].oldest_ready
    _, explained, _ = run("explain", "c")

    assert oldest is not None
    assert oldest["type"] == "x" * 200 + "... (499800 characters cut)"
    assert "499800 characters cut" in explained
    assert len(explained) < 2_000
