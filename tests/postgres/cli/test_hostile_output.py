"""What strangers write reaches the operator's terminal with its control characters visible."""

import re

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, Run, drain, send, sweep

HOSTILE = "x\x1b]0;owned\x07\x1b[2J\x9b1m\r\u202eevil\u2028y\nsweeper: all is well"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def shown(result: tuple[int, str, str]) -> str:
    """Return all that a command printed; it must hold no control character and no forged line."""
    _, out, err = result
    out = out.replace("\r\n", "\n")  # how lines of CSV end
    assert [] == CONTROLS.findall(out + err)
    assert "\nsweeper: all is well" not in out + err
    return out + err


@pytest.mark.parametrize("arguments", [("list",), ("list", "--json")], ids=" ".join)
def test_a_dead_letter_is_listed_with_visible_controls(
    run: Run, app: App, arguments: tuple[str, ...]
) -> None:
    send(app, HOSTILE, {"orderId": HOSTILE}, lastError=HOSTILE)
    drain(app)

    assert "owned" in shown(run("dead", *arguments, COLUMNS="400"))


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=str)
def test_a_dead_letter_is_shown_with_visible_controls(
    run: Run, app: App, arguments: tuple[str, ...], connection: Connection
) -> None:
    send(app, HOSTILE + "\x7f", {"orderId": HOSTILE}, lastError=HOSTILE)
    drain(app)
    msg_id = connection.execute(text("select msg_id from pgmq.q_jastipin_jobs_dead")).scalar_one()

    assert "owned" in shown(run("dead", "show", str(msg_id), *arguments))


def test_an_order_s_hostile_id_is_visible_in_a_dry_run(run: Run, shop: Shop) -> None:
    shop.order(id=HOSTILE, age=HOUR, code=HOSTILE)

    assert r"\x1b[2J" in shown(run("sweep", "--dry-run", SWEEPER_LOG__FORMAT="console"))


def test_an_order_s_hostile_id_is_visible_in_its_explanation(
    run: Run, shop: Shop, app: App
) -> None:
    shop.order(id=HOSTILE, age=HOUR)
    sweep(app)

    assert r"\x1b[2J" in shown(run("explain", HOSTILE))


@pytest.mark.parametrize("command", [("refunds", "list"), ("refunds", "export")], ids=" ".join)
def test_a_buyer_s_hostile_name_is_visible_among_the_refunds(
    run: Run, shop: Shop, app: App, command: tuple[str, ...]
) -> None:
    buyer = shop.participant(name=HOSTILE)
    shop.order(status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR, participant=buyer)
    sweep(app)

    assert r"\x1b[2J" in shown(run(*command, COLUMNS="400"))


@pytest.mark.parametrize("written", [HOSTILE, "\x1b]0;owned\x07\x9b1m\u202e"], ids=ascii)
def test_an_event_on_a_console_has_visible_controls(run: Run, app: App, written: str) -> None:
    """A log line on a terminal is read by the same person."""
    send(app, written, {"orderId": written})

    assert "owned" in shown(run("drain", SWEEPER_LOG__FORMAT="console"))


def test_a_usage_error_has_visible_controls(run: Run) -> None:
    assert "owned" in shown(run("explain", HOSTILE))


@pytest.mark.parametrize(
    "arguments",
    [("openapi", HOSTILE), (HOSTILE,), ("explain", "c1", HOSTILE)],
    ids=lambda arguments: arguments[0][:8],
)
def test_a_wrong_command_line_is_quoted_with_visible_controls(
    run: Run, arguments: tuple[str, ...]
) -> None:
    """A script may have got its argument from a stranger's order."""
    assert "owned" in shown(run(*arguments))
