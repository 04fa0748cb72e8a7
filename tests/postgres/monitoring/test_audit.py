"""L8: the ledger balances, or the audit reports each gap."""

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.audit import Balance
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import HOUR, OpenApp, broken, drain, make_visible, scan, sweep

pytestmark = pytest.mark.usefixtures("frozen")


def problems(balance: Balance) -> list[tuple[str | None, str]]:
    """Return the key and the problem of each gap."""
    return [(gap.key, gap.problem) for gap in balance.gaps]


def test_an_empty_ledger_balances(app: App) -> None:
    assert Balance(sweeps=0, jobs=0, waiting=0, gaps=()) == app.auditor.audit()


def test_waiting_jobs_have_not_ended_yet(app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    scan(app)

    assert Balance(sweeps=1, jobs=1, waiting=1, gaps=()) == app.auditor.audit()


def test_done_and_skipped_jobs_have_ended_once(app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    paid = shop.order(age=HOUR)
    scan(app)
    shop._connection.execute(
        text('update "Order" set status = :status where id = :id'),
        {"status": "awaiting_validation", "id": paid},
    )
    drain(app)

    assert Balance(sweeps=1, jobs=2, waiting=0, gaps=()) == app.auditor.audit()


def test_a_job_that_is_retried_dead_lettered_and_revived_ends_once(
    open_app: OpenApp, shop: Shop
) -> None:
    """After each step, the job either waits in a queue or has ended once."""
    app = open_app(retry__max_retries=1)
    shop.order(age=HOUR)
    balances = []
    with broken(app, "Order"):
        sweep(app)
        balances.append(app.auditor.audit())
        make_visible(app)
        drain(app)
        balances.append(app.auditor.audit())
    app.dead_letter_queue.retry(DeadLetterFilter())
    balances.append(app.auditor.audit())
    drain(app)
    balances.append(app.auditor.audit())

    assert [(1, ()), (0, ()), (1, ()), (0, ())] == [(b.waiting, b.gaps) for b in balances]


def test_a_dropped_dead_letter_has_ended_and_its_order_is_found_again(
    open_app: OpenApp, shop: Shop
) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)
    before = scan(app)
    app.dead_letter_queue.drop(DeadLetterFilter())
    after = sweep(app, "expire_dp")

    assert (1, 0) == (before.dead, before.enqueued)
    assert (0, 1) == (after.rules["expire_dp"].dead, after.rules["expire_dp"].enqueued)
    assert "cancelled" == shop.status(order)
    assert () == app.auditor.audit().gaps


def test_a_lost_message_is_reported(app: App, shop: Shop, connection: Connection) -> None:
    """L2: every job that was enqueued is queued, done or dead."""
    order = shop.order(age=HOUR)
    scan(app)
    connection.execute(text("delete from pgmq.q_jastipin_jobs"))

    lost = (order, "the job is neither in a queue nor in the ledger: it is lost")
    assert [lost] == problems(app.auditor.audit())


def test_a_job_that_ended_twice_is_reported(app: App, shop: Shop, connection: Connection) -> None:
    order = shop.order(age=HOUR)
    sweep(app, "expire_dp")
    connection.execute(
        text(
            "insert into sweeper.job_log (job_type, key, msg_id, sweep_id, outcome, attempt, at)"
            " select job_type, key, msg_id, sweep_id, outcome, attempt, at from sweeper.job_log"
            " where job_type = 'ORDER_EXPIRE_DP'"
        )
    )

    assert [(order, "the job ended 2 times, and 0 messages of it wait")] == problems(
        app.auditor.audit()
    )


def test_counts_that_do_not_add_up_are_reported(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L8: found = enqueued + already queued + dead + braked."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    connection.execute(text("update sweeper.sweep set found = 7"))

    problem = "found 7, but 1 enqueued, 0 already queued, 0 dead, 0 braked, 1 keys"
    assert [(None, problem)] == problems(app.auditor.audit())
