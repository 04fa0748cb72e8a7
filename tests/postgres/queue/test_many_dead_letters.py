"""Very many dead letters: they are filtered, read, retried and dropped in chunks."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Connection, Subquery, text
from structlog.testing import capture_logs

from sweeper.app import App
from sweeper.queue.dead_letters import dead_letter, dead_letter_queue, dead_letter_table
from sweeper.queue.dead_letters.dead_letter import DeadLetter, fingerprint
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.retry import DeadReason
from tests.support.verbs import (
    DAY,
    DEAD,
    HOUR,
    NOW,
    QUEUE,
    Connect,
    Run,
    dead_letters,
    drain,
    job_outcomes,
    messages,
    send,
)

pytestmark = pytest.mark.usefixtures("frozen")


def bury(app: App, numbers: Iterable[int], error: str = "no luck", body: str = "{}") -> list[int]:
    """Send dead letters with these numbers as keys, and return their ids."""
    letters = [
        DeadLetter(
            type="MAKE_COFFEE",
            key=str(number),
            reason=DeadReason.EXHAUSTED,
            error=error,
            attempts=4,
            died_at=NOW,
            queue=QUEUE,
            fingerprint=fingerprint("MAKE_COFFEE", error),
            body=body,
        )
        for number in numbers
    ]
    with app.database.transaction() as tx:
        return dead_letter.send(tx, app.queues, letters)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Set the chunk to two letters, and record how many each read returns."""
    sizes: list[int] = []

    def counted(
        tx: Connection, found: Subquery, *conditions: ColumnElement[bool]
    ) -> list[DeadLetter]:
        read = dead_letter_table.read(tx, found, *conditions)
        sizes.append(len(read))
        return read

    monkeypatch.setattr(dead_letter_queue, "_CHUNK", 2)
    monkeypatch.setattr(dead_letter_queue, "read", counted)
    return sizes


def test_dead_letters_are_streamed_in_chunks(app: App, reads: list[int]) -> None:
    ids = bury(app, range(5))

    assert [each.msg_id for each in app.dead_letter_queue.stream(DeadLetterFilter())] == ids
    assert reads == [2, 2, 1]


@pytest.mark.parametrize("operation", ["retry", "drop"])
def test_dead_letters_are_taken_in_chunks(app: App, reads: list[int], operation: str) -> None:
    ids = bury(app, range(5))
    bury(app, range(2), "something else")

    taken = getattr(app.dead_letter_queue, operation)(
        DeadLetterFilter(fingerprint=_print("no luck"))
    )

    assert (taken, reads) == (ids, [2, 2, 1])
    assert len(messages(app)) == (5 if operation == "retry" else 0)
    assert [letter.error for letter in dead_letters(app)] == ["something else"] * 2


def grow_old(connection: Connection, ids: Iterable[int], by: timedelta) -> None:
    """Let dead letters have died this much earlier."""
    aged = text(
        f"update pgmq.q_{DEAD} set enqueued_at = enqueued_at - :by where msg_id = any(:ids)"
    )
    connection.execute(aged, {"by": by, "ids": list(ids)})


def test_dead_letters_of_an_age_are_purged_in_chunks(
    app: App, reads: list[int], connection: Connection
) -> None:
    """L8: each of them ends in the ledger as dropped, as one that an operator drops."""
    ids = bury(app, range(8))
    grow_old(connection, ids[:5], 90 * DAY)
    grow_old(connection, ids[5:], 90 * DAY - HOUR)

    with capture_logs() as log:
        purged = app.dead_letter_queue.purge(90 * DAY)

    assert (purged, reads) == (5, [2, 2, 1])
    assert [letter.msg_id for letter in dead_letters(app)] == ids[5:]
    assert job_outcomes(connection) == [
        ("MAKE_COFFEE", str(number), "dropped", "exhausted") for number in range(5)
    ]
    ((event, level, letters),) = [
        (line["event"], line["log_level"], line["letters"]) for line in log
    ]
    assert (event, level, letters) == ("dead.purged", "info", 5)
    assert () == app.auditor.audit().gaps


@pytest.mark.parametrize("age", [HOUR, 90 * DAY, timedelta.max], ids=str)
def test_a_purge_that_finds_nothing_says_nothing(app: App, age: timedelta) -> None:
    bury(app, range(2))

    with capture_logs() as log:
        assert app.dead_letter_queue.purge(age) == 0

    assert [] == log


@pytest.mark.usefixtures("reads")
def test_a_purge_ends_when_it_is_stopped_and_tells_what_it_did(
    app: App, connection: Connection
) -> None:
    grow_old(connection, bury(app, range(5)), 90 * DAY)
    stopping = iter([False, True])

    with capture_logs() as log:
        purged = app.dead_letter_queue.purge(DAY, lambda: next(stopping))

    assert (2, [2], 3) == (purged, [line["letters"] for line in log], len(dead_letters(app)))


