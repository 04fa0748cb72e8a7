"""Lists at 80 columns, at a terminal and in a pipe: whatever is copied from them is whole."""

import re

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.console import fill_console
from tests.support.terminal import at_a_terminal
from tests.support.verbs import Run

LISTS = (
    ("refunds", "list", "--all"),
    ("dead", "list"),
    ("waiting",),
    ("sweeps",),
    ("overdue", "expire_dp"),
    ("anomalies", "expire_dp"),
    ("list", "refunds"),
    ("acts",),
)
EMPTY = {
    ("refunds", "list"): "No unpaid refunds.",
    ("refunds", "list", "--all"): "No refunds.",
    ("dead", "list"): "No dead letters.",
    ("dead", "list", "--type", "ORDER_EXPIRE_DP"): "No dead letters match.",
    ("dead", "drop", "--all", "--dry-run"): "0 dead letters would be dropped.",
    ("waiting",): "No messages.",
    ("waiting", "--type", "ORDER_EXPIRE_DP"): "No messages match.",
    ("sweeps",): "No sweeps.",
    ("overdue", "expire_dp"): "No overdue rows.",
    ("anomalies", "expire_dp"): "No anomalies.",
    ("list", "refunds"): "No refunds.",
    ("acts",): "No acts by hand.",
}
_ID = re.compile(r"\bc[a-z0-9]{24}\b")
_TIME = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b")
_PIECE = re.compile(r"\d{4}-\d\d-\d\d$|\bRp$|\d{4}-\d\d-\d\dT", re.MULTILINE)
_COLOR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def filled(app: App, shop: Shop, run: Run) -> None:
    """Have something in every list."""
    fill_console(app, shop)
    run("resume", "everything", "--reason", "to have an act, and a reason of some length")


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
@pytest.mark.usefixtures("filled")
def test_at_80_columns_no_id_time_or_amount_is_folded(run: Run, command: tuple[str, ...]) -> None:
    narrow, wide = run(*command, COLUMNS="80")[1], run(*command, COLUMNS="100000")[1]

    assert sorted(_ID.findall(wide)) == sorted(_ID.findall(narrow))
    assert len(_TIME.findall(wide)) == len(_TIME.findall(narrow))
    assert [] == _PIECE.findall(narrow)
    assert max(map(len, narrow.splitlines())) <= 80


@pytest.mark.parametrize(("command", "sentence"), EMPTY.items(), ids=map(" ".join, EMPTY))
@pytest.mark.usefixtures("app")
def test_an_empty_list_says_so_in_a_sentence(
    run: Run, command: tuple[str, ...], sentence: str
) -> None:
    assert (0, f"{sentence}\n", "") == run(*command)


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.usefixtures("filled")
def test_at_a_terminal_a_list_fits_its_width(database_url: str, variables: dict[str, str]) -> None:
    shown = at_a_terminal(database_url, "dead", "list", **variables)

    plain = _COLOR.sub("", shown)
    assert max(map(len, plain.splitlines())) <= 80
    assert "fingerprint:" in plain
    colors = [one for one in _COLOR.findall(shown) if re.search(r"\b[349]\d\b", one)]
    assert [] == colors


@pytest.mark.usefixtures("filled")
def test_a_dead_letter_is_shown_in_full(run: Run) -> None:
    code, out, _ = run("dead", "show", "3", COLUMNS="80")

    assert (0, "dead letter 3 (times in UTC)") == (code, out.splitlines()[0])
    assert "code:        JST-PENUH\n" in out
    assert '\nbody:\n{\n  "type": "ORDER_EXPIRE_DP",\n' in out


@pytest.mark.usefixtures("filled")
def test_a_refund_that_is_due_is_shown_as_unpaid(run: Run, connection: Connection) -> None:
    """What is stored, and the documents, keep the word."""
    stored = connection.execute(text("select distinct state from sweeper.refund")).scalar_one()
    lists = (("refunds", "list", "--all"), ("list", "refunds"), ("list", "refunds", "--json"))
    people, listing, program = (run(*command)[1] for command in lists)

    assert "due" == stored
    assert (3, 3) == (people.count(" unpaid"), listing.count(" unpaid"))
    assert '"state": "due"' in program
    assert listing == run("list", "refunds", "--state", "unpaid")[1]
    assert "there are unpaid, settled" in run("list", "refunds", "--state", "paid")[2]
    assert 2 == run("list", "refunds", "--state", "paid")[0]
