"""L5: while a suspected poison message is handled, its process begins nothing else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Batch, Tally
from sweeper.job import Message
from sweeper.worker.isolation import Isolation
from tests.support.verbs import (
    HIGH,
    HOUR,
    OUTBOUND,
    QUEUE,
    OpenApp,
    dead_letters,
    messages,
    send,
    with_call,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"


class Handler:
    """A handler that records the orders that it begins, and stops at one of them."""

    def __init__(self, stop_at: str) -> None:
        self.begun: list[str] = []
        self.stopped, self.go_on = Event(), Event()
        self._stop_at = stop_at

    def __call__(self, batch: Batch[Any]) -> None:
        """Record the batch, and wait for `go_on` where it holds the order to stop at."""
        self.begun += batch.keys
        if self._stop_at in batch.keys:
            self.stopped.set()
            assert self.go_on.wait(20)


def read_before(connection: Connection, msg_id: int, times: int, queue: str = QUEUE) -> None:
    """Make a message look as if so many workers had read it and crashed."""
    connection.execute(
        text(f"update pgmq.q_{queue} set read_ct = :times where msg_id = :id"),
        {"times": times, "id": msg_id},
    )


@contextmanager
def in_a_thread(step: Callable[[], Tally | None]) -> Iterator[list[Tally | None]]:
    """Run *step* in a thread of its own, and wait for its end; yield where its result will be."""
    results: list[Tally | None] = []
    thread = Thread(target=lambda: results.append(step()))
    thread.start()
    try:
        yield results
    finally:
        thread.join(20)
        assert not thread.is_alive()


def test_nothing_is_begun_while_a_suspect_is_handled(app: App, connection: Connection) -> None:
    """L5: what one drainer gave back, the other does not begin, to be killed together with it."""
    for key in ("first", "suspect", "last"):
        send(app, TYPE, {"orderId": key})
    read_before(connection, 2, 4)
    handler = Handler("suspect")
    app = with_handler(app, TYPE, handler)

    with in_a_thread(app.drain().step):
        assert handler.stopped.wait(20)
        assert app.drain().step() is None
        assert app.outbound().step() is None
        assert ["suspect"] == handler.begun
        assert [0, 5, 0] == [message.read_ct for message in messages(app)]
        handler.go_on.set()

    assert Tally(done=2) == app.drain().step()


def test_a_suspect_is_begun_once_all_other_threads_have_ended_their_steps(
    app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: it is given back meanwhile, uncounted, and nobody else begins anything."""
    send(app, TYPE, {"orderId": "innocent"}, queue=HIGH)
    handler, waits = Handler("innocent"), Event()
    app, alone = with_handler(app, TYPE, handler), Isolation.alone

    def observed(isolation: Isolation, seconds: float = 0.0) -> bool:
        if seconds:
            waits.set()
        return alone(isolation, seconds)

    monkeypatch.setattr(Isolation, "alone", observed)
    with in_a_thread(app.drain().step):
        assert handler.stopped.wait(20)
        read_before(connection, send(app, TYPE, {"orderId": "suspect"}), 4)
        with in_a_thread(app.drain().step) as results:
            assert waits.wait(20)
            send(app, TYPE, {"orderId": "later"})
            assert app.drain().step() is None
            assert [(4, True), (0, True)] == [
                (message.read_ct, message.delay <= timedelta()) for message in messages(app)
            ]
            handler.go_on.set()

    assert [Tally(done=1)] == results
    assert ["innocent", "suspect"] == handler.begun


def test_a_stop_ends_the_wait_to_be_alone(app: App, connection: Connection) -> None:
    """L5: the suspect stays in its queue, and counts no crash."""
    send(app, TYPE, {"orderId": "innocent"}, queue=HIGH)
    handler = Handler("innocent")
    app = with_handler(app, TYPE, handler)

    with in_a_thread(app.drain().step):
        assert handler.stopped.wait(20)
        read_before(connection, send(app, TYPE, {"orderId": "suspect"}), 4)
        stopped = app.drain()
        stopped.stopping = lambda: True
        assert stopped.step() is None
        handler.go_on.set()

    assert [4] == [message.read_ct for message in messages(app)]
    assert Tally(done=1) == app.drain().step()


