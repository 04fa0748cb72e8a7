"""`sweeper acts`, and what each command writes into the ledger of acts."""

import getpass
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.event import INSTANCE
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter import DeadLetter, fingerprint
from sweeper.retry import DeadReason
from tests.support.verbs import (
    DEAD,
    HOUR,
    NOW,
    QUEUE,
    Run,
    dead_letters,
    drain,
    rows,
    scan,
    send,
    sweep,
)

ORDER = '{"orderId": "o1"}'


def acts(run: Run, *options: str) -> list[dict[str, Any]]:
    """Return the acts that the command prints, the latest first."""
    code, printed, _ = run("acts", "--json", *options)
    assert 0 == code
    found: list[dict[str, Any]] = json.loads(printed)["acts"]
    return found


@pytest.fixture
def letter(app: App) -> int:
    """Bury a job of an unknown type, and return the letter's id."""
    send(app, "MAKE_COFFEE", {})
    drain(app)
    return dead_letters(app)[0].msg_id


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            ("sweep", "expire_dp"),
            ("sweep", "expire_dp", "expire_dp: 1 of 1 enqueued; 2 done; sweep "),
        ),
        (
            ("sweep", "--dry-run", "auto_refund", "expire_dp"),
            (
                "dry_run",
                "auto_refund, expire_dp",
                "auto_refund: 0 of 0 enqueued; expire_dp: 1 of 1 enqueued; sweep ",
            ),
        ),
        (("drain",), ("drain", "every queue", "")),
        (("pause", "expire_dp", "--for", "2h"), ("pause", "expire_dp", "until 20")),
        (("resume", "everything"), ("resume", "everything", "resumed nothing")),
        (("dead", "retry", "--all"), ("retry", "dead letters: all", "1 dead letter: 1")),
        (("dead", "drop", "1"), ("drop", "dead letters: ids 1", "1 dead letter: 1")),
        (("enqueue", "ORDER_EXPIRE_DP", ORDER), ("enqueue", "ORDER_EXPIRE_DP", "message ")),
        (("purge", QUEUE, "--yes"), ("purge", QUEUE, "0 messages deleted")),
        (
            ("purge", DEAD, "--older-than", "1d", "--yes"),
            ("purge", f"{DEAD}, older than 1d", "0 dead letters dropped"),
        ),
        (("migrate",), ("migrate", "schema and queues", "nothing to do")),
    ],
    ids=lambda value: "_".join(value[:2]),
)
@pytest.mark.usefixtures("letter")
def test_each_command_that_acts_is_recorded(
    run: Run,
    shop: Shop,
    command: tuple[str, ...],
    told: tuple[str, ...],
) -> None:
    shop.order(age=HOUR)
    why = "--why" if command[0] == "dead" else "--reason"
    option = (why, "the shop asked")

    run(*command, *option)

    (found,) = acts(run)
    action, subject, detail = told
    assert (action, subject, getpass.getuser(), "command", INSTANCE, "done") == tuple(
        found[name] for name in ("action", "subject", "actor", "origin", "host", "outcome")
    )
    assert "the shop asked" == found["reason"]
    assert (found["detail"] or "").startswith(detail)


def test_a_refund_that_is_settled_is_recorded_with_the_payment(
    run: Run, app: App, shop: Shop
) -> None:
    """Both are one transaction: no payment without the one who recorded it."""
    order = shop.order(
        status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR, dp_amount=50_000
    )
    sweep(app)

    run("refunds", "settle", order, "--reference", "BCA 1", "--reason", "paid by Sari")

    (told,) = acts(run)
    assert ("settle", order, "paid by Sari") == (told["action"], told["subject"], told["reason"])
    assert "settled: Rp 50.000, reference BCA 1" == told["detail"]
    assert f"settled by {getpass.getuser()} (command): paid by Sari" in run("explain", order)[1]


def test_the_first_migration_is_recorded(run: Run, platform_url: str) -> None:
    """The act creates the table that it is written into."""
    assert 0 == run("migrate", "--install-pgmq", DATABASE_URL=platform_url)[0]

    code, printed, _ = run("acts", "--json", DATABASE_URL=platform_url)
    (told,) = json.loads(printed)["acts"]
    assert (0, "migrate", "schema and queues, install_pgmq") == (
        code,
        told["action"],
        told["subject"],
    )
    assert told["detail"].startswith("installed pgmq")


def test_a_sweep_that_the_brake_held_is_refused(run: Run, shop: Shop) -> None:
    """L7: an auditor sees that somebody tried."""
    shop.many(3, age=HOUR)

    assert 4 == run("sweep", "expire_dp", "--max", "2")[0]

    (told,) = acts(run)
    assert ("refused", True) == (
        told["outcome"],
        told["detail"].startswith("expire_dp: stopped: too many orders due (3)"),
    )


def test_an_act_that_failed_is_recorded_with_its_error(
    run: Run, letter: int, connection: Connection
) -> None:
    connection.execute(text("alter table sweeper.job_log add check (outcome <> 'dropped')"))

    assert 1 == run("dead", "drop", str(letter))[0]

    (told,) = acts(run)
    assert "failed" == told["outcome"]
    assert "job_log_outcome_check" in told["detail"]


