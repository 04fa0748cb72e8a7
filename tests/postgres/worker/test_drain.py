"""The drain: each message has its effect exactly once, and no message blocks another."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from jobs.events import REFUND_SETTLED
from sweeper import Batch, RejectedError
from sweeper.app import App
from sweeper.batch import Decision, Tally
from sweeper.job import Job, Message
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.pgmq import Queues
from sweeper.worker.completer import Completer
from sweeper.worker.drain import FAIR
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.sorter import Fetched
from tests.support.verbs import (
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    NOW,
    OUTBOUND,
    QUEUE,
    SECOND,
    Connect,
    OpenApp,
    broken,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    send,
    send_raw,
    with_call,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"

frozen_clock = pytest.mark.usefixtures("frozen")


def due(shop: Shop, count: int = 1) -> list[str]:
    """Add orders that are due, the oldest first."""
    return [shop.order(age=HOUR + (count - n) * MINUTE) for n in range(count)]


def queued(app: App, shop: Shop, count: int = 1, **body: Any) -> list[str]:
    """Add orders that are due, and a message for each."""
    orders = due(shop, count)
    for order in orders:
        send(app, TYPE, {"orderId": order}, **body)
    return orders


def read_before(connection: Connection, times: int, msg_id: int | None = None) -> None:
    """Make messages look as if so many workers had read them and crashed."""
    connection.execute(
        text(f"update pgmq.q_{QUEUE} set read_ct = :times where msg_id = coalesce(:id, msg_id)"),
        {"times": times, "id": msg_id},
    )


def raising(*errors: Exception | None) -> Callable[[Batch[Any]], None]:
    """Return a handler that raises the errors one after another, and succeeds at None."""
    waiting = iter(errors)

    def handler(_batch: Batch[Any]) -> None:
        if error := next(waiting):
            raise error

    return handler


# Completing.


@frozen_clock
def test_completion_effects_follow_ups_and_ledger_commit_together(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: all of them are one transaction."""
    (order,) = queued(app, shop)

    assert app.drain().step() == Tally(done=1)

    assert shop.status(order) == "cancelled"
    assert messages(app) == []
    assert len(messages(app, OUTBOUND)) == 1
    assert job_outcomes(connection) == [(TYPE, order, "done", None)]


@frozen_clock
@pytest.mark.parametrize(
    "table", ["sweeper.job_log", f"pgmq.q_{OUTBOUND}", "sweeper.stock_release"]
)
def test_a_failure_at_the_end_rolls_back_the_whole_job(
    app: App, shop: Shop, connection: Connection, table: str
) -> None:
    """L1: whichever part fails, the message is in the queue again and nothing else has changed."""
    product = shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(product, 2)])
    before = shop.row("Order", order)
    send(app, TYPE, {"orderId": order})
    connection.execute(text(f"alter table {table} add constraint refuse check (false) not valid"))

    assert app.drain().step() == Tally(retried=1)

    assert shop.row("Order", order) == before
    assert shop.stock(product) == 1
    assert messages(app, OUTBOUND) == []
    assert job_outcomes(connection) == []
    assert [message.body["retryCount"] for message in messages(app)] == [1]


@frozen_clock
def test_a_handler_that_fails_has_logged_nothing(app: App, shop: Shop) -> None:
    """L8: what was rolled back has never happened."""
    queued(app, shop)

    def log_and_fail(batch: Batch[Any]) -> None:
        batch.log(REFUND_SETTLED, key="c1", amount=1)
        raise RuntimeError

    with capture_logs() as lines:
        assert with_handler(app, TYPE, log_and_fail).drain().step() == Tally(retried=1)

    assert ["job.retried"] == [line["event"] for line in lines]


