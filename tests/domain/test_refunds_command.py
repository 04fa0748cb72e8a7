"""`sweeper refunds`: refunds are listed, settled once, and exported."""

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
    """Return a function that runs `sweeper refunds ...`."""
    return partial(run, "refunds")


@pytest.fixture
def order(app: App, shop: Shop) -> str:
    """Reject one order with a down payment of Rp 50.000; return its id."""
    buyer = shop.participant(phone=PHONE, name="Sari")
    order_id = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=25 * HOUR,
        dp_amount=50_000,
        participant=buyer,
    )
    sweep(app)
    return order_id


def listed(run: Run, *options: str) -> list[tuple[str, int, str, str | None]]:
    """Return order, amount, state and reference of each refund in `list --json`."""
    refunds = json.loads(run("list", "--json", *options)[1])
    return [(r["order_id"], r["amount"], r["state"], r["reference"]) for r in refunds]


def test_due_refunds_are_listed_with_their_sum(run: Run, order: str) -> None:
    assert [(order, 50_000, "due", None)] == listed(run)
    assert "owed in all: Rp 50.000" in run("list")[1]


def test_no_command_prints_a_full_phone(run: Run, order: str) -> None:
    """L11: phones are masked also for the people who pay."""
    output = "".join(
        run(*words)[1] for words in (("list",), ("list", "--json"), ("export", "--csv"))
    )

    assert order in output
    assert (False, False) == (PHONE in output, "081200009876" in output)


def test_a_refund_is_settled_once(run: Run, order: str) -> None:
    """Settling again with the same reference changes nothing; the reference is recorded."""
    first = run("settle", order, "--reference", "BCA 1")
    second = run("settle", order, "--reference", "BCA 1")

    assert (0, "settled: Rp 50.000\n") == first[:2]
    assert (0, "it was settled before, with this reference\n") == second[:2]
    assert [] == listed(run)
    assert [(order, 50_000, "settled", "BCA 1")] == listed(run, "--all")


def test_settling_again_with_another_reference_is_an_error(run: Run, order: str) -> None:
    run("settle", order, "--reference", "BCA 1")

    code, out, err = run("settle", order, "--reference", "BCA 2")

    assert (2, "") == (code, out)
    told = f"sweeper: order '{order}' was settled before, with reference 'BCA 1'"
    assert told == err.splitlines()[0]
    assert [(order, 50_000, "settled", "BCA 1")] == listed(run, "--all")


def test_a_blank_reference_is_an_error(run: Run, order: str) -> None:
    code, _, err = run("settle", order, "--reference", " ")

    told = "sweeper: the reference is blank; say how the payment is found at the bank"
    assert (2, told) == (code, err.splitlines()[0])
    assert [(order, 50_000, "due", None)] == listed(run)


def test_settling_an_order_without_a_refund_is_an_error(run: Run) -> None:
    code, _, err = run("settle", "nix", "--reference", "BCA 1")

    told = "sweeper: no refund is recorded for order 'nix'"
    assert (2, told) == (code, err.splitlines()[0])


def test_due_refunds_are_exported_as_csv(run: Run, order: str) -> None:
    (row,) = csv.DictReader(io.StringIO(run("export", "--csv")[1]))

    assert (order, "50000", "Sari", "due") == (
        row["order_id"],
        row["amount"],
        row["buyer_name"],
        row["state"],
    )


def test_the_status_shows_the_sum_of_due_refunds(app: App, order: str) -> None:
    del order
    figures = app.status_reader.read().figures

    assert (1, 50_000) == (figures["refunds_owed"], figures["refunds_owed_rupiah"])
