"""Postponed jobs: their rests grow, they cost no others anything, and slowness ends as a failure.

A test lets a rest pass with `make_visible`.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper import Batch
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.job import Job, Lane
from sweeper.postgres import clock
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.retry import rest_after
from sweeper.worker import drain as drain_module
from sweeper.worker.lease import Leases
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    QUEUE,
    SECOND,
    Connect,
    OpenApp,
    QueuedMessage,
    broken,
    dead_letters,
    drain,
    make_visible,
    messages,
    send,
    send_raw,
    slow,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"
# Of messages that nobody has read, but to give them back.
END_RESTS = text(
    f"update pgmq.q_{QUEUE} set vt = clock_timestamp() where msg_id in"
    f" (select msg_id from pgmq.q_{QUEUE} where read_ct = 0 for update skip locked)"
)
RESTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return an app whose statements time out soon."""
    return open_app(database__statement_timeout="250ms")


def queued(app: App, shop: Shop, count: int = 1, **body: Any) -> list[str]:
    """Add orders that are due, and a message for each."""
    orders = [shop.order(age=HOUR) for _ in range(count)]
    for order in orders:
        send(app, TYPE, {"orderId": order}, **body)
    return orders


def on_one_product(app: App, shop: Shop, count: int = 1) -> list[str]:
    """Add orders on one product that are due, and a message for each."""
    product = shop.product(stock=0)
    orders = [shop.order(age=HOUR, items=[(product, 1)]) for _ in range(count)]
    for order in orders:
        send(app, TYPE, {"orderId": order})
    return orders


@contextmanager
def held(connect: Connect, table: str) -> Iterator[None]:
    """Hold every row of *table*, as a session does that was forgotten."""
    holder = connect()
    holder.execute(text(f'select from "{table}" for update'))
    yield
    holder.rollback()


def rest_of(message: QueuedMessage) -> int:
    """Return how long a message that was just postponed rests, in whole seconds."""
    return round(message.delay.total_seconds())


def logged(lines: Sequence[Any], event: str) -> list[Any]:
    """Return the lines of one event."""
    return [line for line in lines if line["event"] == event]


# What a slow or a waiting job costs others.


def test_a_slow_order_among_fifty_costs_the_others_one_halving(app: App, shop: Shop) -> None:
    """L5: the others are done at once, and from the second round on no batch fails for it."""
    orders = queued(app, shop, 50)
    culprit = orders[23]

    rests = []
    with slow(app, "Order", f"old.id = '{culprit}'"):
        with capture_logs() as first:
            assert app.drain().step() == Tally(done=49, postponed=1)
        with capture_logs() as later:
            for _ in range(10):
                (message,) = messages(app)
                assert (message.read_ct, message.body["retryCount"]) == (0, 0)
                rests.append(rest_of(message))
                queued(app, shop, 5)
                make_visible(app)
                assert app.drain().step() == Tally(done=5, postponed=1)

    assert 1 <= len(logged(first, "batch.split")) <= 6
    assert [] == logged(later, "batch.split")
    assert RESTS[:10] == rests
    assert [n for n, _ in enumerate(logged(later, "job.postponed"), 2)] == [
        line["times"] for line in logged(later, "job.postponed")
    ]
    make_visible(app)
    assert app.drain().step() == Tally(done=1)
    assert shop.status(culprit) == "cancelled"


