"""Dead letters: a person finds them, sends them again, or drops them."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper import Batch, RejectedError
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.errors import UsageError
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.dead_letter_queue import DeadLetterFilter
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


def graves(app: App) -> list[DeadLetter]:
    """Fill the dead-letter queue: two rejected of two types, one exhausted, two not understood."""

    def curse(batch: Batch[Any]) -> None:
        message = f"the order {batch.keys[0]} is cursed"
        raise RejectedError(message)

    def fail(_batch: Batch[Any]) -> None:
        message = "no luck"
        raise ValueError(message)

    for kind, handler, retries in (
        (TYPE, curse, 3),
        ("ORDER_AUTO_REFUND", curse, 3),
        (TYPE, fail, 0),
    ):
        send(app, kind, {"orderId": f"c-{kind}-{retries}"}, maxRetries=retries)
        drain(with_handler(app, kind, handler))
    send_raw(app, "5")
    send(app, "MAKE_COFFEE", {"cups": 2})
    drain(app)
    return dead_letters(app)


def test_a_letter_that_is_sent_again_has_a_clean_count(app: App, shop: Shop) -> None:
    """The rest of the body is as it was, createdAt among it; the job can succeed now."""
    order = shop.order(age=HOUR)
    send(app, TYPE, {"orderId": order}, retryCount=3, lastError="old", traceId="t-1")
    with broken(app, "Order"):
        assert drain(app) == Tally(dead=1)

    (taken,) = app.dead_letter_queue.retry(DeadLetterFilter())

    assert taken.key == order
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


def test_a_letter_is_sent_to_the_queue_of_its_type(app: App) -> None:
    """Wherever the platform had sent it first."""

    def refuse(_batch: Batch[Any]) -> None:
        raise RejectedError

    send(app, "STOCK_RELEASE", {"productId": "p", "quantity": 1}, queue=LOW)
    drain(with_handler(app, "STOCK_RELEASE", refuse))

    app.dead_letter_queue.retry(DeadLetterFilter())

    assert len(messages(app, HIGH)) == 1


@pytest.mark.parametrize("queue", [LOW, OUTBOUND])
@pytest.mark.parametrize("raw", ["5", "null", "[1]", '"text"', '{"type": "MAKE_COFFEE"}'])
def test_what_has_no_type_goes_back_where_it_was(app: App, queue: str, raw: str) -> None:
    """With its body unchanged, but for a count; it is buried again if nothing has changed."""
    send_raw(app, raw, queue=queue)
    drain(app)

    app.dead_letter_queue.retry(DeadLetterFilter())

    (message,) = messages(app, queue)
    body = json.loads(raw)
    assert message.body == (body | {"retryCount": 0} if isinstance(body, dict) else body)
    make_visible(app)
    assert drain(app) == Tally(dead=1)


@pytest.mark.parametrize("way", ["retry", "drop"])
@pytest.mark.parametrize(
    ("choice", "chosen"),
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
def test_letters_are_chosen_by_what_they_have_in_common(
    app: App, way: str, choice: dict[str, Any], chosen: set[int]
) -> None:
    """By type, by reason, by both, or all; the others stay."""
    letters = graves(app)
    assert len(letters) == 5

    taken = getattr(app.dead_letter_queue, way)(DeadLetterFilter(**choice))

    assert {letters.index(one) for one in taken} == chosen
    assert [letters.index(one) for one in dead_letters(app)] == sorted(set(range(5)) - chosen)


def test_letters_are_chosen_by_id(app: App) -> None:
    letters = graves(app)
    wanted = [letters[3].msg_id, letters[0].msg_id]

    assert app.dead_letter_queue.find(DeadLetterFilter(ids=wanted)) == [letters[0], letters[3]]
    assert app.dead_letter_queue.drop(DeadLetterFilter(ids=wanted)) == [letters[0], letters[3]]
    assert dead_letters(app) == [letters[1], letters[2], letters[4]]


def test_errors_of_one_kind_are_chosen_by_their_fingerprint(app: App) -> None:
    """They differ in ids only; another kind has another one."""

    def fail(batch: Batch[Any]) -> None:
        number = int(batch.keys[0])
        raise ValueError(f"row {number} is broken" if number < 300 else "the moon is full")

    for number in (101, 202, 303):
        send(app, TYPE, {"orderId": str(number)}, maxRetries=0)
    drain(with_handler(app, TYPE, fail))
    first, second, third = dead_letters(app)

    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert app.dead_letter_queue.drop(DeadLetterFilter(fingerprint=first.fingerprint)) == [
        first,
        second,
    ]
    assert dead_letters(app) == [third]


@pytest.mark.parametrize("way", ["find", "retry", "drop"])
def test_an_unknown_id_is_refused_and_nothing_happens(app: App, way: str) -> None:
    """A mistyped id must not be passed over in silence."""
    letters = graves(app)

    with pytest.raises(UsageError, match="999"):
        getattr(app.dead_letter_queue, way)(DeadLetterFilter(ids=[letters[0].msg_id, 999]))

    assert dead_letters(app) == letters
    assert messages(app) == []


def test_the_books_know_what_a_person_did(app: App, connection: Connection) -> None:
    """L8: whatever was buried and left is either revived or dropped."""
    letters = graves(app)
    app.dead_letter_queue.retry(DeadLetterFilter(ids=[letters[0].msg_id]))
    app.dead_letter_queue.drop(DeadLetterFilter(ids=[letters[1].msg_id]))

    assert job_outcomes(connection)[-2:] == [
        (TYPE, letters[0].key, "revived", "rejected"),
        ("ORDER_AUTO_REFUND", letters[1].key, "dropped", "rejected"),
    ]


def test_what_was_dropped_and_is_still_due_is_found_again(app: App, shop: Shop) -> None:
    """L2: to drop a letter is not to forgive an order."""
    shop.order(age=HOUR)
    scan(app)
    with broken(app, "Order"):
        for _ in range(4):
            drain(app)
            make_visible(app)
    assert scan(app).dead == 1

    app.dead_letter_queue.drop(DeadLetterFilter())

    assert scan(app).enqueued == 1


def test_a_letter_is_in_one_place_only(app: App, shop: Shop) -> None:
    """L8: once sent again it waits, and counts as queued; once dead again, as dead."""
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
    assert [letter.key for letter in dead_letters(app)] == [order]
    assert len(messages(app, QUEUE)) == 0