def test_a_worker_skips_a_job_whose_message_another_worker_completed(
    app: App,
    open_app: OpenApp,
    shop: Shop,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L1: after the lease ran out, the worker that deletes the message first owns the job."""
    product = shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(product, 2)])
    send(app, TYPE, {"orderId": order})
    sort = Fetcher.sort

    def overtaken(fetcher: Fetcher, found: Sequence[Message], *args: Any) -> Fetched:
        monkeypatch.undo()
        make_visible(app)
        assert open_app().drain().step() == Tally(done=1)
        return sort(fetcher, found, *args)

    monkeypatch.setattr(Fetcher, "sort", overtaken)
    with capture_logs() as lines:
        assert app.drain().step() == Tally()

    assert (shop.status(order), shop.stock(product)) == ("cancelled", 3)
    assert job_outcomes(connection) == [(TYPE, order, "done", None)]
    assert [line["keys"] for line in lines if line["event"] == "lease.lost"] == [[order]]


@frozen_clock
def test_the_rest_of_a_batch_is_worked_when_others_completed_a_part(
    app: App, shop: Shop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: another worker has deleted half of the batch; the other half is done once."""
    orders = queued(app, shop, 4)
    sort = Fetcher.sort

    def overtaken(fetcher: Fetcher, found: Sequence[Message], *args: Any) -> Fetched:
        with app.database.transaction() as tx:
            app.queues.delete(tx, QUEUE, [found[0].msg_id, found[2].msg_id])
        return sort(fetcher, found, *args)

    monkeypatch.setattr(Fetcher, "sort", overtaken)

    assert app.drain().step() == Tally(done=2)
    assert [shop.status(order) for order in orders] == [
        "pending_dp",
        "cancelled",
        "pending_dp",
        "cancelled",
    ]
    assert [key for _, key, _, _ in job_outcomes(connection)] == [orders[1], orders[3]]


@frozen_clock
def test_the_job_of_a_killed_worker_is_done_by_the_next_one(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2: the read counts as a crash, and the next worker does the job."""
    (order,) = queued(app, shop)

    def interrupted(batch: Batch[Any]) -> None:
        batch.tx.execute(text("""update public."Order" set status = 'cancelled'"""))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drain(with_handler(app, TYPE, interrupted))

    assert shop.status(order) == "pending_dp"
    assert [message.read_ct for message in messages(app)] == [1]
    assert job_outcomes(connection) == []
    make_visible(app)
    assert drain(app) == Tally(done=2)
    assert shop.status(order) == "cancelled"


# Failing.


@frozen_clock
@pytest.mark.parametrize("place", [0, 3, 6])
def test_one_failing_order_does_not_affect_the_rest_of_the_batch(
    app: App, shop: Shop, connection: Connection, place: int
) -> None:
    """L5: the batch is halved until the failing job is alone; the others lose no attempt."""
    orders = queued(app, shop, 7)
    failing = orders[place]

    with broken(app, "Order", when=f"old.id = '{failing}'"):
        assert app.drain().step() == Tally(done=6, retried=1)

    others = set(orders) - {failing}
    assert {shop.status(order) for order in others} == {"cancelled"}
    assert shop.status(failing) == "pending_dp"
    (message,) = messages(app)
    assert (message.body["payload"], message.body["retryCount"]) == ({"orderId": failing}, 1)
    assert {row["attempt"] for row in rows(connection, "sweeper.job_log")} == {1}


@frozen_clock
def test_several_failing_orders_do_not_affect_the_rest_of_the_batch(app: App, shop: Shop) -> None:
    orders = queued(app, shop, 8)
    failing = {orders[1], orders[2], orders[7]}

    with broken(app, "Order", when=f"old.id in {tuple(failing)}"):
        assert app.drain().step() == Tally(done=5, retried=3)

    assert {message.body["payload"]["orderId"] for message in messages(app)} == failing


@frozen_clock
def test_only_the_failed_order_of_a_list_is_retried(app: App, shop: Shop) -> None:
    """DOMAIN 5: the other orders of the same message are done."""
    orders = due(shop, 4)
    send(app, TYPE, {"orderIds": orders})

    with broken(app, "Order", when=f"old.id = '{orders[1]}'"):
        drain(app)

    assert [shop.status(order) for order in orders].count("cancelled") == 3
    (message,) = messages(app)
    assert message.body["payload"] == {"orderId": orders[1]}
    assert message.body["retryCount"] == 1


@frozen_clock
def test_a_failing_job_is_retried_with_growing_delays_and_then_dead_lettered(
    app: App, shop: Shop
) -> None:
    """L5: after four executions, at 5 s, 30 s and 5 min delay, the whole body is dead-lettered."""
    created_at = "2025-12-24T18:00:00.123Z"
    (order,) = queued(app, shop, createdAt=created_at, traceId="t-1")

    retries = []
    with broken(app, "Order"):
        for _ in range(3):
            assert drain(app) == Tally(retried=1)
            (message,) = messages(app)
            retries.append((message.body["retryCount"], message.read_ct, _rounded(message.delay)))
            assert message.body["createdAt"] == created_at
            assert "out of order" in message.body["lastError"]
            make_visible(app)
        assert drain(app) == Tally(dead=1)

    assert retries == [(1, 0, 5), (2, 0, 30), (3, 0, 300)]
    assert messages(app) == []
    (dead_letter,) = dead_letters(app)
    assert (dead_letter.type, dead_letter.key, dead_letter.reason) == (TYPE, order, "exhausted")
    assert (dead_letter.attempts, dead_letter.queue, dead_letter.died_at) == (4, QUEUE, NOW)
    assert "out of order" in dead_letter.error
    body = json.loads(dead_letter.body or "")
    assert "out of order" in body.pop("lastError")
    assert body == {
        "type": TYPE,
        "payload": {"orderId": order},
        "retryCount": 3,
        "maxRetries": 3,
        "createdAt": created_at,
        "traceId": "t-1",
    }


@frozen_clock
def test_retries_beyond_the_list_of_delays_use_the_last_delay(
    open_app: OpenApp, shop: Shop
) -> None:
    """DESIGN: the last delay is used again, and a message's own maxRetries takes precedence."""
    app = open_app(retry__delays="1s, 2s", retry__max_retries=1)
    queued(app, shop, maxRetries=4)

    delays = []
    with broken(app, "Order"):
        for _ in range(4):
            drain(app)
            delays += [_rounded(message.delay) for message in messages(app)]
            make_visible(app)
        assert drain(app) == Tally(dead=1)

    assert delays == [1, 2, 2, 2]


@frozen_clock
@pytest.mark.parametrize(
    ("body", "executions"),
    [
        ({"maxRetries": 0}, 1),
        ({"maxRetries": 1}, 2),
        ({"maxRetries": "1"}, 2),
        ({"maxRetries": ...}, 3),
        ({"maxRetries": None}, 3),
        ({"maxRetries": "many"}, 3),
        ({"maxRetries": -1}, 3),
        ({"maxRetries": 1.5}, 3),
        ({"maxRetries": True}, 3),
        ({"retryCount": ...}, 4),
        ({"retryCount": 2}, 2),
        ({"retryCount": "2"}, 2),
        ({"retryCount": [2]}, 4),
        ({"retryCount": 3}, 1),
        ({"retryCount": 9}, 1),
    ],
    ids=str,
)
def test_the_number_of_executions_follows_the_counts_in_the_message(
    open_app: OpenApp, shop: Shop, body: dict[str, Any], executions: int
) -> None:
    """DOMAIN 5: missing or invalid numbers count as the defaults, which are 0 and here 2."""
    app = open_app(retry__max_retries=2)
    queued(app, shop, **body)

    count = 0
    with broken(app, "Order"):
        while not dead_letters(app):
            drain(app)
            make_visible(app)
            count += 1

    assert count == executions


@frozen_clock
def test_a_rejected_job_is_dead_at_once(app: App, shop: Shop, connection: Connection) -> None:
    """A handler raises RejectedError for one job; the other jobs of the batch are done."""
    first, rejected, last = queued(app, shop, 3)

    def handler(batch: Batch[Any]) -> None:
        if rejected in batch.keys:
            message = "the order is cursed"
            raise RejectedError(message)

    assert with_handler(app, TYPE, handler).drain().step() == Tally(done=2, dead=1)

    (dead_letter,) = dead_letters(app)
    assert (dead_letter.key, dead_letter.reason, dead_letter.attempts) == (rejected, "rejected", 1)
    assert "cursed" in dead_letter.error
    assert {(key, outcome) for _, key, outcome, _ in job_outcomes(connection)} == {
        (first, "done"),
        (rejected, "dead"),
        (last, "done"),
    }


@frozen_clock
def test_a_handler_decides_about_each_job_separately(
    app: App, shop: Shop, connection: Connection
) -> None:
    """One batch can have jobs that are done, skipped, postponed and rejected."""
    orders = queued(app, shop, 4)

    def handler(batch: Batch[Any]) -> None:
        _, skipped, postponed, rejected = batch.jobs
        batch.skip(skipped, "needs nothing")
        batch.postpone(postponed, "not now")
        batch.reject(rejected, "never")

    tally = with_handler(app, TYPE, handler).drain().step()

    assert tally == Tally(done=1, skipped=1, postponed=1, dead=1)
    assert job_outcomes(connection) == [
        (TYPE, orders[0], "done", None),
        (TYPE, orders[1], "skipped", "needs nothing"),
        (TYPE, orders[3], "dead", "never"),
    ]
    (message,) = messages(app)
    assert (message.body["payload"], message.body["retryCount"]) == ({"orderId": orders[2]}, 0)
    assert timedelta(0) < message.delay <= SECOND
    assert [(dead_letter.key, dead_letter.reason) for dead_letter in dead_letters(app)] == [
        (orders[3], "rejected")
    ]


@frozen_clock
def test_any_error_of_a_handler_causes_a_retry(app: App, shop: Shop) -> None:
    """L5: the error is stored on one line, and a later execution can succeed."""
    queued(app, shop)
    flaky = with_handler(app, TYPE, raising(KeyError("a\nb"), ZeroDivisionError("by zero"), None))

    errors = []
    for _ in range(2):
        assert flaky.drain().step() == Tally(retried=1)
        (message,) = messages(app)
        errors.append(message.body["lastError"])
        make_visible(app)

    assert flaky.drain().step() == Tally(done=1)
    assert errors[1] == "ZeroDivisionError: by zero"
    assert "\n" not in "".join(errors)


@frozen_clock
@pytest.mark.parametrize(
    "said", ["a NUL: \0", "half a pair: \ud800", " ", "\x1b[2J", "0812" * 50_000], ids=ascii
)
def test_any_text_of_an_error_can_be_stored(app: App, shop: Shop, said: str) -> None:
    """L5: an error whose text no JSON can hold costs its own job an attempt, and no other's."""
    first, failing, last = queued(app, shop, 3, maxRetries=1)

    def handler(batch: Batch[Any]) -> None:
        if failing in batch.keys:
            raise ValueError(said)

    flawed = with_handler(app, TYPE, handler)
    assert flawed.drain().step() == Tally(done=2, retried=1)
    (message,) = messages(app)
    assert message.body["payload"] == {"orderId": failing}
    assert message.body["lastError"].startswith("ValueError: ")
    assert message.body["lastError"].isprintable()
    make_visible(app)
    assert flawed.drain().step() == Tally(dead=1)
    assert first != last


class Untold(Exception):  # noqa: N818 -- a name for a test
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


@frozen_clock
def test_an_error_that_cannot_be_told_costs_its_own_job_an_attempt(app: App, shop: Shop) -> None:
    queued(app, shop)

    assert with_handler(app, TYPE, raising(Untold())).drain().step() == Tally(retried=1)


@frozen_clock
@pytest.mark.parametrize("decide", ["skip", "reject"])
def test_any_text_of_a_reason_can_be_stored(
    app: App, shop: Shop, connection: Connection, decide: str
) -> None:
    queued(app, shop)

    def handler(batch: Batch[Any]) -> None:
        getattr(batch, decide)(batch.jobs[0], "a NUL: \0\nand more")

    with_handler(app, TYPE, handler).drain().step()

    assert [reason for *_, reason in job_outcomes(connection)] == ["a NUL: \ufffd"]


@frozen_clock
def test_a_decision_that_raises_is_a_crash_of_its_own_job_only(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: the jobs beside it are done; after five such reads it is dead, alone."""
    first, failing, last = queued(app, shop, 3)
    decide = Completer.decide

    def undecided(completer: Completer, job: Job[Any], error: Exception) -> Decision:
        if job.key == failing:
            message = "no decision"
            raise RuntimeError(message)
        return decide(completer, job, error)

    monkeypatch.setattr(Completer, "decide", undecided)
    with broken(app, "Order", when=f"old.id = '{failing}'"), capture_logs() as lines:
        assert app.drain().step() == Tally(done=2)
        (message,) = messages(app)
        assert (message.read_ct, message.body["retryCount"]) == (1, 0)
        for _ in range(4):
            make_visible(app)
            assert app.drain().step() == Tally()
        make_visible(app)
        assert app.drain().step() == Tally(dead=1)

    assert {shop.status(order) for order in (first, last)} == {"cancelled"}
    told = [line["msg_id"] for line in lines if line["event"] == "job.undecided"]
    assert told == [message.msg_id] * 5
    assert [letter.reason for letter in dead_letters(app)] == ["crashed"]


@frozen_clock
def test_a_decision_that_meets_the_databases_trouble_costs_no_attempt(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: the job waits a moment, and the other jobs are done."""
    _, failing, _ = queued(app, shop, 3)
    trouble = OperationalError("update", {}, LockNotAvailable())

    def undecided(*_: Any) -> None:
        raise trouble

    monkeypatch.setattr(Completer, "decide", undecided)
    with broken(app, "Order", when=f"old.id = '{failing}'"):
        assert app.drain().step() == Tally(done=2, postponed=1)

    assert [(m.read_ct, m.body["retryCount"]) for m in messages(app)] == [(0, 0)]


@frozen_clock
@pytest.mark.parametrize("step", ["dead_letter.send", "Queues.send"])
def test_a_message_that_cannot_be_sorted_is_a_crash_of_its_own(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """L5: whether it is to be dead-lettered, split or moved, the messages beside it are worked."""
    if step == "Queues.send":
        bad = send(app, NOTICE, {"recipientPhone": "081234567890", "message": "Halo"})
        send(app, NOTICE, {"recipientPhone": "081234567891", "message": "Halo"})
    else:
        bad = send(app, "BAD", {})
        send(app, "MAKE_COFFEE", {})
    (order,) = queued(app, shop)
    name = (
        "sweeper.queue.pgmq.Queues.send"
        if "Queues" in step
        else f"sweeper.queue.dead_letters.{step}"
    )
    real: Any = Queues.send if "Queues" in step else dead_letter.send

    def refusing(*arguments: Any) -> Any:
        if "081234567890" in str(arguments) or "BAD" in str(arguments):
            message = "cannot be stored"
            raise ValueError(message)
        return real(*arguments)

    monkeypatch.setattr(name, refusing)
    tally = app.drain().step()

    assert tally == Tally(done=1, dead=len(dead_letters(app)))
    assert shop.status(order) == "cancelled"
    assert len(messages(app, OUTBOUND)) + len(dead_letters(app)) >= 1
    assert [(m.msg_id, m.read_ct) for m in messages(app)] == [(bad, 1)]


# Malformed messages.


@frozen_clock
@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "invalid"),
        ("null", "invalid"),
        ("5", "invalid"),
        ("true", "invalid"),
        ("[]", "invalid"),
        ('["ORDER_EXPIRE_DP"]', "invalid"),
        ('"text"', "invalid"),
        ('"{"', "invalid"),
        ("{}", "invalid"),
        ('{"type": null, "payload": {"orderId": "c"}}', "invalid"),
        ('{"type": 5, "payload": {"orderId": "c"}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP"}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": null}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": "c"}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": ["c"]}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": null}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": 5}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": ""}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": {"id": "c"}}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderIds": [5]}}', "invalid"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"orderIds": "c"}}', "invalid"),
        ('{"type": "order_expire_dp", "payload": {"orderId": "c"}}', "unknown_type"),
        ('{"type": "MAKE_COFFEE", "payload": {"orderId": "c"}}', "unknown_type"),
        ('{"type": "", "payload": {}}', "unknown_type"),
    ],
)
def test_a_malformed_message_is_dead_lettered_and_blocks_no_other(
    *, app: App, shop: Shop, connection: Connection, raw: str | None, reason: str
) -> None:
    """DESIGN: it is dead-lettered at once with its raw body; messages behind it are worked."""
    msg_id = send_raw(app, raw)
    (order,) = queued(app, shop)

    assert app.drain().step() == Tally(done=1, dead=1)

    assert shop.status(order) == "cancelled"
    assert messages(app) == []
    (dead_letter,) = dead_letters(app)
    assert (dead_letter.reason, dead_letter.attempts, dead_letter.queue) == (reason, 0, QUEUE)
    assert dead_letter.error
    assert json.loads(dead_letter.body or "null") == json.loads(raw or "null")
    dead = [row for row in rows(connection, "sweeper.job_log") if row["outcome"] == "dead"]
    assert [row["msg_id"] for row in dead] == [msg_id]


