"""L5: messages that were read and not begun are given back, whatever happens meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.job import Message
from sweeper.queue.pgmq import Queues
from sweeper.worker.drain import Drain
from sweeper.worker.fetcher import Fetcher
from tests.support.verbs import (
    HOUR,
    MINUTE,
    OUTBOUND,
    QUEUE,
    SECOND,
    OpenApp,
    messages,
    scan,
    send,
)

NOTICE = "NOTIFICATION_SEND_WHATSAPP"


def due(app: App, shop: Shop, count: int) -> None:
    """Add orders that are due, and a message for each."""
    for _ in range(count):
        shop.order(age=HOUR)
    scan(app)


def test_a_give_back_whose_reply_was_lost_is_not_repeated(
    open_app: OpenApp, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L1: another worker has read the message since, and holds it."""
    app, other = open_app(), open_app()
    due(app, shop, 1)
    found = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    transaction = app.database.transaction
    lost = DBAPIError("commit", None, ConnectionError(), connection_invalidated=True)

    @contextmanager
    def deaf() -> Iterator[Connection]:
        with transaction() as tx:
            yield tx
        raise lost

    with monkeypatch.context() as patch:
        patch.setattr(app.database, "transaction", deaf)
        with pytest.raises(DBAPIError):
            app.give_back.give_back(found)
    (held,) = other.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    app.give_back.retry()

    (left,) = messages(app)
    assert held.read_ct == left.read_ct
    assert left.delay > MINUTE
    other.give_back.give_back([held])
    assert [(0, True)] == [(one.read_ct, one.delay < SECOND) for one in messages(app)]


def test_two_threads_may_give_back_at_once(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: what both had to give back is given back once, and neither of them fails."""
    due(app, shop, 2)
    first, second = app.fetcher.read(app.queues.database, lease=HOUR, quantity=2)
    slow, go_on = Event(), Event()
    failures: list[Exception] = []
    postpone = Queues.postpone

    def stop_at_the_first(
        queues: Queues, tx: Connection, held: Sequence[Message], delay: timedelta
    ) -> None:
        if first in held and not slow.is_set():
            slow.set()
            assert go_on.wait(10)
        postpone(queues, tx, held, delay)

    def give_back_the_first() -> None:
        try:
            app.give_back.give_back([first])
        except Exception as error:  # noqa: BLE001 -- the test looks at it
            failures.append(error)

    monkeypatch.setattr(Queues, "postpone", stop_at_the_first)
    thread = Thread(target=give_back_the_first)
    thread.start()
    assert slow.wait(10)
    app.give_back.give_back([second])
    go_on.set()
    thread.join()

    assert [] == failures
    assert [0, 0] == [message.read_ct for message in messages(app)]
    assert all(message.delay <= timedelta() for message in messages(app))


def test_a_message_that_is_given_back_late_keeps_its_own_delay(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(app, shop, 2)
    late, other = app.fetcher.read(app.queues.database, lease=HOUR, quantity=2)
    with monkeypatch.context() as outage:
        outage.setattr(Queues, "postpone", out_of_order)
        with pytest.raises(RuntimeError):
            app.give_back.give_back([late], MINUTE)

    app.give_back.give_back([other], 2 * SECOND)

    delays = {message.msg_id: message.delay for message in messages(app)}
    assert 2 * SECOND < delays[late.msg_id] <= MINUTE
    assert timedelta() < delays[other.msg_id] <= 2 * SECOND


def test_what_could_not_be_given_back_keeps_its_delay_after_the_error(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: the worker that ends with the error gives all that it holds back, without a delay."""
    due(app, shop, 1)
    (held,) = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    with monkeypatch.context() as outage:
        outage.setattr(Queues, "postpone", out_of_order)
        with pytest.raises(RuntimeError):
            app.give_back.give_back([held], MINUTE)

    app.give_back.after_error([held])

    assert [True] == [SECOND < message.delay <= MINUTE for message in messages(app)]


def test_what_was_given_back_is_not_given_back_again(app: App, shop: Shop) -> None:
    """L1: when it is read anew it looks the same, and whoever has read it may be at work on it."""
    due(app, shop, 1)
    held = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    app.give_back.give_back(held)
    app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)

    app.give_back.retry()

    assert [(1, True)] == [(message.read_ct, message.delay > MINUTE) for message in messages(app)]


@pytest.mark.parametrize(("part", "name"), [(Fetcher, "sort"), (Drain, "_attempt")])
def test_any_error_of_a_drainer_gives_back_what_is_left(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch, *, part: Any, name: str
) -> None:
    """L5: an error that nobody foresaw is no crash of the messages that were not begun."""
    due(app, shop, 3)
    with monkeypatch.context() as patch:
        patch.setattr(part, name, out_of_order)
        patch.setattr(Drain, "_give_up", out_of_order)
        with pytest.raises(RuntimeError):
            app.drain().step()

    assert [0, 0, 0] == [message.read_ct for message in messages(app)]


@pytest.mark.parametrize("name", ["sort", "begin"])
def test_any_error_of_the_outbound_worker_gives_back_what_has_no_call(
    app: App, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """L5: as with a drainer; what is called for is recorded later."""
    for phone in ("081234567890", "081234567891"):
        send(app, NOTICE, {"recipientPhone": phone, "message": "Halo"}, queue=OUTBOUND)
    with monkeypatch.context() as patch:
        if name == "sort":
            patch.setattr(Fetcher, "sort", out_of_order)
        else:
            patch.setattr("sweeper.outbound.in_flight.InFlight.begin", out_of_order)
        with pytest.raises(RuntimeError):
            app.outbound().step()

    assert [0, 0] == [message.read_ct for message in messages(app, OUTBOUND)]


@pytest.mark.parametrize("limit", [{}, {"READ_BYTES": 1}])
def test_a_read_that_cannot_give_some_back_gives_all_back(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    """L5: the database's trouble after the read is no crash of what it was to begin."""
    due(app, shop, 2)
    first, _ = messages(app)
    with app.database.transaction() as tx:
        table = app.queues.tables[QUEUE]
        tx.execute(table.update().values(read_ct=1).where(table.c.msg_id == first.msg_id))
    with monkeypatch.context() as outage:
        for name, bytes_ in limit.items():
            outage.setattr(f"sweeper.queue.pgmq.{name}", bytes_)
        outage.setattr(Queues, "postpone", out_of_order)
        with pytest.raises(RuntimeError):
            app.fetcher.read([QUEUE], lease=HOUR, quantity=2)

    app.give_back.retry()

    assert [1, 0] == [message.read_ct for message in messages(app)]
    assert all(message.delay <= timedelta() for message in messages(app))


def test_an_error_while_giving_back_after_an_error_does_not_hide_it(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L5: the messages are remembered, and given back before the next read."""
    due(app, shop, 1)
    with monkeypatch.context() as patch, capture_logs():
        patch.setattr(Fetcher, "sort", out_of_order)
        patch.setattr(Queues, "postpone", also_out_of_order)
        with pytest.raises(RuntimeError, match="out of order"):
            app.drain().step()
    app.give_back.retry()

    assert [0] == [message.read_ct for message in messages(app)]


def out_of_order(*_: Any, **__: Any) -> None:
    """Raise an error."""
    message = "out of order"
    raise RuntimeError(message)


def also_out_of_order(*_: Any, **__: Any) -> None:
    """Raise another error."""
    message = "a lock"
    raise RuntimeError(message)
