"""From the old worker to this one: both on one queue, each with the other's messages, and back.

What the old worker writes and how it reads stands in tests.walk.old_worker.py; what an operator
does meanwhile, in docs/how-to/change-over.md.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import (
    DAY,
    HIGH,
    HOUR,
    LOW,
    OUTBOUND,
    QUEUE,
    Connect,
    OpenApp,
    Run,
    broken,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    rows,
    scan,
    sweep,
)
from tests.walk.old_worker import OldJob, OldWorker, put, understood, written

pytestmark = pytest.mark.usefixtures("frozen")

EXPIRE, REFUND, RELEASE = "ORDER_EXPIRE_DP", "ORDER_AUTO_REFUND", "STOCK_RELEASE"
NOTICE = "NOTIFICATION_SEND_WHATSAPP"

# The fields beside type and payload, as the old worker left them at one time or another.
FIELDS: dict[str, dict[str, Any]] = {
    "new": {},
    "retried": {"retryCount": 2, "lastError": "P2034: deadlock"},
    "its last try": {"retryCount": 3, "lastError": "P2034: deadlock"},
    "numbers as texts": {"retryCount": "1", "maxRetries": "3"},
    "no counts": {"retryCount": ..., "maxRetries": ...},
    "counts of other types": {"retryCount": None, "maxRetries": [3]},
    "no date": {"createdAt": ...},
    "with fields of ours": {"sweepId": "s-1", "postponed": 1, "timedOut": 1},
    "with fields of nobody's": {"priority": "high", "traceId": "t-1"},
}
SHAPES: dict[str, Callable[[str, str, dict[str, Any]], Any]] = {
    "an id": lambda kind, order, fields: written(kind, {"orderId": order}, **fields),
    "a list": lambda kind, order, fields: written(kind, {"orderIds": [order]}, **fields),
    "a text": lambda kind, order, fields: json.dumps(written(kind, {"orderId": order}, **fields)),
}


@pytest.fixture
def old(app: App, connection: Connection) -> OldWorker:
    """Return the old worker, on the same database."""
    return OldWorker(app, connection)


def unpaid(shop: Shop) -> str:
    return shop.order(age=HOUR)


def unanswered(shop: Shop) -> str:
    return shop.order(status="awaiting_validation", age=2 * DAY, paid_ago=DAY)


# The old worker's messages.


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(
    ("kind", "due", "ended"),
    [(EXPIRE, unpaid, "cancelled"), (REFUND, unanswered, "rejected")],
    ids=[EXPIRE, REFUND],
)
def test_an_order_s_message_of_the_old_worker_is_done(  # noqa: PLR0917 -- pytest names them
    app: App,
    shop: Shop,
    kind: str,
    due: Callable[[Shop], str],
    ended: str,
    shape: Callable[[str, str, dict[str, Any]], Any],
    fields: dict[str, Any],
) -> None:
    """L2: in each of its shapes, whatever fields stand beside them."""
    order = due(shop)
    put(app, shape(kind, order, fields))

    app.drain().step()

    assert ended == shop.status(order)
    assert ([], []) == (messages(app), dead_letters(app))


def test_a_message_for_many_orders_ends_those_that_are_due(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L3: one that was paid meanwhile, and one that is gone, are left alone."""
    orders = [unpaid(shop), shop.order(age=HOUR, paid_ago=HOUR), unpaid(shop)]
    put(app, written(EXPIRE, {"orderIds": [*orders, "gone"]}))

    drain(app)

    assert ["cancelled", "pending_dp", "cancelled"] == [shop.status(order) for order in orders]
    outcomes = {
        key: outcome for kind, key, outcome, _ in job_outcomes(connection) if kind == EXPIRE
    }
    assert dict(zip([*orders, "gone"], ["done", "skipped", "done", "skipped"], strict=True)) == (
        outcomes
    )


@pytest.mark.parametrize(
    ("payload", "given_back"),
    [
        (lambda order, _: {"orderId": order, "shouldRefund": True}, 2),
        (lambda order, _: {"orderId": order, "shouldRefund": False}, 0),
        (lambda order, _: {"orderId": order}, 0),
        (lambda _, product: {"productId": product, "quantity": 3}, 3),
    ],
    ids=["should refund", "should not", "does not say", "a product"],
)
def test_a_stock_message_of_the_old_worker_is_done_once(
    app: App, shop: Shop, payload: Callable[[str, str], dict[str, Any]], given_back: int
) -> None:
    """L1: also where the old worker, or its restart, sent it twice for an order."""
    product = shop.product(stock=5)
    order = shop.order(status="cancelled", age=HOUR, items=[(product, 2)])
    put(app, written(RELEASE, payload(order, product), maxRetries=2))
    if "orderId" in payload(order, product):
        put(app, written(RELEASE, payload(order, product), maxRetries=2))

    drain(app)

    assert 5 + given_back == shop.stock(product)
    assert ([], [], []) == (messages(app), messages(app, HIGH), dead_letters(app))