@frozen_clock
def test_many_malformed_messages_are_dead_lettered_in_one_step(app: App, shop: Shop) -> None:
    """L2: each message is kept with its own body."""
    for number in range(50):
        send_raw(app, str(number))
    (order,) = queued(app, shop)

    assert app.drain().step() == Tally(done=1, dead=50)
    assert shop.status(order) == "cancelled"
    assert [dead_letter.body for dead_letter in dead_letters(app)] == [
        str(number) for number in range(50)
    ]


@frozen_clock
def test_malformed_messages_in_the_outbound_lane_are_dead_lettered(app: App) -> None:
    send_raw(app, "5", queue=OUTBOUND)
    send(app, "MAKE_COFFEE", {}, queue=OUTBOUND)

    assert drain(app) == Tally(dead=2)
    assert [(dead_letter.reason, dead_letter.queue) for dead_letter in dead_letters(app)] == [
        ("invalid", OUTBOUND),
        ("unknown_type", OUTBOUND),
    ]


# Messages for several orders, and messages in the wrong lane.


@frozen_clock
def test_a_message_for_several_orders_is_split_into_one_for_each(app: App, shop: Shop) -> None:
    """DESIGN: each new message has one order id and the other fields of the original body."""
    orders = due(shop, 3)
    send(app, TYPE, {"orderIds": orders, "why": "x"}, maxRetries=1, retryCount=1, traceId="t-1")

    assert app.drain().step() == Tally()

    assert [message.body for message in messages(app)] == [
        {
            "type": TYPE,
            "payload": {"orderId": order, "why": "x"},
            "retryCount": 1,
            "maxRetries": 1,
            "createdAt": "2026-01-31T11:58:00.000Z",
            "traceId": "t-1",
        }
        for order in orders
    ]
    drain(app)
    assert {shop.status(order) for order in orders} == {"cancelled"}


