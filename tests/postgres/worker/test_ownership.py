"""L1, L8: who deletes a message owns it; a worker that comes too late changes nothing."""

from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Batch, Tally
from sweeper.errors import ClockSkewedError
from sweeper.job import Job, Lane, Message
from sweeper.postgres import clock
from tests.support.verbs import (
    HIGH,
    HOUR,
    LOW,
    OUTBOUND,
    QUEUE,
    SECOND,
    OpenApp,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    send,
    send_raw,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"


def overtaken(app: App) -> Sequence[Message]:
    """Read every message with a lease that has run out, and let another worker do the work."""
    found = app.fetcher.read(app.queues.database, lease=SECOND, quantity=10)
    make_visible(app)
    assert app.drain().step() is not None
    return found


def test_a_message_that_another_worker_moved_is_not_moved_again(app: App) -> None:
    """L1: otherwise the notice would be sent twice."""
    send(app, NOTICE, {"recipientPhone": "081234567890", "message": "Halo"})
    found = overtaken(app)

    assert Tally() == app.fetcher.sort(found, Lane.DATABASE, clock.now()).tally
    assert 1 == len(messages(app, OUTBOUND))


def test_a_message_that_another_worker_split_is_not_split_again(app: App) -> None:
    """L1: otherwise there would be two jobs for each order."""
    send(app, TYPE, {"orderIds": ["c1", "c2"]})
    found = overtaken(app)

    assert Tally() == app.fetcher.sort(found, Lane.DATABASE, clock.now()).tally
    assert 2 == len(messages(app))


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_a_message_that_another_worker_dead_lettered_is_not_dead_lettered_again(
    app: App, connection: Connection, size: int
) -> None:
    """L8: otherwise its job would end twice, also where its body is too large to be loaded."""
    send_raw(app, f'"{"x" * size}"')
    found = overtaken(app)

    assert Tally() == app.fetcher.sort(found, Lane.DATABASE, clock.now()).tally
    assert 1 == len(dead_letters(app))
    assert 1 == len(job_outcomes(connection))


def test_only_the_messages_that_are_left_are_dead_lettered(
    app: App, connection: Connection
) -> None:
    """L8: another worker owns the first of two."""
    send_raw(app, "1")
    found = list(overtaken(app))
    send_raw(app, "2")
    found += app.fetcher.read(app.queues.database, lease=HOUR, quantity=10)

    assert Tally(dead=1) == app.fetcher.sort(found, Lane.DATABASE, clock.now()).tally
    assert ["1", "2"] == [letter.body for letter in dead_letters(app)]
    assert 2 == len(job_outcomes(connection))


@pytest.mark.parametrize("retries", [0, 3])
def test_a_failure_of_a_job_that_another_worker_completed_changes_nothing(
    app: App, shop: Shop, connection: Connection, retries: int
) -> None:
    """L1, L8: neither a retry nor a dead letter follows upon a job that is done."""
    order = shop.order(age=HOUR)
    send(app, TYPE, {"orderId": order}, maxRetries=retries)
    (job,) = app.fetcher.sort(overtaken(app), Lane.DATABASE, shop.now).jobs

    assert Tally() == app.completer.fail(job, ValueError("too late"), shop.now)
    assert [] == messages(app)
    assert [] == dead_letters(app)
    assert [(TYPE, order, "done", None)] == job_outcomes(connection)


@pytest.mark.usefixtures("frozen")
def test_messages_that_were_read_with_a_skewed_clock_are_given_back(open_app: OpenApp) -> None:
    """L4, L5: a wrong clock costs a short delay, and no crash."""
    app = open_app(safety__max_clock_skew="5s")
    for number in range(2):
        send(app, TYPE, {"orderId": f"c{number}"})

    for _ in range(7):  # more often than the crash limit
        with pytest.raises(ClockSkewedError):
            app.drain().step()
        assert [0, 0] == [message.read_ct for message in messages(app)]
        assert all(SECOND / 2 < message.delay <= SECOND for message in messages(app))
        make_visible(app)

    assert [] == dead_letters(app)


@pytest.mark.parametrize("queue", [HIGH, QUEUE, LOW])
@pytest.mark.parametrize("outcome", ["postponed", "retried"])
def test_a_job_that_runs_again_stays_in_its_own_queue(app: App, queue: str, outcome: str) -> None:
    """L6: it keeps the priority that its sender gave it, whatever its type's own is."""
    send(app, TYPE, {"orderId": "c1"}, queue=queue)
    send(app, TYPE, {"orderId": "c2"}, queue=queue)

    def handler(batch: Batch[Any]) -> None:
        if outcome == "retried":
            raise ValueError
        for job in batch.jobs:
            batch.postpone(job, "not now")

    assert Tally(**{outcome: 2}) == drain(with_handler(app, TYPE, handler))
    assert {queue: 2} == {
        each: len(messages(app, each)) for each in app.queues.live if messages(app, each)
    }


@pytest.mark.parametrize("queue", [HIGH, LOW])
def test_a_job_that_meets_the_databases_trouble_stays_in_its_own_queue(
    app: App, queue: str
) -> None:
    """L6: given back, not sent anew."""
    msg_id = send(app, TYPE, {"orderId": "c1"}, queue=queue)
    found = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    jobs: list[Job[Any]] = app.fetcher.sort(found, Lane.DATABASE, clock.now()).jobs

    app.completer.postpone(jobs, ConnectionError("lost"))

    assert [msg_id] == [message.msg_id for message in messages(app, queue)]
