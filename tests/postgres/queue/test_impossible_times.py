"""Times that no Python can hold: whoever may insert messages writes them, and hides nothing."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from tests.support.verbs import DEAD, QUEUE, OpenApp, Run, send_raw
from tests.support.web_client import TOKEN, served

COMMANDS = (
    ("status",),
    ("status", "--json"),
    ("dead", "list"),
    ("dead", "list", "--json"),
    ("doctor", "--json"),
)
TIMES = ("-infinity", "infinity", "4700-01-01 BC", "0001-01-01 BC", "200000-01-01")

each_time = pytest.mark.parametrize("sent", TIMES)


def send_at(connection: Connection, queue: str, sent: str) -> None:
    """Insert a message that seems to have been sent at the time *sent*."""
    insert = f"insert into pgmq.q_{queue} (enqueued_at, vt, message) values (:sent, now(), :body)"
    connection.execute(text(insert), {"sent": sent, "body": '{"type": "MAKE_COFFEE"}'})


def only_json(out: str) -> Any:
    """Parse a document, which must hold nothing that JSON does not have."""
    return json.loads(out, parse_constant=pytest.fail)


@each_time
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("queue", [QUEUE, DEAD])
def test_a_message_of_any_time_is_shown(
    run: Run, connection: Connection, command: tuple[str, ...], queue: str, sent: str
) -> None:
    send_at(connection, queue, sent)

    code, out, err = run(*command)

    assert (0, "") == (code, err)
    if "--json" in command:
        only_json(out)


@each_time
@pytest.mark.parametrize("queue", [QUEUE, DEAD])
def test_the_page_and_the_documents_show_a_message_of_any_time(
    open_app: OpenApp, connection: Connection, queue: str, sent: str
) -> None:
    send_at(connection, queue, sent)

    with served(open_app(web__token=TOKEN, web__port=0)) as site:
        assert (200, 200) == (site.get("/").status, site.get("/metrics").status)
        for name in ("stats", "health", "info"):
            answer = site.get(f"/api/monitoring/queue/{name}")
            assert (200, True) == (answer.status, only_json(answer.text)["success"])


@pytest.mark.parametrize(
    "died", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-W01", ""]
)
def test_a_dead_letter_that_says_of_itself_an_impossible_time_is_shown(
    app: App, run: Run, died: str
) -> None:
    send_raw(app, json.dumps({"reason": "rejected", "error": "x", "died_at": died}), queue=DEAD)

    assert (0, 0) == (run("dead", "list")[0], run("dead", "list", "--json")[0])