@frozen_clock
def test_a_message_for_no_orders_is_skipped_without_work(app: App, connection: Connection) -> None:
    """L8: it asks for nothing, and ends once."""
    send(app, TYPE, {"orderIds": []})

    assert app.drain().step() == Tally(skipped=1)

    assert (messages(app), dead_letters(app)) == ([], [])
    assert job_outcomes(connection) == [(TYPE, None, "skipped", "it names no keys")]


@frozen_clock
def test_a_blank_id_in_a_list_is_dead_and_the_orders_beside_it_are_cancelled(
    app: App, shop: Shop
) -> None:
    """L5: one wrong id concerns that id only."""
    first, last = due(shop, 2)
    send(app, TYPE, {"orderIds": [first, "", last]})

    drain(app)

    assert {shop.status(order) for order in (first, last)} == {"cancelled"}
    (letter,) = dead_letters(app)
    assert letter.reason == "invalid"


@frozen_clock
def test_an_outbound_job_in_the_database_lane_is_moved(app: App) -> None:
    """DESIGN: the platform sends all jobs to one queue, and a move costs no attempt."""
    payload = {"recipientPhone": "08123456789", "message": "Halo"}
    send(app, NOTICE, payload, retryCount=1)

    assert app.drain().step() == Tally()

    assert messages(app) == []
    (message,) = messages(app, OUTBOUND)
    assert message.body == {
        "type": NOTICE,
        "payload": payload,
        "retryCount": 1,
        "maxRetries": 3,
        "createdAt": "2026-01-31T11:58:00.000Z",
    }
    assert app.outbound().step() == Tally(done=1)


