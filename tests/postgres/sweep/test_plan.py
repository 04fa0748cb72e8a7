"""Plans: a dry run can be kept as a file, and run later on the orders that are still due."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres.clock import iso
from sweeper.sweep.plan import with_checksum
from tests.support.verbs import DAY, HOUR, Run, messages, rows, send

MINUTE_AGO = "2026-01-31T11:58:00.000Z"


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    """Return the path of the plan's file."""
    return tmp_path / "plan.json"


def make_plan(run: Run, plan_file: Path, *options: str, **variables: str) -> dict[str, Any]:
    """Make a dry run, write it to the file as a plan, and return it."""
    code, out, _ = run("sweep", "--dry-run", "--json", *options, **variables)
    assert code == 0
    plan_file.write_text(out)
    document: dict[str, Any] = json.loads(out)
    return document


def states(shop: Shop, *orders: str) -> list[str]:
    """Return the status of each of these orders."""
    return [shop.status(order) for order in orders]


def test_a_plan_changes_only_its_own_orders(
    run: Run, plan_file: Path, app: App, shop: Shop
) -> None:
    """Orders that became due later and queued messages are left to the service."""
    looked_at = shop.order(age=2 * HOUR)
    make_plan(run, plan_file)
    since, queued = shop.order(age=HOUR), shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": queued})

    code, out, _ = run("sweep", "--plan", str(plan_file), "--json")

    counts = json.loads(out)["rules"]["expire_dp"]
    assert (code, counts["planned"], counts["no_longer_due"], counts["enqueued"]) == (0, 1, 0, 1)
    assert states(shop, looked_at, since, queued) == ["cancelled", "pending_dp", "pending_dp"]
    assert [message.read_ct for message in messages(app)] == [0]


def test_a_planned_order_that_is_no_longer_due_is_skipped(
    run: Run, plan_file: Path, shop: Shop, connection: Connection
) -> None:
    """L3: a plan does not cancel an order that was paid in the meantime."""
    paid, unpaid = shop.order(age=HOUR), shop.order(age=HOUR)
    make_plan(run, plan_file)
    accept = text("update \"Order\" set status = 'awaiting_validation' where id = :id")
    connection.execute(accept, {"id": paid})

    code, out, _ = run("sweep", "--plan", str(plan_file))

    assert (code, states(shop, paid, unpaid)) == (0, ["awaiting_validation", "cancelled"])
    assert "2 orders were planned; 1 are no longer due, and are left alone" in out


def test_a_plan_is_recorded_in_the_ledger(
    run: Run, plan_file: Path, shop: Shop, connection: Connection
) -> None:
    shop.order(age=HOUR)
    plan = make_plan(run, plan_file)

    run("sweep", "--plan", str(plan_file))
    run("sweep", "--plan", str(plan_file), "--reason", "the owner asked")

    reasons = {row["reason"] for row in rows(connection, "sweeper.sweep")}
    assert reasons == {f"plan {plan['sweep_id']}", "the owner asked"}


def test_a_plan_keeps_the_limit_that_released_the_brake(
    run: Run, plan_file: Path, shop: Shop
) -> None:
    """L7: a person has seen every order in the plan, so its limit applies."""
    limited = {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"}
    orders = [shop.order(age=HOUR) for _ in range(2)]
    assert run("sweep", "--dry-run", **limited)[0] == 4
    make_plan(run, plan_file, "--max", "2", **limited)

    code, *_ = run("sweep", "--plan", str(plan_file), **limited)

    assert (code, states(shop, *orders)) == (0, ["cancelled", "cancelled"])


def test_a_plan_can_be_used_for_a_dry_run(run: Run, plan_file: Path, shop: Shop) -> None:
    first = shop.order(age=HOUR)
    make_plan(run, plan_file)
    shop.order(age=HOUR)

    code, out, _ = run("sweep", "--plan", str(plan_file), "--dry-run", "--json")

    assert (code, json.loads(out)["rules"]["expire_dp"]["orders"]) == (0, [first])


def test_the_layout_of_a_plan_does_not_matter(run: Run, plan_file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    plan = make_plan(run, plan_file)
    plan_file.write_text(json.dumps(dict(sorted(plan.items(), reverse=True))))

    assert run("sweep", "--plan", str(plan_file))[0] == 0
    assert shop.status(order) == "cancelled"


def test_a_plan_of_one_rule_runs_only_that_rule(run: Run, plan_file: Path, shop: Shop) -> None:
    rejected = shop.order(status="awaiting_validation", age=2 * DAY, paid_ago=25 * HOUR)
    shop.order(age=HOUR)
    make_plan(run, plan_file, "auto_refund")

    _, out, _ = run("sweep", "--plan", str(plan_file), "--json")

    assert list(json.loads(out)["rules"]) == ["auto_refund"]
    assert shop.status(rejected) == "rejected"


def sealed_again(plan: dict[str, Any], **changes: Any) -> str:
    """Return *plan* as JSON with these changes and a valid checksum."""
    unsealed = {name: value for name, value in plan.items() if name != "checksum"}
    return json.dumps(with_checksum(unsealed | changes))


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda plan: json.dumps(plan)[:-100], "cut off"),
        (lambda plan: json.dumps(plan | {"limit": 7}), "was changed"),
        (lambda _plan: "", "not JSON"),
        (lambda _plan: "[]", "not a valid plan"),
        (lambda plan: json.dumps(plan["rules"]), "not a valid plan"),
        (lambda _plan: json.dumps(with_checksum({"hello": "world"})), "sweep_id"),
        (lambda plan: sealed_again(plan, dry_run=False), "dry_run"),
        (lambda plan: sealed_again(plan, rules={"expire": {"orders": []}}), "no rule 'expire'"),
        (lambda plan: sealed_again(plan, database="7/5"), "another database"),
        (lambda plan: sealed_again(plan, at=MINUTE_AGO), "safety.max_plan_age"),
        (lambda plan: sealed_again(plan, at=iso(datetime.now(UTC) + DAY)), "safety.max_plan_age"),
    ],
)
def test_a_damaged_foreign_or_old_plan_is_refused(
    run: Run, plan_file: Path, shop: Shop, damage: Callable[[dict[str, Any]], str], word: str
) -> None:
    """A refused plan changes nothing; a sweep would have cancelled the order."""
    order = shop.order(age=HOUR)
    plan_file.write_text(damage(make_plan(run, plan_file)))

    code, out, err = run("sweep", "--plan", str(plan_file))

    assert (code, out, shop.status(order)) == (2, "", "pending_dp")
    assert word in err
    assert len(err.splitlines()) <= 2


def test_a_plan_that_cannot_be_read_is_refused(run: Run, plan_file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    assert run("sweep", "--plan", str(plan_file))[0] == 2
    plan_file.write_bytes(b"\xff\xfe\x00")
    assert run("sweep", "--plan", str(plan_file))[0] == 2
    assert shop.status(order) == "pending_dp"


def test_a_plan_cannot_be_combined_with_a_rule(run: Run, plan_file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    make_plan(run, plan_file)

    code, _, err = run("sweep", "auto_refund", "--plan", str(plan_file))

    assert (code, shop.status(order)) == (2, "pending_dp")
    assert "leave out RULE" in err
