"""Dead letters in a foreign shape: they are read tolerantly and hide no other letter."""

import json
from typing import Any

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import (
    DEAD,
    HOUR,
    LOW,
    NOW,
    QUEUE,
    Run,
    dead_letters,
    drain,
    messages,
    send,
    send_raw,
)

pytestmark = pytest.mark.usefixtures("frozen")

SHAPES = [
    None,
    "null",
    "5",
    '"text"',
    '"{"',
    "[1]",
    "{}",
    '{"type": "x"}',
    '{"type": 5, "key": [1], "reason": "rejected", "attempts": "many", "died_at": "soon"}',
    '{"type": "x", "reason": "no reason of ours", "body": 5}',
    '{"reason": "rejected", "queue": "nowhere", "attempts": 99999999999}',
    '{"reason": {"a": 1}, "died_at": "2026-01-31", "sweep_id": 7}',
    '"{\\"type\\": \\"x\\", \\"reason\\": \\"rejected\\", \\"key\\": \\"c\\"}"',
]

each_shape = pytest.mark.parametrize("raw", SHAPES, ids=range(len(SHAPES)))


@each_shape
def test_a_foreign_dead_letter_hides_no_other(app: App, run: Run, raw: str | None) -> None:
    """One message that somebody put there must not take the command from the operator."""
    send(app, "MAKE_COFFEE", {"cups": 2})
    drain(app)
    send_raw(app, raw, queue=DEAD)

    code, out, _ = run("dead", "list", "--json")
    listed = json.loads(out)

    assert (code, len(listed)) == (0, 2)
    assert listed[0]["reason"] == "unknown_type"
    assert run("dead", "list")[0] == 0
    assert run("dead", "show", str(listed[1]["msg_id"]))[0] == 0


@each_shape
@pytest.mark.parametrize("command", ["retry", "drop"])
def test_all_dead_letters_are_taken_beside_a_foreign_one(
    app: App, run: Run, raw: str | None, command: str
) -> None:
    send(app, "MAKE_COFFEE", {"cups": 2})
    drain(app)
    send_raw(app, raw, queue=DEAD)

    assert run("dead", command, "--all")[0] == 0

    assert dead_letters(app) == []


@each_shape
def test_a_foreign_dead_letter_is_explained_beside_others(
    app: App, shop: Shop, raw: str | None
) -> None:
    order = shop.order(age=HOUR)
    send_raw(app, raw, queue=DEAD)

    assert app.explainer.explain(order).rules["expire_dp"].due
    assert app.backlog_reader.read().causes


def test_a_foreign_dead_letter_is_invalid_and_keeps_its_message(app: App) -> None:
    """L2: the whole message is the letter's body, and comes back with a retry."""
    foreign: dict[str, Any] = {"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "c"}}
    send_raw(app, json.dumps(foreign), queue=DEAD)

    (letter,) = dead_letters(app)
    app.dead_letter_queue.retry(DeadLetterFilter())

    assert (letter.type, letter.reason, letter.attempts) == ("ORDER_EXPIRE_DP", "invalid", 0)
    assert "not sent by the sweeper" in letter.error
    assert json.loads(letter.body or "") == foreign
    assert abs(letter.died_at.timestamp() - NOW.timestamp()) > 1  # when it was sent, not now
    (message,) = messages(app, QUEUE)
    assert message.body == foreign | {"retryCount": 0}


def test_foreign_dead_letters_are_selected_by_what_is_shown_of_them(app: App) -> None:
    send_raw(app, '{"type": "x"}', queue=DEAD)
    send_raw(app, '{"type": "y"}', queue=DEAD)
    first, second = dead_letters(app)

    assert dead_letters(app, reason="invalid", fingerprint=first.fingerprint) == [first, second]
    assert dead_letters(app, type="y") == [second]
    assert dead_letters(app, reason="rejected") == []


def test_a_retried_letter_that_names_no_queue_of_ours_goes_to_the_normal_one(app: App) -> None:
    for queue in ("nowhere", DEAD, LOW):
        letter = {"type": "x", "reason": "rejected", "queue": queue, "body": {"type": "x"}}
        send_raw(app, json.dumps(letter), queue=DEAD)

    app.dead_letter_queue.retry(DeadLetterFilter())

    assert (len(messages(app, QUEUE)), len(messages(app, LOW))) == (2, 1)
