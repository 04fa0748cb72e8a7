"""Messages that claim to be of a sweep: the audit attributes none to it that its row does not."""

import json
import uuid

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.audit import Balance
from tests.support.verbs import HOUR, QUEUE, Run, drain, make_visible, rows, scan, send, sweep

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "ORDER_EXPIRE_DP"


def forge(app: App, order: str, sweep_id: str, kind: str = TYPE) -> int:
    """Send a message that claims to be of a sweep, as whoever may insert messages can."""
    return send(app, kind, {"orderId": order}, sweepId=sweep_id)


def last_sweep(connection: Connection) -> str:
    return str(rows(connection, "sweeper.sweep", order_by="at")[-1]["id"])


def foreign(balance: Balance) -> list[tuple[str | None, str]]:
    return [(one.key, one.problem) for one in balance.foreign]


def test_a_forged_message_for_a_job_that_ended_is_no_gap(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L8: the job ended once, whatever else names its sweep, before and after it is read."""
    order = shop.order(age=HOUR)
    sweep(app, "expire_dp")
    forge(app, order, last_sweep(connection))

    waiting = app.auditor.audit()
    drain(app)
    ended = app.auditor.audit()

    assert (waiting.gaps, ended.gaps) == ((), ())
    what = "the job ended 1 times, and 1 messages of it wait: copies, or forged"
    assert (foreign(waiting), waiting.waiting) == ([(order, what)], 0)
    assert [key for key, _ in foreign(ended)] == [order]


def test_a_forged_message_that_died_is_no_gap(app: App, shop: Shop, connection: Connection) -> None:
    """Its dead letter is told by itself."""
    order = shop.order(age=HOUR)
    sweep(app, "expire_dp")
    forge(app, order, last_sweep(connection))
    connection.execute(text(f"update pgmq.q_{QUEUE} set read_ct = 9"))
    drain(app)

    balance = app.auditor.audit()

    assert (balance.gaps, [key for key, _ in foreign(balance)]) == ((), [order])


@pytest.mark.parametrize("kind", [TYPE, "ORDER_AUTO_REFUND", "STOCK_RELEASE"])
def test_messages_that_no_sweep_sent_are_foreign(
    app: App, shop: Shop, connection: Connection, kind: str
) -> None:
    """The sweep does not exist, or its row does not name the key, or not the type."""
    order = shop.order(age=HOUR)
    scan(app)
    forge(app, "another", last_sweep(connection), kind)
    forge(app, order, str(uuid.uuid4()), kind)
    forge(app, order, "no id", kind)

    balance = app.auditor.audit()

    assert (balance.jobs, balance.waiting, balance.gaps) == (1, 1, ())
    assert [what for _, what in foreign(balance)] == [
        f"a {kind} that this sweep did not send waits"
    ] * len(foreign(balance))
    assert {one.sweep_id for one in balance.foreign} >= {last_sweep(connection), "no id"}
    assert len(foreign(balance)) == 3


def test_a_lost_job_is_a_gap_beside_foreign_messages(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2: a message with the id of another sweep does not stand for it."""
    order = shop.order(age=HOUR)
    scan(app)
    connection.execute(text(f"delete from pgmq.q_{QUEUE}"))
    forge(app, order, str(uuid.uuid4()))

    balance = app.auditor.audit()

    assert [gap.key for gap in balance.gaps] == [order]
    assert [key for key, _ in foreign(balance)] == [order]


def test_a_job_that_was_done_twice_is_still_a_gap(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: two effects are never excused as a copy."""
    order = shop.order(age=HOUR)
    sweep(app, "expire_dp")
    connection.execute(text("update \"Order\" set status = 'pending_dp'"))
    forge(app, order, last_sweep(connection))
    drain(app)

    assert [gap.problem for gap in app.auditor.audit().gaps] == [
        "the job ended 2 times, and 0 messages of it wait"
    ]


def test_foreign_messages_are_counted_and_the_first_are_named(app: App) -> None:
    for number in range(120):
        forge(app, f"o{number}", "no id")

    balance = app.auditor.audit()

    assert (balance.foreign_count, len(balance.foreign)) == (120, 100)


def test_the_audit_tells_hidden_and_foreign_messages(app: App, shop: Shop, run: Run) -> None:
    """They are findings, and no gaps: the ledger balances, and the exit code is 0."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    forge(app, "another", "no \x1b id")
    with app.database.transaction() as tx:
        (hidden,) = app.queues.send(tx, QUEUE, [{"type": TYPE}], 1_000 * HOUR)

    code, out, _ = run("audit")
    found = json.loads(run("audit", "--json")[1])

    assert (code, "no job lost or done twice" in out) == (0, True)
    assert f"1 messages are hidden ({QUEUE} {hidden})" in out
    assert "1 messages name a sweep that did not send them" in out
    assert found["hidden"] == {"count": 1, "messages": {QUEUE: [hidden]}}
    assert found["foreign_count"] == 1


def test_foreign_messages_are_no_lost_jobs_in_the_log(
    app: App, shop: Shop, connection: Connection, run: Run
) -> None:
    """An alarm on `job.lost` is not raised by whoever may insert messages."""
    order = shop.order(age=HOUR)
    sweep(app, "expire_dp")
    forge(app, order, last_sweep(connection))
    make_visible(app)

    with capture_logs() as lines:
        assert run("audit")[0] == 0

    assert not [line for line in lines if line["event"] == "job.lost"]