@pytest.mark.parametrize(
    "command",
    [
        ("sweep", "no_such_rule"),
        ("pause", "no_such_rule", "--reason", "x"),
        ("pause", "expire_dp", "--for", "9999d", "--reason", "x"),
        ("resume", "no_such_rule"),
        ("dead", "retry", "99"),
        ("dead", "drop"),
        ("enqueue", "NO_SUCH_TYPE", "{}"),
        ("enqueue", "ORDER_EXPIRE_DP", "{}"),
        ("purge", QUEUE),
        ("refunds", "settle", "no-such-order", "--reference", "x"),
    ],
    ids="_".join,
)
def test_a_command_with_a_mistake_in_it_is_no_act(run: Run, command: tuple[str, ...]) -> None:
    assert 2 == run(*command)[0]

    assert [] == acts(run)


def test_what_systemd_starts_is_told_from_what_a_person_types(run: Run) -> None:
    pid = str(os.getpid())
    run("resume", "everything", INVOCATION_ID="0123", SYSTEMD_EXEC_PID=pid)
    run("resume", "everything", INVOCATION_ID="0123")
    run("resume", "everything", INVOCATION_ID="0123", SYSTEMD_EXEC_PID="1")

    assert ["command", "unit", "unit"] == [act["origin"] for act in acts(run)]


@pytest.fixture
def command(database_url: str) -> Iterator["subprocess.Popen[str]"]:
    """Drop all dead letters in a process of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
    }
    arguments = ["dead", "drop", "--all", "--why", "cleaning up"]
    with subprocess.Popen(
        [sys.executable, "-m", "sweeper", *arguments], env=environment, text=True
    ) as process:
        yield process
        process.kill()


@pytest.fixture
def many_letters(app: App, connection: Connection) -> list[str]:
    """Bury more letters than one chunk has, and have the drop of the last one hang."""
    keys = [f"o{number}" for number in range(600)]
    letters = [
        DeadLetter(
            type="MAKE_COFFEE",
            key=key,
            reason=DeadReason.EXHAUSTED,
            error="no luck",
            attempts=4,
            died_at=NOW,
            queue=QUEUE,
            fingerprint=fingerprint("MAKE_COFFEE", "no luck"),
            body="{}",
        )
        for key in keys
    ]
    with app.database.transaction() as tx:
        dead_letter.send(tx, app.queues, letters)
    connection.execute(
        text(
            "create function dawdle() returns trigger language plpgsql as"
            " $$ begin perform pg_sleep(60); return new; end $$;"
            "create trigger dawdle before insert on sweeper.job_log for each row"
            " when (new.key = 'o599') execute function dawdle()"
        )
    )
    return keys


def test_an_act_that_was_killed_is_seen_as_begun_with_what_it_had_done(
    many_letters: list[str], command: "subprocess.Popen[str]", run: Run, connection: Connection
) -> None:
    """L2: 500 letters are gone, and the books say by whom."""
    asleep = "select count(*) from pg_stat_activity where wait_event = 'PgSleep'"
    while not connection.execute(text(asleep)).scalar_one():
        assert command.poll() is None
    command.send_signal(signal.SIGKILL)
    command.wait()
    connection.execute(
        text(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where wait_event = 'PgSleep'"
        )
    )

    (told,) = acts(run)
    assert ("begun", "cleaning up", None) == (told["outcome"], told["reason"], told["duration_ms"])
    assert 100 == len(rows(connection, f"pgmq.q_{DEAD}"))
    assert "dead letter dropped by " in run("explain", many_letters[0])[1]
    assert "dead letter dropped by " not in run("explain", many_letters[-1])[1]
    assert "begun" in run("acts")[1]


def test_the_list_for_people_pages_filters_and_shows_controls_as_escapes(run: Run) -> None:
    for number in range(3):
        run("resume", "everything", "--reason", f"{number} \x1b[31mred")

    everything, some = run("acts")[1], run("acts", "--limit", "2")[1]

    assert r"2 \x1b[31mred" in everything
    assert "\x1b" not in everything
    assert r"0 \x1b[31mred" not in some
    last = acts(run, "--limit", "2")[-1]["id"]
    assert f"older ones: add --before {last}" in some
    assert r"0 \x1b[31mred" in run("acts", "--before", str(last))[1]
    assert "No acts match.\n" == run("acts", "--action", "drop")[1]
    assert "No acts match.\n" == run("acts", "--actor", "nobody")[1]
    assert 3 == len(acts(run, "--since", "2h", "--actor", getpass.getuser()))


@pytest.mark.parametrize("options", [("--action", "dance"), ("--since", "soon"), ("--limit", "0")])
def test_a_filter_that_makes_no_sense_is_refused(run: Run, options: tuple[str, ...]) -> None:
    assert 2 == run("acts", *options)[0]


def test_what_the_schedule_does_is_no_act(app: App, shop: Shop, run: Run) -> None:
    shop.order(age=HOUR)
    scan(app)

    assert [] == acts(run)


def test_a_dry_run_changes_nothing_but_the_books_of_acts(
    run: Run, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR)
    before = shop.status(order)

    run("sweep", "--dry-run", "--json")

    assert ["dry_run"] == [act["action"] for act in acts(run)]
    assert [] == rows(connection, "sweeper.sweep")
    assert before == shop.status(order)