def test_a_notice_that_the_old_worker_could_not_send_is_sent(
    app: App, connection: Connection
) -> None:
    """It knows no WhatsApp; what waits for it is moved to our lane, which nobody else reads."""
    payload = {"recipientPhone": "0812-0001-0001", "message": "Halo", "metadata": {"a": 1}}
    put(app, written(NOTICE, payload))

    drain(app)

    assert ["sent"] == [row["status"] for row in rows(connection, '"NotificationLog"')]
    assert ([], [], []) == (messages(app), messages(app, OUTBOUND), dead_letters(app))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ('{"type": "TRIP_ARCHIVE", "payload": {"tripId": "t"}}', "unknown_type"),
        ('{"type": "ORDER_EXPIRE_DP", "payload": {"order": "c"}}', "invalid"),
        ('{"payload": {"orderId": "c"}}', "invalid"),
        ('[{"type": "ORDER_EXPIRE_DP"}]', "invalid"),
        ('"not JSON"', "invalid"),
        ("7", "invalid"),
        ("null", "invalid"),
    ],
)
def test_a_message_that_is_nobody_s_is_kept_as_it_came(app: App, raw: str, reason: str) -> None:
    """L2: it is dead-lettered at once with its body, so that the old worker can have it again."""
    put(app, json.loads(raw))

    drain(app)

    (letter,) = dead_letters(app)
    assert (reason, json.loads(raw)) == (letter.reason, json.loads(letter.body or ""))
    assert [] == messages(app)


def test_a_queue_that_is_not_ours_is_left_alone(app: App, connection: Connection) -> None:
    connection.execute(text("select pgmq.create('emails')"))
    put(app, written(EXPIRE, {"orderId": "c"}), queue="emails")

    sweep(app)

    assert [(0, "c")] == [
        (message.read_ct, message.body["payload"]["orderId"]) for message in messages(app, "emails")
    ]


# Our messages.


def read_by_the_old_worker(app: App, queue: str = QUEUE) -> list[OldJob]:
    return [understood(message.body) for message in messages(app, queue)]


def test_the_old_worker_can_read_what_a_scan_writes(app: App, shop: Shop) -> None:
    first, second = unpaid(shop), unanswered(shop)

    scan(app)
    scan(app, "auto_refund")

    created = "2026-01-31T12:00:00.000Z"
    assert [
        OldJob(EXPIRE, (first,), 0, 3, created, None),
        OldJob(REFUND, (second,), 0, 3, created, None),
    ] == read_by_the_old_worker(app)


def test_the_old_worker_can_read_what_is_enqueued_by_hand(app: App, run: Run) -> None:
    wanted: list[tuple[str, dict[str, Any], int]] = [
        (EXPIRE, {"orderId": "c"}, 3),
        (REFUND, {"orderId": "c"}, 3),
        (RELEASE, {"orderId": "c", "shouldRefund": True}, 2),
        (RELEASE, {"productId": "p", "quantity": 2}, 2),
    ]
    for kind, payload, _ in wanted:
        assert 0 == run("enqueue", kind, json.dumps(payload), "--priority", "normal")[0]

    assert [(kind, 0, retries) for kind, _, retries in wanted] == [
        (job.type, job.retry_count, job.max_retries) for job in read_by_the_old_worker(app)
    ]
    assert [payload for _, payload, _ in wanted] == [
        message.body["payload"] for message in messages(app)
    ]


def test_the_old_worker_goes_on_counting_where_we_stopped(
    app: App, shop: Shop, old: OldWorker
) -> None:
    """L5: a retry that we sent has our error, one more in the count, and its age."""
    order = unpaid(shop)
    scan(app)
    with broken(app, "Order"):
        drain(app)
    (job,) = read_by_the_old_worker(app)
    assert (1, 3, "2026-01-31T12:00:00.000Z") == (job.retry_count, job.max_retries, job.created_at)
    assert "out of order" in str(job.last_error)

    make_visible(app)
    old.step(fails=True)
    make_visible(app)
    with broken(app, "Order"):
        drain(app)

    (message,) = messages(app)
    assert (3, order) == (message.body["retryCount"], message.body["payload"]["orderId"])
    make_visible(app)
    assert old.step()
    assert [order] == old.ended


