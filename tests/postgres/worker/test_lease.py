"""L1, L5: leases are renewed, a lost lease is logged, and unstarted messages are given back."""

from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Batch, Tally
from sweeper.job import Lane
from sweeper.ledger import Trigger
from sweeper.sweep.scan import ScanOptions
from sweeper.worker.lease import Lease
from tests.support.verbs import (
    HOUR,
    SECOND,
    Connect,
    OpenApp,
    drain,
    job_outcomes,
    make_visible,
    messages,
    scan,
    send,
    sweep,
    wait_for_a_blocked_session,
    with_handler,
)


def test_two_workers_with_the_same_message_have_one_effect(app: App, shop: Shop) -> None:
    """L1: the visibility timeout ends between read and work, and another worker reads it too."""
    product = shop.product(stock=1)
    order = shop.order(age=HOUR, items=[(product, 1)])
    scan(app)
    slow, quick = app.fetcher, app.fetcher
    messages_read = slow.read(app.queues.database, lease=SECOND, quantity=10)
    make_visible(app)
    worked = app.drain().step()
    (job,) = quick.sort(messages_read, Lane.DATABASE, shop.now).jobs

    with capture_logs() as lines:
        late = app.drain()._attempt([job], shop.now, SECOND)

    assert (Tally(done=1), Tally()) == (worked, late)
    assert [[order]] == [line["keys"] for line in lines if line["event"] == "lease.lost"]
    assert 2 == shop.stock(product)