def test_slow_jobs_that_were_read_together_are_handled_apart_and_for_a_bounded_time(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: a step tries one after the fresh ones, and more in five seconds; the others wait."""
    orders = queued(app, shop, 6, postponed=1, timedOut=1)
    monkeypatch.setattr(drain_module, "PATIENCE", timedelta())

    with slow(app, "Order", f"old.id in {tuple(orders)}"), capture_logs() as lines:
        (fresh,) = queued(app, shop)
        assert app.drain().step() == Tally(done=1, postponed=6)
        assert shop.status(fresh) == "cancelled"
        assert [2, 1, 1, 1, 1, 1] == [message.body["timedOut"] for message in messages(app)]
        assert {0} == {message.read_ct for message in messages(app)}
        assert all(timedelta() < message.delay for message in messages(app))
        make_visible(app)
        app.drain().step()

    assert [2, 2, 1, 1, 1, 1] == [message.body["timedOut"] for message in messages(app)]
    assert [] == logged(lines, "batch.split")


def test_orders_whose_lock_is_free_again_are_done_in_growing_batches(
    app: App, shop: Shop, connect: Connect
) -> None:
    """One at first, and twice as many after each success: not a transaction for each of them."""
    orders = on_one_product(app, shop, 20)
    with held(connect, "Product"):
        assert app.drain().step() == Tally(postponed=20)
    make_visible(app)

    with capture_logs() as lines:
        assert app.drain().step() == Tally(done=20)

    assert [1, 2, 4, 8, 5] == [len(line["done"]) for line in logged(lines, "batch.done")]
    assert {"cancelled"} == {shop.status(order) for order in orders}


def test_orders_that_still_wait_for_their_lock_are_not_halved_again(
    app: App, shop: Shop, connect: Connect
) -> None:
    on_one_product(app, shop, 20)
    with held(connect, "Product"):
        app.drain().step()
        make_visible(app)
        with capture_logs() as lines:
            assert app.drain().step() == Tally(postponed=20)

    assert ([], 20) == (logged(lines, "batch.split"), len(logged(lines, "job.postponed")))


# When slowness is a failure, and that a lock never is.


def test_a_job_that_is_always_slow_is_retried_and_dead_in_the_end(
    open_app: OpenApp, shop: Shop
) -> None:
    """L5: its third timeout alone is its first failure, and the ladder takes no further hour."""
    app = open_app(database__statement_timeout="250ms", retry__slow_limit=3)
    (order,) = queued(app, shop, maxRetries=2)

    tallies, states = list[Tally | None](), list[tuple[Any, ...]]()
    with slow(app, "Order"):
        while not dead_letters(app):
            assert len(tallies) < 9
            tallies.append(app.drain().step())
            states += [
                (message.body["retryCount"], rest_of(message), message.read_ct)
                for message in messages(app)
            ]
            make_visible(app)

    assert [Tally(postponed=1)] * 2 + [Tally(retried=1)] * 2 + [Tally(dead=1)] == tallies
    assert [(0, 1, 0), (0, 2, 0), (1, 5, 0), (2, 30, 0)] == states
    (letter,) = dead_letters(app)
    assert (letter.key, letter.reason, letter.attempts) == (order, "exhausted", 3)
    assert "statement timeout" in letter.error
    app.dead_letter_queue.retry(DeadLetterFilter())
    (again,) = messages(app)
    assert not {"postponed", "timedOut", "lastError"} & again.body.keys()


def test_the_rests_before_the_default_limit_take_about_an_hour(open_app: OpenApp) -> None:
    limit = open_app().settings.retry.slow_limit
    rests = [rest_after(times) for times in range(1, limit)]

    assert RESTS == [rest.total_seconds() for rest in rests[:12]]
    assert timedelta(minutes=55) < sum(rests, timedelta()) < timedelta(minutes=65)


@pytest.mark.parametrize("table", ["Product", "Order"])
def test_a_job_that_waits_for_a_lock_is_never_dead(
    open_app: OpenApp, shop: Shop, connect: Connect, table: str
) -> None:
    """L5: neither where a statement waits for it, nor where the handler skips the locked row."""
    app = open_app(retry__slow_limit=3, database__lock_timeout="100ms")
    (order,) = on_one_product(app, shop)

    rests = []
    with held(connect, table), capture_logs() as lines:
        for _ in RESTS:
            assert app.drain().step() == Tally(postponed=1)
            (message,) = messages(app)
            assert (message.read_ct, message.body["retryCount"]) == (0, 0)
            rests.append(rest_of(message))
            make_visible(app)

    assert RESTS == rests
    assert [3, 6, 9, 12] == [line["times"] for line in logged(lines, "job.blocked")]
    assert {order} == {line["key"] for line in logged(lines, "job.blocked")}
    assert app.drain().step() == Tally(done=1)
    assert (shop.status(order), dead_letters(app)) == ("cancelled", [])


def test_a_lock_timeout_that_is_longer_than_the_statement_timeout_makes_no_job_slow(
    open_app: OpenApp, shop: Shop, connect: Connect
) -> None:
    """L5: waiting for somebody else does not pass for a slow statement."""
    app = open_app(database__statement_timeout="300ms", database__lock_timeout="60s")
    on_one_product(app, shop)

    with held(connect, "Product"):
        assert app.drain().step() == Tally(postponed=1)

    (message,) = messages(app)
    assert (message.body["postponed"], "timedOut" in message.body) == (1, False)


def test_another_failure_begins_the_rests_anew(app: App, shop: Shop) -> None:
    """L5: failures are counted as ever, whatever was postponed before."""
    queued(app, shop, postponed=7, timedOut=2)

    with broken(app, "Order"):
        assert app.drain().step() == Tally(retried=1)

    (message,) = messages(app)
    assert ("postponed" in message.body, message.body["retryCount"]) == (False, 1)
    assert (message.body["timedOut"], rest_of(message)) == (2, 5)


# What is not counted.


@pytest.mark.parametrize("sqlstate", ["57014", "40P01", "53300", "25006"])
def test_trouble_that_is_not_the_jobs_own_is_not_counted(
    app: App, shop: Shop, sqlstate: str
) -> None:
    """L5: a statement that others cancelled, a deadlock, a server that is full or read-only."""
    queued(app, shop)

    with broken(app, "Order", error=sqlstate), capture_logs() as lines:
        for _ in range(3):
            assert app.drain().step() == Tally(postponed=1)
            (message,) = messages(app)
            assert ("postponed" in message.body, rest_of(message)) == (False, 1)
            make_visible(app)

    assert [0, 0, 0] == [line["times"] for line in logged(lines, "job.postponed")]


def test_a_statement_that_a_stop_cancels_is_not_counted(app: App, shop: Shop) -> None:
    """L5: whatever the job took before; a deploy costs nothing."""
    queued(app, shop)
    worker = app.drain()
    stopping: list[bool] = []
    worker.stopping = lambda: bool(stopping)

    def cancelled(batch: Batch[Any]) -> None:
        stopping.append(True)
        batch.tx.execute(text("select pg_sleep(60)"))

    worker = with_handler(app, TYPE, cancelled).drain()
    worker.stopping = lambda: bool(stopping)
    assert worker.step() == Tally(postponed=1)

    (message,) = messages(app)
    assert ("postponed" in message.body, message.read_ct) == (False, 0)


def test_what_is_given_back_is_not_counted(app: App, shop: Shop) -> None:
    """L5: as after a lost connection."""
    queued(app, shop)
    found = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    jobs: list[Job[Any]] = app.fetcher.sort(found, Lane.DATABASE, clock.now()).jobs

    app.completer.postpone(jobs, ConnectionError("lost"))

    (message,) = messages(app)
    assert ("postponed" in message.body, message.read_ct, rest_of(message)) == (False, 0, 1)


# The count in the message.


@pytest.mark.parametrize(
    ("foreign", "rest"),
    [
        (None, 1),
        (-1, 1),
        (1.5, 1),
        (True, 1),
        ([3], 1),
        ("many", 1),
        (10**12, 1),
        ("3", 8),
        (3, 8),
        (10**8, 300),
    ],
    ids=str,
)
def test_a_foreign_count_is_read_tolerantly(
    app: App, shop: Shop, foreign: object, rest: int
) -> None:
    queued(app, shop, postponed=foreign, timedOut=foreign)

    with broken(app, "Order", error="55P03"):
        assert app.drain().step() == Tally(postponed=1)

    assert [rest] == [rest_of(message) for message in messages(app)]


def test_the_postponements_of_a_body_in_a_string_are_counted(app: App, shop: Shop) -> None:
    """DOMAIN 5: a body may be a string that holds JSON."""
    body = {"type": TYPE, "payload": {"orderId": shop.order(age=HOUR)}, "traceId": "t-1"}
    msg_id = send_raw(app, json.dumps(json.dumps(body)))

    with broken(app, "Order", error="55P03"):
        for _ in range(2):
            assert app.drain().step() == Tally(postponed=1)
            make_visible(app)

    (message,) = messages(app)
    assert (message.msg_id, message.body) == (msg_id, body | {"postponed": 2})


# Several drainers, both lanes, and a pass.


def test_what_another_drainer_still_holds_is_left_to_it(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: a transaction that outlasts its lease is visible once rolled back; that is no crash."""
    monkeypatch.setattr(Leases, "are_overdue", True)
    queued(app, shop, 2)
    one, other = app.fetcher, app.fetcher
    found = one.read(app.queues.database, lease=SECOND, quantity=2)

    with one.lease(found, SECOND):
        make_visible(app)
        (fresh,) = queued(app, shop)
        (read,) = other.read(app.queues.database, lease=HOUR, quantity=3)
        assert fresh in (read.raw or "")
        assert [1, 1, 1] == [message.read_ct for message in messages(app)]
        assert all(timedelta() < message.delay for message in messages(app))
        one.give_back.give_back(found)

    assert [0, 0, 1] == [message.read_ct for message in messages(app)]


def test_two_drainers_with_a_slow_order_count_no_crash(open_app: OpenApp, shop: Shop) -> None:
    """L5: its transaction lasts longer than its lease, and both of them read all the time."""
    app = open_app(database__statement_timeout="1200ms", queue__visibility="1s")
    orders = queued(app, shop, 8)
    culprit, enough = orders[0], Event()
    reads: list[int] = []

    def work() -> None:
        worker = app.drain()
        while not enough.is_set():
            worker.step()
            with app.database.transaction() as tx:
                tx.execute(END_RESTS)

    with slow(app, "Order", f"old.id = '{culprit}'"):
        threads = [Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for _ in range(1_000):
            found = messages(app)
            reads += [message.read_ct for message in found]
            if not found or any(message.body.get("timedOut", 0) == 3 for message in found):
                break
            Event().wait(0.02)
        enough.set()
        for thread in threads:
            thread.join()
        (message,) = messages(app)

    assert {"cancelled"} == {shop.status(order) for order in orders[1:]}
    assert ([], 0, 0) == (dead_letters(app), message.read_ct, message.body["retryCount"])
    assert {0, 1} >= set(reads)


def test_a_slow_notice_holds_up_no_other(app: App, connection: Connection, shop: Shop) -> None:
    """L5: the outbound lane counts in the same way, and calls are made for the others."""
    queued(app, shop, 3)
    assert app.drain().step() == Tally(done=3)
    culprit = messages(app, OUTBOUND)[1].body["payload"]["messageId"]

    with slow(app, "NotificationLog", f"old.id = '{culprit}'"):
        assert drain(app) == Tally(done=2, postponed=1)

        (message,) = messages(app, OUTBOUND)
        assert (message.body["postponed"], message.body["timedOut"], message.read_ct) == (1, 1, 0)
        send(app, NOTICE, {"recipientPhone": "081234567890", "message": "Halo"}, queue=OUTBOUND)
        make_visible(app)
        assert drain(app) == Tally(done=1, postponed=1)

    (message,) = messages(app, OUTBOUND)
    assert message.body["timedOut"] == 2
    make_visible(app)
    assert drain(app) == Tally(done=1)
    statuses = connection.execute(text('select distinct status from "NotificationLog"')).scalars()
    assert ["sent"] == list(statuses)


def test_a_pass_ends_although_an_order_is_always_slow(app: App, shop: Shop) -> None:
    """Each job is tried twice at most, as with a lock."""
    orders = queued(app, shop, 3)
    steps = list[Tally]()

    def progress(tally: Tally) -> None:
        steps.append(tally)
        make_visible(app)

    with slow(app, "Order", f"old.id = '{orders[1]}'"):
        total = app.sweep(stopping=lambda: len(steps) >= 50).drain(progress)

    assert total == Tally(done=4, postponed=2)  # two orders, and their notices