def test_the_old_worker_can_read_what_was_split_and_revived(app: App, shop: Shop) -> None:
    orders = [unpaid(shop), unpaid(shop)]
    put(app, written(EXPIRE, {"orderIds": orders}, maxRetries=0))
    with broken(app, "Order"):
        drain(app)
    assert ["exhausted", "exhausted"] == [letter.reason for letter in dead_letters(app)]

    app.dead_letter_queue.retry(DeadLetterFilter())

    assert [((order,), 0) for order in orders] == [
        (job.order_ids, job.retry_count) for job in read_by_the_old_worker(app)
    ]


def test_the_old_worker_can_read_what_was_postponed(app: App, shop: Shop, connect: Connect) -> None:
    """Our own counts in the body are nothing to it."""
    order = unpaid(shop)
    scan(app)
    other = connect()
    other.execute(text('select from "Order" where id = :id for update'), {"id": order})

    drain(app)

    (message,) = messages(app)
    assert {"postponed", "sweepId"} <= message.body.keys()
    assert [((order,), 0)] == [
        (job.order_ids, job.retry_count) for job in read_by_the_old_worker(app)
    ]


# Both at once.


def test_both_workers_share_one_queue_and_end_each_order_once(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    """L1: whoever has a message under its lease, the other does not see it."""
    app = open_app(queue__batch=3)
    old = OldWorker(app, connection)
    orders = [unpaid(shop) for _ in range(20)]
    for order in orders:
        put(app, written(EXPIRE, {"orderId": order}))

    ours = app.drain()
    while old.step():
        ours.step()

    done = [
        key
        for kind, key, outcome, _ in job_outcomes(connection)
        if kind + outcome == f"{EXPIRE}done"
    ]
    assert (5, 15) == (len(old.ended), len(done))
    assert sorted(orders) == sorted([*old.ended, *done])
    assert {"cancelled"} == {shop.status(order) for order in orders}
    assert ([], []) == (messages(app), dead_letters(app))


def test_what_the_old_worker_held_when_it_was_switched_off_is_done(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2: its lease ends, and the message is read again; the crash that it counts does no harm."""
    order = unpaid(shop)
    put(app, written(EXPIRE, {"orderId": order}))
    connection.execute(text("select pgmq.read(cast(:queue as text), 30, 1)"), {"queue": QUEUE})
    drain(app)
    assert "pending_dp" == shop.status(order)

    make_visible(app)
    drain(app)

    assert ("cancelled", []) == (shop.status(order), dead_letters(app))


def test_an_order_that_the_old_worker_has_ended_is_not_ended_again(
    app: App, shop: Shop, connection: Connection, old: OldWorker
) -> None:
    """L3: its message lies in the queue twice; ours asks the condition again, and skips."""
    order = unpaid(shop)
    for _ in range(2):
        put(app, written(EXPIRE, {"orderId": order}))
    old.step()
    ended = shop.row("Order", order)

    drain(app)

    assert ended == shop.row("Order", order)
    assert [(EXPIRE, order, "skipped")] == [row[:3] for row in job_outcomes(connection)]


def test_paused_rules_put_nothing_before_the_old_worker(app: App, shop: Shop, run: Run) -> None:
    """As the page says: while the old worker runs, ours works the queue off and scans nothing."""
    unpaid(shop)
    for rule in ("expire_dp", "auto_refund"):
        assert 0 == run("pause", rule, "--until-resumed", "--reason", "the old worker runs")[0]
    sent = unpaid(shop)
    put(app, written(EXPIRE, {"orderId": sent}))

    sweep(app)

    assert "cancelled" == shop.status(sent)
    assert [] == messages(app)


def test_a_rollback_leaves_only_what_the_old_worker_can_read(app: App, shop: Shop) -> None:
    """As the page says: one drain by hand, and what is left waits for a retry in its own queue."""
    fails = unpaid(shop)
    put(app, written(RELEASE, {"orderId": fails, "shouldRefund": True}))
    scan(app)

    with broken(app, "Order"):
        drain(app)

    assert [(fails,)] == [job.order_ids for job in read_by_the_old_worker(app)]
    assert [[], [], []] == [messages(app, queue) for queue in (HIGH, LOW, OUTBOUND)]
