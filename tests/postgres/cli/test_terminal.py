"""`sweep`, `drain` and `status --watch` on a terminal of 80 by 24."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support import log_schema
from tests.support.terminal import Screen, Terminal
from tests.support.verbs import (
    HOUR,
    Connect,
    broken,
    dead_letters,
    drain,
    send,
    wait_for_a_blocked_session,
)

EXPIRE = "ORDER_EXPIRE_DP"
LOGGED = re.compile(r"job\.|scan\.|batch\.|instance|\d\d:\d\d:\d\d\.\d+Z")

Type = Callable[..., Terminal]


@pytest.fixture
def variables(database_url: str) -> dict[str, str]:
    """Return the settings of a command."""
    return {"DATABASE_URL": database_url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}


@pytest.fixture
def typed(variables: dict[str, str]) -> Iterator[Type]:
    """Return a function that types a command into a terminal."""
    begun: list[Terminal] = []

    def type_one(*arguments: str, **more: str) -> Terminal:
        begun.append(Terminal(*arguments, **variables | more))
        return begun[-1]

    yield type_one
    for terminal in begun:
        terminal.__exit__()


def as_typed(screen: Screen, begins: str) -> str:
    """Return the line that begins so, as a person would copy it."""
    lines = (line.strip() for line in screen.text.splitlines())
    return next(line[line.index(begins) :] for line in lines if begins in line)


def test_a_sweep_on_a_terminal_tells_who_failed_and_why_and_logs_nothing(
    typed: Type, app: App, shop: Shop
) -> None:
    order = shop.order(age=HOUR, code="JST-PENUH")
    shop.many(20, age=HOUR)

    with broken(app, "Order", f"new.id = '{order}'"):
        code, screen = typed("sweep").ended()

    assert (3, None) == (code, LOGGED.search(screen.text))
    assert "40 done; 1 failed, will retry" in screen.text
    assert "JST-PENUH" in screen.text
    assert "out of order" in screen.text
    assert re.search(r"again in \d s", screen.text)
    assert f"sweeper explain {order}" == as_typed(screen, "sweeper explain")
    assert "sweeper drain" == as_typed(screen, "sweeper drain")


def test_a_job_that_died_is_told_with_what_brings_it_back(typed: Type, app: App) -> None:
    send(app, "NO_SUCH_TYPE", {})

    code, screen = typed("drain").ended()

    (letter,) = dead_letters(app)
    assert (3, None) == (code, LOGGED.search(screen.text))
    assert f"dead letter {letter.msg_id}" in screen.text
    assert "NO_SUCH_TYPE" in screen.text
    assert f"sweeper dead retry {letter.msg_id}" == as_typed(screen, "sweeper dead retry")
    assert f"sweeper dead show {letter.msg_id}" == as_typed(screen, "sweeper dead show")


def test_with_json_a_terminal_is_logged_the_errors_that_no_report_tells(
    typed: Type, app: App
) -> None:
    send(app, "NO_SUCH_TYPE", {})

    code, screen = typed("drain", "--json").ended()

    assert (3, True, False) == (code, "job.dead" in screen.text, "batch.done" in screen.text)


def test_a_verbose_sweep_logs_above_its_bar(typed: Type, app: App, shop: Shop) -> None:
    """Each line of the log stands alone: the bar is drawn anew below it."""
    order = shop.order(age=HOUR)
    with broken(app, "Order", f"new.id = '{order}'"):
        code, screen = typed("sweep", "--verbose", SWEEPER_LOG__FORMAT="json").ended()

    text = screen.text
    assert (3, True, True) == (code, '"scan.finished"' in text, '"job.retried"' in text)
    assert not [line for line in text.splitlines() if "\u2501" in line and '"' in line]


def test_off_a_terminal_the_log_is_what_it_was(
    variables: dict[str, str], app: App, shop: Shop
) -> None:
    """The log of a unit or of cron is read by machines: one line of JSON for each event."""
    order = shop.order(age=HOUR)
    with broken(app, "Order", f"new.id = '{order}'"):
        ended = subprocess.run(
            [sys.executable, "-m", "sweeper", "sweep"],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
        )

    logged = [line["event"] for line in log_schema.lines(ended.stderr)]
    assert (3, {"scan.finished", "job.retried"}) == (
        ended.returncode,
        {"scan.finished", "job.retried"} & {*logged},
    )


def test_the_log_of_a_level_that_was_asked_for_is_shown_on_a_terminal(
    typed: Type, shop: Shop
) -> None:
    """The message about an unexpected error names SWEEPER_LOG__LEVEL=debug."""
    shop.order(age=HOUR)

    _, screen = typed("sweep", SWEEPER_LOG__LEVEL="debug").ended()

    assert "scan.finished" in screen.text


def test_ctrl_c_does_not_tear_the_bar(
    typed: Type, shop: Shop, connection: Connection, connect: Connect
) -> None:
    shop.order(age=HOUR, items=[(shop.product(stock=0), 1)])
    holder = connect()
    holder.execute(text('select from public."Product" for update'))
    terminal = typed("sweep", SWEEPER_DATABASE__LOCK_TIMEOUT="30s")
    wait_for_a_blocked_session(connection)
    terminal.process.send_signal(signal.SIGINT)
    terminal.until(lambda screen: "again to stop at once" in screen.text)
    holder.commit()

    code, screen = terminal.ended()

    torn = [line for line in screen.text.splitlines() if "\u2501" in line and "sweeper" in line]
    assert (130, []) == (code, torn)


def test_the_brake_says_exactly_what_to_type(typed: Type, app: App, shop: Shop) -> None:
    """L7: first a look, then the sweep; both lines work as they are, also beside queued jobs."""
    shop.many(2, age=HOUR)
    send(app, EXPIRE, {"orderId": shop.order(age=HOUR)})

    code, screen = typed("sweep", "--scan-only", SWEEPER_SAFETY__MAX_PER_SWEEP="2").ended()

    assert 4 == code
    assert "stopped: too many orders due (limit 2)" in screen.text
    lines = [line.strip() for line in screen.text.splitlines()]
    commands = [line[line.index("sweeper ") :] for line in lines if "sweeper sweep" in line]
    assert [
        "sweeper sweep expire_dp --dry-run --max 3",
        "sweeper sweep expire_dp --max 3",
    ] == commands
    for command in commands:
        again = typed(*command.split()[1:], SWEEPER_SAFETY__MAX_PER_SWEEP="2")
        assert 0 == again.ended()[0]
    assert 0 == app.status_reader.read().rules["expire_dp"].overdue


def test_a_dry_run_says_what_would_be_queued(typed: Type, shop: Shop) -> None:
    shop.order(age=HOUR)

    code, screen = typed("sweep", "--dry-run").ended()

    assert (0, True, False) == (
        code,
        "would be queued" in screen.text,
        "enqueued" in screen.text,
    )


def test_the_status_is_watched_in_80_by_24_until_ctrl_c(typed: Type, app: App, shop: Shop) -> None:
    """Nothing scrolls, no line is too long, and the last one says how it ends."""
    shop.many(1_200, age=3 * HOUR)
    send(app, "NO_SUCH_TYPE", {})
    drain(app)
    app.pauses.pause("expire_dp", None, "sari", "a reason that is told at length, so that it folds")

    terminal = typed("status", "--watch")
    screen = terminal.until(lambda screen: "Ctrl-C ends it" in screen.text)
    lines = screen.lines
    terminal.process.send_signal(signal.SIGINT)
    code, after = terminal.ended()

    assert (24, 0, []) == (len(lines), screen.folded, screen.scrolled)
    assert "Paused: expire_dp." == lines[0]
    assert "No service runs" in "".join(lines[:5])
    assert "also: 1,200 overdue; 1 dead letter" in lines
    assert re.search(r"every 2 s; Ctrl-C ends it$", [line for line in lines if line][-1])
    assert {"jastipin_jobs_outbound", "auto_refund"} <= {line.split(" ")[0] for line in lines}
    (place,) = [n for n, line in enumerate(lines) if line.startswith("expire_dp is paused")]
    assert (True, "refunds owed") == (lines[place].endswith("…"), lines[place + 1][:12])
    assert (130, "") == (code, after.text)


def test_the_json_of_the_status_says_whether_a_service_runs(
    variables: dict[str, str], app: App
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "sweeper", "status", "--json"],
        env=variables,
        capture_output=True,
        text=True,
        check=True,
    )

    document = json.loads(ended.stdout)
    assert {"runs", "seen_at", "seen_seconds", "instance"} == document.pop("service").keys()
    assert app.status_reader.read().as_json().keys() == document.keys()