def test_a_lease_that_runs_out_during_the_work_has_no_second_effect(
    open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L1: the second worker waits for the first one's uncommitted deletion and finds none."""
    product = shop.product(stock=1)
    shop.order(age=HOUR, items=[(product, 1)])
    app = open_app(database__lock_timeout="20s")
    scan(app)
    buyer = connect()
    buyer.execute(text('select from "Product" for update'))
    first = Thread(target=drain, args=[app])
    first.start()
    wait_for_a_blocked_session(connection)  # it has deleted the message, and waits for the product
    assert 1 == len(messages(app))  # its deletion is not committed
    buyer.commit()
    first.join()

    assert Tally() == drain(app)
    assert 2 == shop.stock(product)


def test_waiting_messages_are_renewed_and_messages_being_completed_are_not(
    app: App, shop: Shop
) -> None:
    for _ in range(2):
        shop.order(age=HOUR)
    scan(app)
    waiting, busy = app.fetcher.read(app.queues.database, lease=SECOND, quantity=2)

    length = timedelta(seconds=3)
    with (
        Lease(app.database, app.queues, length, [waiting, busy]) as lease,
        lease.settling([busy]),
    ):
        for _ in range(300):
            renewed = {m.msg_id for m in messages(app) if m.delay > 2 * SECOND}
            if renewed:
                break
            Event().wait(0.01)

    assert {waiting.msg_id} == renewed
    assert [waiting] == lease.left


def test_a_failed_renewal_is_logged_and_the_work_continues(app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    scan(app)
    held = app.fetcher.read(app.queues.database, lease=SECOND, quantity=1)
    app.queues.renew = broken_renewal  # type: ignore[method-assign]

    with capture_logs() as lines, Lease(app.database, app.queues, SECOND / 20, held):
        for _ in range(100):
            if lines:
                break
            Event().wait(0.01)

    assert "lease.not_renewed" == lines[0]["event"]


def broken_renewal(*_: Any, **__: Any) -> None:
    """Raise an error."""
    message = "out of order"
    raise RuntimeError(message)


def test_a_stop_gives_back_jobs_that_were_not_started(app: App, shop: Shop) -> None:
    """L5: a deploy costs no attempt and no crash, and the other jobs are visible at once."""
    order = shop.order(age=HOUR)
    scan(app, "expire_dp")
    send(app, "STOCK_RELEASE", {"orderId": order, "shouldRefund": True})
    worker = app.drain()
    worker.stopping = lambda: shop.status(order) == "cancelled"

    tally = worker.step()

    assert Tally(done=1) == tally
    (left,) = messages(app)
    assert ("STOCK_RELEASE", 0) == (left.body["type"], left.read_ct)
    assert left.delay <= timedelta()


def test_a_lost_connection_gives_back_the_batch_without_counting_it(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: a lost connection costs a short delay, no attempt and no crash."""

    def disconnect(batch: Batch[Any]) -> None:
        pid = batch.tx.execute(text("select pg_backend_pid()")).scalar_one()
        connection.execute(text("select pg_terminate_backend(:pid)"), {"pid": pid})
        batch.tx.execute(text("select 1"))

    shop.order(age=HOUR)
    scan(app)
    with pytest.raises(Exception, match=r"terminat|closed|lost"):
        with_handler(app, "ORDER_EXPIRE_DP", disconnect).drain().step()

    (left,) = messages(app)
    assert (0, 0) == (left.read_ct, left.body["retryCount"])
    assert Tally(done=1) == app.drain().step()


def test_messages_not_given_back_in_an_outage_are_given_back_before_the_next_read(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.order(age=HOUR)
    scan(app)
    held = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    with monkeypatch.context() as outage:
        outage.setattr(app.queues, "postpone", broken_renewal)
        with pytest.raises(RuntimeError):
            app.give_back.give_back(held)

    assert Tally(done=1) == app.drain().step()


def test_all_machines_together_scan_once_per_slot(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    """A second machine does not scan a slot that was scanned already, but scans the next one."""
    shop.order(age=HOUR)
    first_machine, second_machine = open_app(), open_app()
    rule = first_machine.catalog.rule("expire_dp")
    slot = ScanOptions(
        "9f8f7a5e-0000-4000-8000-000000000001", Trigger.SCHEDULE, 10, every=24 * HOUR
    )
    repeated = ScanOptions(
        "9f8f7a5e-0000-4000-8000-000000000002", Trigger.SCHEDULE, 10, every=24 * HOUR
    )

    first, second = (
        first_machine.scanner.scan(rule, slot),
        second_machine.scanner.scan(rule, repeated),
    )
    connection.execute(text("update sweeper.sweep set at = at - interval '24 hours'"))
    third = second_machine.scanner.scan(rule, repeated)

    assert (1, None, 0) == (first and first.enqueued, second, third and third.enqueued)


def test_a_person_may_scan_a_slot_again(app: App, shop: Shop) -> None:
    sweep(app)
    order = shop.order(age=HOUR)
    sweep(app)

    assert "cancelled" == shop.status(order)


class Killed(BaseException):
    """Ends a worker without a chance to clean up."""


def test_a_poison_message_does_not_affect_the_messages_beside_it(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L5: after five crashes it is dead-lettered as `crashed`; the other orders are done."""
    orders = [shop.order(age=HOUR) for _ in range(40)]
    poison = orders[17]
    handler = app.catalog.jobs["ORDER_EXPIRE_DP"].handler

    def crash_on_poison(batch: Batch[Any]) -> None:
        if poison in batch.keys:
            raise Killed
        handler(batch)  # type: ignore[operator]

    scan(app)
    worker = with_handler(app, "ORDER_EXPIRE_DP", crash_on_poison).drain()
    crashes = 0
    for _ in range(100):
        try:
            if worker.step() is None:
                break
        except Killed:
            crashes += 1
            make_visible(app)

    ends = [end for end in job_outcomes(connection) if end[2] == "dead"]
    assert [("ORDER_EXPIRE_DP", poison, "dead", "crashed")] == ends
    assert 5 == crashes
    assert 39 == [shop.status(order) for order in orders].count("cancelled")


def test_a_lease_is_overdue_while_a_transaction_keeps_it_from_being_renewed(
    app: App, shop: Shop
) -> None:
    """L5: messages that wait are renewed, and those of the open transaction are not."""
    for _ in range(2):
        shop.order(age=HOUR)
    scan(app)
    fetcher = app.fetcher
    first, second = fetcher.read(app.queues.database, lease=SECOND, quantity=2)

    with fetcher.lease([first, second], SECOND) as lease:
        Event().wait(0.7)
        assert not fetcher.leases.are_overdue
        with lease.settling([first]):
            Event().wait(0.7)
            assert fetcher.leases.are_overdue
        assert [second] == lease.left
        assert not fetcher.leases.are_overdue