@pytest.mark.parametrize("limit", [2, 3, 5])
def test_only_a_message_that_crashed_alone_is_dead_lettered(
    open_app: OpenApp, connection: Connection, limit: int
) -> None:
    """L5: whatever the crash limit, the last read before it begins a single message."""
    app = open_app(retry__crash_limit=limit)
    for number in range(20):
        read_before(connection, send(app, TYPE, {"orderId": f"c{number}"}), limit - 1)
    handler = Handler("none")

    assert Tally(done=1) == with_handler(app, TYPE, handler).drain().step()
    assert 1 == len(handler.begun)
    assert [limit - 1] * 19 == [message.read_ct for message in messages(app)]


def test_a_suspect_is_alone_beside_a_message_that_crashed_too_often(
    app: App, connection: Connection
) -> None:
    """L5: a message that is only dead-lettered does not bring the fresh ones in."""
    for key, times in (("dead", 5), ("fresh", 0), ("suspect", 4)):
        read_before(connection, send(app, TYPE, {"orderId": key}), times)
    handler = Handler("none")

    assert Tally(done=1, dead=1) == with_handler(app, TYPE, handler).drain().step()
    assert ["suspect"] == handler.begun
    assert ["dead"] == [letter.key for letter in dead_letters(app)]


def test_a_suspected_notice_is_not_called_for_beside_calls_in_flight(
    app: App, connection: Connection
) -> None:
    """L5: the outbound worker fetches while it calls, but no suspects."""
    send(app, NOTICE, {"recipientPhone": "081234567890", "message": "Halo"}, queue=OUTBOUND)
    called, beside = list[str](), list[bool]()
    read, called_both = Event(), Event()
    real = app.queues.read

    def observed(*arguments: Any, **options: Any) -> tuple[list[Message], list[Message]]:
        found = real(*arguments, **options)
        if any(message.crashes for message in found[0]):
            read.set()
        return found

    def answer(delivery: Any, call: Callable[[Any], Any]) -> Any:
        called.append(delivery.phone)
        if len(called) == 1:
            suspect = {"recipientPhone": "081234567891", "message": "Halo"}
            read_before(connection, send(app, NOTICE, suspect, queue=OUTBOUND), 4, OUTBOUND)
            assert read.wait(20)
            beside.append(called_both.wait(1))
        called_both.set()
        return call(delivery)

    app.queues.read = observed  # type: ignore[method-assign]
    caller = with_call(app, NOTICE, answer)
    vars(caller)["queues"] = app.queues
    caller.outbound().step()

    assert ["081234567890", "081234567891"] == called
    assert [False] == beside


def test_the_poison_message_alone_is_dead_lettered_with_two_drainers(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: whenever it ends the process, all that was under way there counts a crash."""
    orders = [shop.order(age=HOUR) for _ in range(6)]
    for order in orders:
        send(app, TYPE, {"orderId": order})
    poison, under_way = orders[2], list[str]()
    handler = app.catalog.jobs[TYPE].handler

    def crash(batch: Batch[Any]) -> None:
        if poison in batch.keys:
            under_way.extend(batch.keys)
            other = app.drain()
            with in_a_thread(other.step) as results:  # what another drainer begins meanwhile
                pass
            under_way.extend(["others"] if results != [None] else [])
            raise KeyboardInterrupt
        handler(batch)  # type: ignore[operator]

    app = with_handler(app, TYPE, crash)
    ends = list[int]()
    for _ in range(20):
        under_way.clear()
        try:
            if app.drain().step() is None:
                break
        except KeyboardInterrupt:
            ends.append(len(under_way))
            connection.execute(text(f"update pgmq.q_{QUEUE} set vt = clock_timestamp()"))

    assert 1 == ends[-1]
    assert [poison] == [letter.key for letter in dead_letters(app)]
    assert 5 == [shop.status(order) for order in orders].count("cancelled")


@pytest.mark.parametrize(("reads", "outcome"), [(4, "done"), (5, "dead")])
def test_a_read_by_others_counts_as_a_crash(
    app: App, shop: Shop, connection: Connection, reads: int, outcome: str
) -> None:
    """See docs/decisions.md: nothing in a message says who has read it."""
    send(app, TYPE, {"orderId": shop.order(age=HOUR)})
    for _ in range(reads):
        connection.execute(text(f"select pgmq.read('{QUEUE}', 0, 1)"))

    assert Tally(**{outcome: 1}) == app.drain().step()