@pytest.mark.parametrize("operation", ["find", "retry", "drop"])
def test_dead_letters_are_filtered_by_the_server(
    app: App, reads: list[int], operation: str
) -> None:
    """What is not selected is not read."""
    bury(app, range(5))

    assert getattr(app.dead_letter_queue, operation)(DeadLetterFilter(fingerprint="other")) == []
    assert reads == []


def test_large_dead_letters_are_read_in_smaller_chunks(
    app: App, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_table, "_BYTES", 1_000)
    bury(app, range(3), body=json.dumps({"n": "x" * 2_000}))

    assert len(dead_letters(app)) == 3
    assert reads == [1, 1, 1]


def test_a_letter_that_comes_during_a_retry_is_left(
    app: App, reads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that die again meanwhile must not be retried for ever."""

    def send_again(tx: Connection, *arguments: Any) -> None:
        assert len(reads) < 9
        dead_letter_table.send_again(tx, *arguments)
        bury(app, [9])

    monkeypatch.setattr(dead_letter_queue, "send_again", send_again)
    ids = bury(app, range(4))

    assert app.dead_letter_queue.retry(DeadLetterFilter()) == ids
    assert [letter.key for letter in dead_letters(app)] == ["9", "9"]
    assert reads[:2] == [2, 2]


def test_a_letter_that_somebody_else_takes_is_left(app: App, connect: Connect) -> None:
    """L1: two operators who retry at once do not send a job twice."""
    first, second = bury(app, range(2))
    other = connect()
    other.execute(text(f"select from pgmq.q_{app.queues.dead} where msg_id = {first} for update"))

    assert app.dead_letter_queue.retry(DeadLetterFilter()) == [second]

    other.rollback()
    assert [letter.msg_id for letter in dead_letters(app)] == [first]


def test_the_list_shows_causes_and_the_newest_fifty(app: App, run: Run) -> None:
    """The total comes first, and the next page is named."""
    ids = bury(app, range(60))
    bury(app, range(3), "something else")

    code, out, _ = run("dead", "list")

    assert (code, out.splitlines()[0]) == (0, "63 dead letters (times in UTC)")
    assert "the newest 50, newest first" in out
    assert f"older ones: add --before {ids[13]}; --json lists all" in out
    assert _ids_in_table(run("dead", "list", "--before", str(ids[13]))[1]) == ids[12::-1]


def test_the_list_is_limited(app: App, run: Run) -> None:
    ids = bury(app, range(8))
    bury(app, range(3), "something else")
    chosen = ("--fingerprint", _print("no luck"), "--limit", "3")

    newest = run("dead", "list", *chosen)[1]
    older = run("dead", "list", *chosen, "--before", str(ids[5]))[1]
    as_json = json.loads(run("dead", "list", *chosen, "--before", str(ids[5]), "--json")[1])

    assert newest.startswith("8 dead letters")
    assert _ids_in_table(newest) == [ids[7], ids[6], ids[5]]
    assert _ids_in_table(older) == [ids[4], ids[3], ids[2]]
    assert [letter["msg_id"] for letter in as_json] == [ids[2], ids[3], ids[4]]
    assert "older ones" not in run("dead", "list", *chosen, "--before", str(ids[3]))[1]


def test_the_list_as_json_is_complete(app: App, run: Run, reads: list[int]) -> None:
    """Contract: it has every dead letter, the oldest first."""
    ids = bury(app, range(60))

    code, out, _ = run("dead", "list", "--json")

    assert (code, [letter["msg_id"] for letter in json.loads(out)]) == (0, ids)
    assert max(reads) == 2


@pytest.mark.usefixtures("app")
def test_no_dead_letters_are_an_empty_list(run: Run) -> None:
    assert run("dead", "list", "--json")[1] == "[]\n"


@pytest.mark.parametrize(("count", "lines", "alike"), [(10, 10, 0), (11, 1, 10)])
def test_a_flood_of_alike_dead_letters_is_one_line(
    app: App, count: int, lines: int, alike: int
) -> None:
    """The line says how many others there are; another cause has lines of its own."""
    for _ in range(count):
        send(app, "MAKE_COFFEE", {})
    send(app, "MAKE_TEA", {})
    with capture_logs() as log:
        drain(app)

    dead = [line for line in log if line["event"] == "job.dead"]
    coffee = [line["alike"] for line in dead if line["type"] == "MAKE_COFFEE"]

    assert coffee == [alike] * lines
    assert [line["alike"] for line in dead if line["type"] == "MAKE_TEA"] == [0]


def _print(error: str) -> str:
    return fingerprint("MAKE_COFFEE", error)


def _ids_in_table(out: str) -> list[int]:
    table = out.partition("the newest")[2]
    words = [line.split() for line in table.splitlines()]
    return [int(first) for first, *_ in filter(None, words) if first.isdigit()]
