"""Dead letters whose JSON Python refuses: they pass through, and hide no other letter."""

import json

import pytest

from sweeper.app import App
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.support.verbs import (
    DEAD,
    QUEUE,
    Run,
    dead_letters,
    drain,
    send,
    send_raw,
)
from tests.support.verbs import messages as parsed_messages

pytestmark = pytest.mark.usefixtures("frozen")

LONG = "9" * 5_001
HOSTILE = {
    "a long number": f'{{"type": "MAKE_COFFEE", "n": {LONG}}}',
    "a long number in a foreign letter": f'{{"attempts": {LONG}, "reason": "rejected"}}',
    "deep nesting": "[" * 5_000 + "]" * 5_000,
    "control characters": '{"type": "MAKE_COFFEE", "n": "\\u001b[2J \u202e \u009b"}',
}


def put(app: App, name: str) -> None:
    """Put a usual dead letter and a hostile one into the dead-letter queue."""
    send(app, "MAKE_COFFEE", {"cups": 2})
    foreign = "foreign" in name
    send_raw(app, HOSTILE[name], queue=DEAD if foreign else QUEUE)
    drain(app)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_dead_letter_is_listed_beside_others(app: App, run: Run, name: str) -> None:
    """Its body is printed as Postgres holds it."""
    put(app, name)

    ids = [str(letter.msg_id) for letter in dead_letters(app)]

    code, out, err = run("dead", "list", "--json")

    assert (code, err, out.count('"msg_id"'), out.isascii()) == (0, "", 2, True)
    if name != "deep nesting":
        assert len(json.loads(out, parse_int=str)) == 2
    if name == "a long number":
        assert LONG in out
    assert run("dead", "list")[0] == 0
    assert run("dead", "show", *ids)[0] == 0
    assert run("dead", "show", *ids, "--json")[0] == 0


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_dead_letter_is_retried_beside_others(app: App, run: Run, name: str) -> None:
    """L2: its body goes back unchanged, but for the retry count."""
    put(app, name)
    before = {letter.msg_id: letter.body for letter in dead_letters(app)}

    code, out, _ = run("dead", "retry", "--all", "--json")

    assert (code, set(json.loads(out)["retried"])) == (0, set(before))
    assert dead_letters(app) == []
    drain(app)
    assert len(dead_letters(app)) == 2
    if name == "a long number":
        assert any(LONG in (letter.body or "") for letter in dead_letters(app))


def test_a_hostile_message_in_a_live_queue_does_not_hide_the_status(app: App, run: Run) -> None:
    send_raw(app, f'{{"type": "MAKE_COFFEE", "retryCount": {LONG}}}')

    code, out, _ = run("status", "--json")

    assert (code, json.loads(out)["queues"][QUEUE]["oldest_ready"]["retry_count"]) == (0, None)


def test_a_retried_string_body_is_opened_and_counts_afresh(app: App) -> None:
    body = {"type": "MAKE_COFFEE", "retryCount": 3, "lastError": "old", "n": 1}
    send_raw(app, json.dumps(json.dumps(body)))
    drain(app)

    app.dead_letter_queue.retry(DeadLetterFilter())

    (message,) = parsed_messages(app)
    assert message.body == {"type": "MAKE_COFFEE", "retryCount": 0, "n": 1}