@frozen_clock
def test_a_database_job_in_the_outbound_lane_is_moved(app: App, shop: Shop) -> None:
    order, product = shop.order(age=HOUR), shop.product(stock=0)
    send(app, TYPE, {"orderId": order}, queue=OUTBOUND)
    send(app, "STOCK_RELEASE", {"productId": product, "quantity": 1}, queue=OUTBOUND)

    assert app.outbound().step() == Tally()

    assert (len(messages(app)), len(messages(app, HIGH))) == (1, 1)
    drain(app)
    assert (shop.status(order), shop.stock(product)) == ("cancelled", 1)


@frozen_clock
@pytest.mark.parametrize("queue", [HIGH, LOW])
def test_a_message_for_several_orders_keeps_its_priority(app: App, shop: Shop, queue: str) -> None:
    """L6: who asked for haste, or for none, gets it for each order."""
    send(app, TYPE, {"orderIds": due(shop, 2)}, queue=queue)

    app.drain().step()

    assert (len(messages(app, queue)), len(messages(app))) == (2, 0)


@frozen_clock
def test_a_long_list_of_orders_is_split_in_chunks(app: App) -> None:
    send(app, TYPE, {"orderIds": [f"c{number}" for number in range(2_500)]})
    sent: list[int] = []
    real = app.queues.send

    def counted(tx: Connection, queue: str, bodies: Sequence[Any], delay: timedelta) -> list[int]:
        sent.append(len(bodies))
        return real(tx, queue, bodies, delay)

    app.queues.send = counted  # type: ignore[method-assign]
    app.drain().step()

    assert sent == [1_000, 1_000, 500]
    assert len(messages(app)) == 2_500


