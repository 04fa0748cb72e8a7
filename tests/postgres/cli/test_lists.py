"""The commands that list, and the acts on dead letters that say how many, who and why."""

import json
import sys
from io import StringIO

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.acts import ActFilter
from tests.support.depth import fill_dead_letters, fill_queue, fill_refunds
from tests.support.verbs import DEAD, HOUR, QUEUE, Run, dead_letters, scan, send

pytestmark = pytest.mark.usefixtures("app")


class Terminal(StringIO):
    """A standard input at which a person types."""

    def isatty(self) -> bool:
        """Say that it is a terminal."""
        return True


def test_waiting_messages_are_listed_page_by_page(run: Run, connection: Connection) -> None:
    fill_queue(connection, 5)

    code, told, _ = run("waiting", "--limit", "2")
    rest = json.loads(run("waiting", "--before", f"{QUEUE},4", "--json")[1])

    assert (0, True) == (code, told.startswith("5 messages, the newest 2 first"))
    assert f"older ones: add --before {QUEUE},4" in told
    assert ([3, 2, 1], 5, None) == (
        [row["msg_id"] for row in rest["rows"]],
        rest["total"],
        rest["next"],
    )


def test_waiting_messages_are_filtered_by_a_code(run: Run, app: App, shop: Shop) -> None:
    order = shop.order(code="JST-7")
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    send(app, "ORDER_EXPIRE_DP", {"orderId": "another"})

    found = json.loads(run("waiting", "--order", "jst-7", "--json")[1])

    assert [(order, "JST-7")] == [(row["key"], row["code"]) for row in found["rows"]]
    assert "JST-7" in run("waiting", "--order", "jst-7", "--newer-than", "1h")[1]
    assert [] == json.loads(run("waiting", "--older-than", "1h", "--json")[1])["rows"]


def test_sweeps_are_listed(run: Run, app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    scan(app, actor="ratih", reason="by hand")
    scan(app, "auto_refund")

    told = run("sweeps", "--rule", "expire_dp")[1]
    quiet = json.loads(run("sweeps", "--outcome", "quiet", "--json")[1])["rows"]

    assert told.startswith("1 sweep ")
    assert "by hand" in told
    assert ["auto_refund"] == [row["rule"] for row in quiet]
    assert 2 == run("sweeps", "--rule", "nothing")[0]


def test_overdue_rows_and_anomalies_are_listed(run: Run, shop: Shop) -> None:
    due = shop.order(age=HOUR)
    odd = shop.order(age=HOUR, dp_proof_url="https://example.com/dp.jpg")

    rows = json.loads(run("overdue", "expire_dp", "--json")[1])["rows"]
    assert [(due, "no scan has been made yet")] == [(row["order_id"], row["why"]) for row in rows]
    assert odd in run("anomalies", "expire_dp")[1]
    assert 2 == run("anomalies", "nothing")[0]


def test_the_list_of_a_job_file_is_listed(run: Run, connection: Connection) -> None:
    fill_refunds(connection, 200)

    due = json.loads(run("list", "refunds", "--state", "due", "--json")[1])

    assert (2, 2) == (due["total"], len(due["rows"]))
    assert "Rp 1.000" in run("list", "refunds")[1]
    assert (2, "there is no list 'nothing'; there are refunds") == (
        run("list", "nothing")[0],
        run("list", "nothing")[2].splitlines()[0].removeprefix("sweeper: "),
    )


# Dead letters.


def test_dead_letters_are_filtered_by_age(run: Run, connection: Connection) -> None:
    fill_dead_letters(connection, 3)
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '2 h' where msg_id = 1")
    )

    def ids(*arguments: str) -> list[int]:
        listed = json.loads(run("dead", "list", "--json", *arguments)[1])
        return [letter["msg_id"] for letter in listed]

    assert ([1], [2, 3]) == (ids("--older-than", "1h"), ids("--newer-than", "1h"))
    assert [] == ids("--type", "-")
    assert "1 dead letter dropped" in run("dead", "drop", "--older-than", "1h")[1]
    assert [2, 3] == ids()
    assert 2 == run("dead", "drop", "--older-than", "soon")[0]


@pytest.mark.parametrize("act", ["retry", "drop"])
def test_a_dry_run_says_how_many_by_cause_and_changes_nothing(
    run: Run, app: App, connection: Connection, act: str
) -> None:
    fill_dead_letters(connection, 3)

    told = run("dead", act, "--all", "--dry-run")[1]
    as_json = json.loads(run("dead", act, "--type", "ORDER_EXPIRE_DP", "--dry-run", "--json")[1])

    done = {"retry": "retried", "drop": "dropped"}[act]
    assert told.startswith(f"3 dead letters would be {done}")
    assert (3, "abc") == (as_json["letters"], as_json["causes"][0]["fingerprint"])
    assert 3 == len(dead_letters(app))


def test_an_act_is_written_down_with_who_and_why(
    run: Run, app: App, connection: Connection
) -> None:
    fill_dead_letters(connection, 2)

    run("dead", "retry", "1", "--why", "the stock is mended")
    run("dead", "drop", "--fingerprint", "abc")

    acts = app.act_reader.read(ActFilter()).acts
    assert [
        ("drop", "1 dead letter: 2", None),
        ("retry", "1 dead letter: 1", "the stock is mended"),
    ] == [(act.action, act.detail, act.reason) for act in acts]
    assert all(act.actor for act in acts)


@pytest.mark.parametrize("choice", [["--all"], ["--type", "ORDER_EXPIRE_DP"]], ids=" ".join)
@pytest.mark.parametrize(("answer", "left"), [("n", 2), ("y", 0)])
def test_dropping_several_asks_on_a_terminal(
    run: Run,
    app: App,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
    *,
    choice: list[str],
    answer: str,
    left: int,
) -> None:
    fill_dead_letters(connection, 2)
    monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))

    code, out, told = run("dead", "drop", *choice)

    assert (left, bool(left)) == (len(dead_letters(app)), bool(code))
    assert "drop 2 dead letters for good?" in out + told


@pytest.mark.parametrize("choice", [["1"], ["1", "2"], ["--newer-than", "1h"], ["--order", "-"]])
def test_dropping_what_was_named_or_a_single_one_does_not_ask(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch, choice: list[str]
) -> None:
    fill_dead_letters(connection, 2)
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '2 h' where msg_id = 1")
    )
    monkeypatch.setattr(sys, "stdin", Terminal(""))

    assert 0 == run("dead", "drop", *choice)[0]


def test_dropping_all_does_not_ask_who_says_yes(
    run: Run, app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_dead_letters(connection, 2)
    monkeypatch.setattr(sys, "stdin", Terminal(""))

    assert 0 == run("dead", "drop", "--all", "--yes")[0]
    assert [] == dead_letters(app)


def test_dropping_all_does_not_ask_a_program(run: Run, app: App, connection: Connection) -> None:
    fill_dead_letters(connection, 2)

    assert 0 == run("dead", "drop", "--all")[0]
    assert [] == dead_letters(app)
