"""`sweeper refunds`: what is owed is listed, settled once, and exported."""

import csv
import io
import json
from functools import partial

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, Run, sweep

PHONE = "0812-0000-9876"


@pytest.fixture
def run(run: Run) -> Run:
    """Run `sweeper refunds ...`; return its exit code, stdout and stderr."""
    return partial(run, "refunds")


@pytest.fixture
def order(app: App, shop: Shop) -> str:
    """Have one order rejected, whose down payment of Rp 50.000 is owed back."""
    buyer = shop.participant(phone=PHONE, name="Sari")
    made = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=25 * HOUR,
        dp_amount=50_000,
        participant=buyer,
    )
    sweep(app)
    return made


def listed(run: Run, *options: str) -> list[tuple[str, int, str, str | None]]:
    """Return what `list --json` tells, in short."""
    refunds = json.loads(run("list", "--json", *options)[1])
    return [(r["order_id"], r["amount"], r["state"], r["reference"]) for r in refunds]


def test_what_is_owed_is_listed_with_its_sum(run: Run, order: str) -> None:
    assert [(order, 50_000, "due", None)] == listed(run)
    assert "owed in all: Rp 50.000" in run("list")[1]


def test_no_command_tells_a_full_phone(run: Run, order: str) -> None:
    """L11: not even to those who pay."""
    told = "".join(run(*words)[1] for words in (("list",), ("list", "--json"), ("export", "--csv")))

    assert order in told
    assert (False, False) == (PHONE in told, "081200009876" in told)


def test_a_refund_is_settled_once(run: Run, order: str) -> None:
    """Settling twice the same is once; the reference stays in the books."""
    first = run("settle", order, "--reference", "BCA 1")
    second = run("settle", order, "--reference", "BCA 1")

    assert (0, "settled: Rp 50.000\n") == first[:2]
    assert (0, "it was settled before, with this reference\n") == second[:2]
    assert [] == listed(run)
    assert [(order, 50_000, "settled", "BCA 1")] == listed(run, "--all")


def test_settling_twice_differently_is_refused(run: Run, order: str) -> None:
    run("settle", order, "--reference", "BCA 1")

    code, out, err = run("settle", order, "--reference", "BCA 2")

    assert (2, "") == (code, out)
    assert err == f"sweeper: order '{order}' was settled before, with reference 'BCA 1'\n"
    assert [(order, 50_000, "settled", "BCA 1")] == listed(run, "--all")


def test_a_blank_reference_is_refused(run: Run, order: str) -> None:
    code, _, err = run("settle", order, "--reference", " ")

    assert (2, "sweeper: the reference is blank; say how the payment is found at the bank\n") == (
        code,
        err,
    )
    assert [(order, 50_000, "due", None)] == listed(run)


def test_an_order_that_nothing_is_owed_for_is_refused(run: Run) -> None:
    code, _, err = run("settle", "nix", "--reference", "BCA 1")

    assert (2, "sweeper: no refund is recorded for order 'nix'\n") == (code, err)


def test_what_is_owed_is_exported_as_csv(run: Run, order: str) -> None:
    (row,) = csv.DictReader(io.StringIO(run("export", "--csv")[1]))

    assert (order, "50000", "Sari", "due") == (
        row["order_id"],
        row["amount"],
        row["buyer_name"],
        row["state"],
    )


def test_the_sum_that_is_owed_stands_in_the_status(app: App, order: str) -> None:
    del order
    figures = app.status_reader.read().figures

    assert (1, 50_000) == (figures["refunds_owed"], figures["refunds_owed_rupiah"])