@frozen_clock
def test_a_message_for_several_orders_that_crashed_too_often_is_dead_lettered(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: crashes are looked at before it is split."""
    orders = due(shop, 2)
    send(app, TYPE, {"orderIds": orders})
    read_before(connection, 5)

    assert app.drain().step() == Tally(dead=1)

    (letter,) = dead_letters(app)
    assert (letter.type, letter.key, letter.reason, letter.attempts) == (TYPE, None, "crashed", 5)
    assert json.loads(letter.body or "")["payload"] == {"orderIds": orders}
    assert messages(app) == []


# Sizes.


def test_a_read_ends_where_it_has_loaded_enough(app: App) -> None:
    """L5: the messages behind it are given back uncounted, in the same transaction."""
    for number in range(8):
        send(app, TYPE, {"orderId": f"c{number}"}, note="x" * 900_000)

    found = app.fetcher.read(app.queues.database, lease=MINUTE, quantity=10)

    assert len(found) == 5  # of 900 kB each, for 4 MiB
    assert [message.read_ct for message in messages(app)] == [1] * 5 + [0] * 3
    assert [message.delay > timedelta() for message in messages(app)] == [True] * 5 + [False] * 3


@frozen_clock
def test_a_message_that_is_too_large_is_dead_lettered_without_being_loaded(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2, L5: its body moves inside the database, and the messages behind it are worked."""
    msg_id = send(app, TYPE, {"orderId": "c" * 2_000_000})
    (order,) = queued(app, shop)
    found = app.fetcher.read(app.queues.database, lease=SECOND, quantity=2)
    assert found[0].raw is None
    app.give_back.give_back(found)

    assert app.drain().step() == Tally(done=1, dead=1)

    assert shop.status(order) == "cancelled"
    (letter,) = dead_letters(app)
    assert (letter.type, letter.key, letter.reason) == (None, None, "invalid")
    assert letter.error == "the body has 2,000,130 bytes, and at most 1,048,576 are read"
    assert json.loads(letter.body or "")["payload"] == {"orderId": "c" * 2_000_000}
    assert [row["msg_id"] for row in rows(connection, "sweeper.job_log")] == [msg_id, msg_id + 1]


# Crashes.


@frozen_clock
def test_a_message_that_crashed_five_workers_is_dead_lettered(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: five reads ended without a decision; failed executions are counted separately."""
    (order,) = queued(app, shop, retryCount=1)
    read_before(connection, 5)

    assert app.drain().step() == Tally(dead=1)

    assert shop.status(order) == "pending_dp"
    (dead_letter,) = dead_letters(app)
    assert (dead_letter.key, dead_letter.reason, dead_letter.attempts) == (order, "crashed", 6)
    assert job_outcomes(connection) == [(TYPE, order, "dead", "crashed")]


@frozen_clock
def test_a_message_that_crashed_four_workers_is_worked_again(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: the fifth worker works it, because the crash limit is five."""
    (order,) = queued(app, shop)
    read_before(connection, 4)

    assert app.drain().step() == Tally(done=1)
    assert shop.status(order) == "cancelled"


@frozen_clock
def test_a_failed_execution_does_not_count_as_a_crash(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: a retry sends a new message, whose reads are counted from 0."""
    queued(app, shop)
    read_before(connection, 3)

    with broken(app, "Order"):
        drain(app)

    (message,) = messages(app)
    assert (message.read_ct, message.body["retryCount"]) == (0, 1)


@frozen_clock
def test_the_crash_limit_is_a_setting(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    app = open_app(retry__crash_limit=2)
    queued(app, shop)
    read_before(connection, 2)

    assert app.drain().step() == Tally(dead=1)


@frozen_clock
def test_a_suspected_poison_message_is_worked_alone(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: if it crashes this worker too, no other message counts a crash."""
    first, poison, last = queued(app, shop, 3)
    read_before(connection, 4, msg_id=2)
    started: list[str] = []

    def handler(batch: Batch[Any]) -> None:
        started.extend(batch.keys)

    with_handler(app, TYPE, handler).drain().step()

    assert started == [poison]
    assert [(m.body["payload"]["orderId"], m.read_ct) for m in messages(app)] == [
        (first, 0),
        (last, 0),
    ]
    assert drain(app).done == 4  # both other orders, and their notices


@frozen_clock
def test_a_suspected_poison_message_in_the_outbound_lane_is_worked_alone(
    app: App, connection: Connection
) -> None:
    """L5: a call that crashes its worker must not count as a crash of other notices."""
    for phone in ("081234567890", "081234567891", "081234567892"):
        send(app, NOTICE, {"recipientPhone": phone, "message": "Halo"}, queue=OUTBOUND)
    connection.execute(text(f"update pgmq.q_{OUTBOUND} set read_ct = 4 where msg_id = 2"))
    called: list[str] = []

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        called.append(delivery.phone)
        return call(delivery)

    with_call(app, NOTICE, answer).outbound().step()

    assert called == ["081234567891"]
    assert [(m.msg_id, m.read_ct) for m in messages(app, OUTBOUND)] == [(1, 0), (3, 0)]


# Priorities.


@frozen_clock
def test_messages_are_worked_in_order_of_priority(app: App, connection: Connection) -> None:
    """L6: high comes before normal, and normal before low."""
    for queue in (LOW, QUEUE, HIGH):
        send(app, TYPE, {"orderId": queue}, queue=queue)
    worker = app.drain()

    for _ in range(3):
        worker.step()

    assert [key for _, key, _, _ in job_outcomes(connection)] == [HIGH, QUEUE, LOW]


@frozen_clock
@pytest.mark.parametrize(
    "waiting", [(HIGH, QUEUE, LOW), (HIGH, QUEUE), (HIGH, LOW), (QUEUE, LOW)], ids=" ".join
)
def test_the_lowest_priority_is_never_starved(
    open_app: OpenApp, connection: Connection, waiting: tuple[str, ...]
) -> None:
    """L6: of FAIR reads in a row, at least one goes to the lowest queue that has work waiting."""
    app = open_app(queue__batch=1)
    reads = 4 * FAIR
    for queue in waiting:
        for _ in range(reads):
            send(app, TYPE, {"orderId": queue}, queue=queue)
    worker = app.drain()
    for _ in range(reads):
        worker.step()

    processed = [str(key) for _, key, _, _ in job_outcomes(connection)]

    turns = [n for n, queue in enumerate(processed) if queue == waiting[-1]]
    gaps = [later - earlier for earlier, later in pairwise([-1, *turns, reads])]
    assert len(processed) == reads
    assert max(gaps) <= FAIR
    assert Counter(processed)[waiting[0]] > reads / 2


@frozen_clock
def test_a_new_worker_does_not_begin_with_the_lowest_priority(
    open_app: OpenApp, connection: Connection
) -> None:
    """L6: `sweeper sweep` creates a worker for each pass, which must begin with high priority."""
    app = open_app(queue__batch=1)
    for queue in (LOW, QUEUE, HIGH):
        send(app, TYPE, {"orderId": queue}, queue=queue)

    app.drain().step()

    assert [key for _, key, _, _ in job_outcomes(connection)] == [HIGH]


# Locks, transient errors and lost connections.


def test_a_locked_order_is_postponed_at_once(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L5: a locked row costs its job a short delay and no attempt, and other jobs nothing."""
    app = open_app(database__lock_timeout="30s")
    first, locked, last = queued(app, shop, 3)
    holder = connect()
    holder.execute(text('select from "Order" where id = :id for update'), {"id": locked})
    began = time.monotonic()

    tally = app.drain().step()

    assert time.monotonic() - began < 5  # no statement has waited for the lock
    assert tally == Tally(done=2, postponed=1)
    assert (shop.status(first), shop.status(last)) == ("cancelled", "cancelled")
    (message,) = messages(app)
    assert (message.body["payload"], message.body["retryCount"]) == ({"orderId": locked}, 0)
    assert timedelta(0) < message.delay <= SECOND

    holder.rollback()
    make_visible(app)
    assert app.drain().step() == Tally(done=1)
    assert (TYPE, locked, "done", None) in job_outcomes(connection)


def test_a_locked_product_postpones_only_the_order_that_needs_it(
    app: App, shop: Shop, connect: Connect
) -> None:
    """L5: the batch is worked within a few of the short waits that one lock may cost."""
    free, held = shop.product(stock=0), shop.product(stock=0)
    orders = [shop.order(age=HOUR, items=[(free, 1)]) for _ in range(7)]
    blocked = shop.order(age=2 * HOUR, items=[(held, 1)])
    for order in [*orders[:3], blocked, *orders[3:]]:
        send(app, TYPE, {"orderId": order})
    holder = connect()
    holder.execute(text('select from "Product" where id = :id for update'), {"id": held})
    began = time.monotonic()

    tally = app.drain().step()

    assert time.monotonic() - began < 3
    assert tally == Tally(done=7, postponed=1)
    assert (shop.stock(free), shop.status(blocked)) == (7, "pending_dp")
    (message,) = messages(app)
    assert (message.body["retryCount"], message.read_ct) == (0, 0)
    assert timedelta(0) < message.delay <= SECOND


@frozen_clock
@pytest.mark.parametrize(
    "sqlstate",
    ["40001", "40P01", "55P03", "57P03", "53300", "25006"],
    ids=["serialization", "deadlock", "lock", "recovery", "too many connections", "read only"],
)
def test_a_transient_database_error_costs_no_attempt(
    app: App, shop: Shop, connection: Connection, sqlstate: str
) -> None:
    """L5: the job gets a short delay, and neither a failure nor a crash is counted."""
    orders = queued(app, shop, 2)

    with broken(app, "Order", when=f"old.id = '{orders[0]}'", error=sqlstate):
        assert app.drain().step() == Tally(done=1, postponed=1)
        (message,) = messages(app)

    assert (message.body["retryCount"], message.read_ct) == (0, 0)
    assert "lastError" not in message.body
    assert timedelta(0) < message.delay <= SECOND
    make_visible(app)
    assert app.drain().step() == Tally(done=1)
    assert [outcome for _, _, outcome, _ in job_outcomes(connection)] == ["done", "done"]


@frozen_clock
@pytest.mark.parametrize("sqlstate", ["22003", "23505", "42883", "P0001", "XX000"])
def test_a_permanent_database_error_costs_an_attempt(app: App, shop: Shop, sqlstate: str) -> None:
    """L5: an error that does not pass by itself counts as a failure of the job."""
    queued(app, shop)

    with broken(app, "Order", error=sqlstate):
        assert app.drain().step() == Tally(retried=1)


@frozen_clock
def test_a_lost_connection_costs_no_attempt(app: App, shop: Shop, connection: Connection) -> None:
    """L5: the whole batch is given back, and the next step works it."""
    orders = queued(app, shop, 3)

    def disconnect(batch: Batch[Any]) -> None:
        batch.tx.execute(text("select pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(OperationalError):
        with_handler(app, TYPE, disconnect).drain().step()

    assert [(m.read_ct, m.body["retryCount"]) for m in messages(app)] == [(0, 0)] * 3
    assert drain(app) == Tally(done=6)
    assert {shop.status(order) for order in orders} == {"cancelled"}
    assert {row["attempt"] for row in rows(connection, "sweeper.job_log")} == {1}


@frozen_clock
def test_a_stopping_worker_gives_back_the_jobs_that_it_has_not_started(
    open_app: OpenApp, shop: Shop
) -> None:
    """L5: a deploy counts neither a failure nor a crash."""
    app = open_app()
    orders = queued(app, shop, 3)
    worker = app.drain()
    worker.stopping = lambda: True

    assert worker.step() == Tally()

    assert {shop.status(order) for order in orders} == {"pending_dp"}
    assert [message.read_ct for message in messages(app)] == [0, 0, 0]
    assert all(message.delay <= timedelta(0) for message in messages(app))


@frozen_clock
@pytest.mark.parametrize("calls", [0, 1])
def test_a_stopping_outbound_worker_gives_back_the_jobs_that_it_has_not_called(
    app: App, connection: Connection, calls: int
) -> None:
    """L5: the calls that were made are recorded, and the other jobs are given back."""
    phones = [f"0812345678{number:02}" for number in range(30)]
    for phone in phones:
        send(app, NOTICE, {"recipientPhone": phone, "message": "Halo"}, queue=OUTBOUND)
    called: list[str] = []

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        called.append(delivery.phone)
        return call(delivery)

    worker = with_call(app, NOTICE, answer).outbound()
    worker.stopping = lambda: len(called) >= calls

    worker.step()

    left = messages(app, OUTBOUND)
    assert calls <= len(called) < len(phones)
    assert len(job_outcomes(connection)) == len(called)
    assert sorted([*called, *(m.body["payload"]["recipientPhone"] for m in left)]) == phones
    assert {message.read_ct for message in left} == {0}


@frozen_clock
def test_a_step_reads_at_most_one_batch(open_app: OpenApp, shop: Shop) -> None:
    app = open_app(queue__batch=2)
    queued(app, shop, 5)

    worker = app.drain()

    assert [worker.step() for _ in range(4)] == [
        Tally(done=2),
        Tally(done=2),
        Tally(done=1),
        None,
    ]


@frozen_clock
def test_jobs_of_several_types_are_worked_in_one_read(app: App, shop: Shop) -> None:
    unpaid = shop.order(age=HOUR)
    waiting = shop.order(status="awaiting_validation", age=26 * HOUR, paid_ago=25 * HOUR)
    product = shop.product(stock=0)
    send(app, TYPE, {"orderId": unpaid})
    send(app, "ORDER_AUTO_REFUND", {"orderId": waiting})
    send(app, "STOCK_RELEASE", {"productId": product, "quantity": 1})

    assert app.drain().step() == Tally(done=3)
    assert (shop.status(unpaid), shop.status(waiting)) == ("cancelled", "rejected")
    assert shop.stock(product) == 1


@frozen_clock
@pytest.mark.parametrize("size", [1, 60])
def test_a_batch_of_any_size_takes_only_a_few_statements(app: App, shop: Shop, size: int) -> None:
    """DESIGN 5: at most eight, because a round trip may take a quarter of a second."""
    product = shop.product(stock=0)
    for _ in range(size):
        send(app, TYPE, {"orderId": shop.order(age=HOUR, items=[(product, 1)])})
    statements: list[str] = []

    def record(*arguments: Any) -> None:
        statements.append(arguments[2])

    worker = app.drain()
    event.listen(app.database._engine, "before_cursor_execute", record)

    assert worker.step() == Tally(done=size)
    assert 3 < len(statements) <= 8


def _rounded(delay: timedelta) -> int:
    """Return a delay in seconds, rounded up to its value when the message was sent."""
    return -(-delay // SECOND)
