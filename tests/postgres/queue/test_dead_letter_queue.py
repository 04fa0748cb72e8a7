"""The dead-letter queue: dead letters are found, retried or dropped."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper import Batch, RejectedError
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import UsageError
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import (
    HIGH,
    HOUR,
    LOW,
    OUTBOUND,
    QUEUE,
    broken,
    dead_letters,
    drain,
    job_outcomes,
    make_visible,
    messages,
    scan,
    send,
    send_raw,
    with_handler,
)

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "ORDER_EXPIRE_DP"


def five_dead_letters(app: App) -> list[DeadLetter]:
    """Add five dead letters: two rejected ones, an exhausted, an invalid and an unknown one."""

    def reject(batch: Batch[Any]) -> None:
        message = f"the order {batch.keys[0]} is cursed"
        raise RejectedError(message)

    def fail(_batch: Batch[Any]) -> None:
        message = "no luck"
        raise ValueError(message)

    for kind, handler, retries in (
        (TYPE, reject, 3),
        ("ORDER_AUTO_REFUND", reject, 3),
        (TYPE, fail, 0),
    ):
        send(app, kind, {"orderId": f"c-{kind}-{retries}"}, maxRetries=retries)
        drain(with_handler(app, kind, handler))
    send_raw(app, "5")
    send(app, "MAKE_COFFEE", {"cups": 2})
    drain(app)
    return dead_letters(app)


def test_a_retried_dead_letter_has_no_retries_and_no_error(app: App, shop: Shop) -> None:
    """The rest of the body, such as createdAt, is unchanged, and the job can succeed now."""
    order = shop.order(age=HOUR)
    send(app, TYPE, {"orderId": order}, retryCount=3, lastError="old", traceId="t-1")
    with broken(app, "Order"):
        assert drain(app) == Tally(dead=1)

    (letter,) = dead_letters(app)

    assert app.dead_letter_queue.retry(DeadLetterFilter()) == [letter.msg_id]

    assert letter.key == order
    assert dead_letters(app) == []
    (message,) = messages(app)
    assert message.body == {
        "type": TYPE,
        "payload": {"orderId": order},
        "retryCount": 0,
        "maxRetries": 3,
        "createdAt": "2026-01-31T11:58:00.000Z",
        "traceId": "t-1",
    }
    assert drain(app).done == 2
    assert shop.status(order) == "cancelled"


def test_a_retried_dead_letter_is_sent_to_the_queue_of_its_type(app: App) -> None:
    """This holds whichever queue the platform had sent it to."""

    def refuse(_batch: Batch[Any]) -> None:
        raise RejectedError

    send(app, "STOCK_RELEASE", {"productId": "p", "quantity": 1}, queue=LOW)
    drain(with_handler(app, "STOCK_RELEASE", refuse))

    app.dead_letter_queue.retry(DeadLetterFilter())

    assert len(messages(app, HIGH)) == 1


@pytest.mark.parametrize("queue", [LOW, OUTBOUND])
@pytest.mark.parametrize("raw", ["5", "null", "[1]", '"text"', '{"type": "MAKE_COFFEE"}'])
def test_a_retried_dead_letter_without_a_known_type_returns_to_its_queue(
    app: App, queue: str, raw: str
) -> None:
    """Its body changes only in the retry count, and it is dead-lettered again."""
    send_raw(app, raw, queue=queue)
    drain(app)

    app.dead_letter_queue.retry(DeadLetterFilter())

    (message,) = messages(app, queue)
    body = json.loads(raw)
    assert message.body == (body | {"retryCount": 0} if isinstance(body, dict) else body)
    make_visible(app)
    assert drain(app) == Tally(dead=1)


@pytest.mark.parametrize("operation", ["retry", "drop"])
@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"type": TYPE}, {0, 2}),
        ({"type": "ORDER_AUTO_REFUND"}, {1}),
        ({"reason": "rejected"}, {0, 1}),
        ({"reason": "exhausted"}, {2}),
        ({"reason": "invalid"}, {3}),
        ({"reason": "unknown_type"}, {4}),
        ({"reason": "crashed"}, set()),
        ({"type": TYPE, "reason": "rejected"}, {0}),
        ({}, {0, 1, 2, 3, 4}),
    ],
    ids=str,
)
def test_dead_letters_are_filtered_by_type_and_reason(
    app: App, operation: str, filters: dict[str, Any], expected: set[int]
) -> None:
    """They are filtered by type, by reason, by both or not at all; the others remain."""
    before = five_dead_letters(app)
    assert len(before) == 5

    affected = getattr(app.dead_letter_queue, operation)(DeadLetterFilter(**filters))

    assert affected == [before[place].msg_id for place in sorted(expected)]
    assert [before.index(one) for one in dead_letters(app)] == sorted(set(range(5)) - expected)


def test_dead_letters_are_filtered_by_id(app: App) -> None:
    before = five_dead_letters(app)
    wanted = [before[3].msg_id, before[0].msg_id]

    assert app.dead_letter_queue.find(DeadLetterFilter(ids=wanted)) == [before[0], before[3]]
    assert app.dead_letter_queue.drop(DeadLetterFilter(ids=wanted)) == sorted(wanted)
    assert dead_letters(app) == [before[1], before[2], before[4]]


def test_dead_letters_are_filtered_by_fingerprint(app: App) -> None:
    """Errors that differ in ids only have one fingerprint; other errors have others."""

    def fail(batch: Batch[Any]) -> None:
        number = int(batch.keys[0])
        raise ValueError(f"row {number} is broken" if number < 300 else "the moon is full")

    for number in (101, 202, 303):
        send(app, TYPE, {"orderId": str(number)}, maxRetries=0)
    drain(with_handler(app, TYPE, fail))
    first, second, third = dead_letters(app)

    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert app.dead_letter_queue.drop(DeadLetterFilter(fingerprint=first.fingerprint)) == [
        first.msg_id,
        second.msg_id,
    ]
    assert dead_letters(app) == [third]


@pytest.mark.parametrize("operation", ["find", "retry", "drop"])
def test_an_unknown_id_is_refused_and_nothing_changes(app: App, operation: str) -> None:
    """A mistyped id must not be ignored silently."""
    before = five_dead_letters(app)

    with pytest.raises(UsageError, match="999"):
        getattr(app.dead_letter_queue, operation)(DeadLetterFilter(ids=[before[0].msg_id, 999]))

    assert dead_letters(app) == before
    assert messages(app) == []


def test_the_ledger_records_retried_and_dropped_dead_letters(
    app: App, connection: Connection
) -> None:
    """L8: a dead letter that left the queue is recorded as revived or as dropped."""
    before = five_dead_letters(app)
    app.dead_letter_queue.retry(DeadLetterFilter(ids=[before[0].msg_id]))
    app.dead_letter_queue.drop(DeadLetterFilter(ids=[before[1].msg_id]))

    assert job_outcomes(connection)[-2:] == [
        (TYPE, before[0].key, "revived", "rejected"),
        ("ORDER_AUTO_REFUND", before[1].key, "dropped", "rejected"),
    ]


def test_a_dropped_order_that_is_still_due_is_found_again(app: App, shop: Shop) -> None:
    """L2: dropping a dead letter does not exempt its order from the next scan."""
    shop.order(age=HOUR)
    scan(app)
    with broken(app, "Order"):
        for _ in range(4):
            drain(app)
            make_visible(app)
    assert scan(app).dead == 1

    app.dead_letter_queue.drop(DeadLetterFilter())

    assert scan(app).enqueued == 1


def test_a_retried_dead_letter_counts_once(app: App, shop: Shop) -> None:
    """L8: after the retry it counts as queued, and as dead once it has failed again."""
    order = shop.order(age=HOUR)
    scan(app)
    with broken(app, "Order"):
        for _ in range(4):
            drain(app)
            make_visible(app)
        app.dead_letter_queue.retry(DeadLetterFilter())
        revived = scan(app)
        for _ in range(4):
            drain(app)
            make_visible(app)
        dead_again = scan(app)

    assert (revived.already_queued, revived.dead) == (1, 0)
    assert (dead_again.already_queued, dead_again.dead) == (0, 1)
    assert [dead_letter.key for dead_letter in dead_letters(app)] == [order]
    assert len(messages(app, QUEUE)) == 0
