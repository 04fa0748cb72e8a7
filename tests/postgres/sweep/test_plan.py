"""A dry run as a plan: only its orders are touched, if they are still due; else nothing is."""

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
def file(tmp_path: Path) -> Path:
    """Return where the plan is kept."""
    return tmp_path / "plan.json"


def planned(run: Run, file: Path, *options: str, **variables: str) -> dict[str, Any]:
    """Make a dry run, keep it as a plan, and return it."""
    code, out, _ = run("sweep", "--dry-run", "--json", *options, **variables)
    assert code == 0
    file.write_text(out)
    document: dict[str, Any] = json.loads(out)
    return document


def states(shop: Shop, *orders: str) -> list[str]:
    """Return what became of these orders."""
    return [shop.status(order) for order in orders]


def test_a_plan_touches_its_own_orders_only(run: Run, file: Path, app: App, shop: Shop) -> None:
    """Neither what fell due since, nor what waits in the queue; the service does those."""
    looked_at = shop.order(age=2 * HOUR)
    planned(run, file)
    since, queued = shop.order(age=HOUR), shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": queued})

    code, out, _ = run("sweep", "--plan", str(file), "--json")

    told = json.loads(out)["rules"]["expire_dp"]
    assert (code, told["planned"], told["no_longer_due"], told["enqueued"]) == (0, 1, 0, 1)
    assert states(shop, looked_at, since, queued) == ["cancelled", "pending_dp", "pending_dp"]
    assert [message.read_ct for message in messages(app)] == [0]


def test_what_is_no_longer_due_is_left_alone(
    run: Run, file: Path, shop: Shop, connection: Connection
) -> None:
    """L3: a plan is no order to cancel what was paid meanwhile."""
    paid, unpaid = shop.order(age=HOUR), shop.order(age=HOUR)
    planned(run, file)
    accept = text("update \"Order\" set status = 'awaiting_validation' where id = :id")
    connection.execute(accept, {"id": paid})

    code, out, _ = run("sweep", "--plan", str(file))

    assert (code, states(shop, paid, unpaid)) == (0, ["awaiting_validation", "cancelled"])
    assert "2 orders were planned; 1 are no longer due, and are left alone" in out


def test_a_plan_stands_in_the_books(
    run: Run, file: Path, shop: Shop, connection: Connection
) -> None:
    shop.order(age=HOUR)
    plan = planned(run, file)

    run("sweep", "--plan", str(file))
    run("sweep", "--plan", str(file), "--reason", "the owner asked")

    reasons = {row["reason"] for row in rows(connection, "sweeper.sweep")}
    assert reasons == {f"plan {plan['sweep_id']}", "the owner asked"}


def test_a_plan_carries_the_answer_to_the_brake(run: Run, file: Path, shop: Shop) -> None:
    """L7: a person has seen every order in it."""
    limited = {"SWEEPER_SAFETY__MAX_PER_SWEEP": "1"}
    orders = [shop.order(age=HOUR) for _ in range(2)]
    assert run("sweep", "--dry-run", **limited)[0] == 4
    planned(run, file, "--max", "2", **limited)

    code, *_ = run("sweep", "--plan", str(file), **limited)

    assert (code, states(shop, *orders)) == (0, ["cancelled", "cancelled"])


def test_a_plan_may_be_rehearsed_again(run: Run, file: Path, shop: Shop) -> None:
    first = shop.order(age=HOUR)
    planned(run, file)
    shop.order(age=HOUR)

    code, out, _ = run("sweep", "--plan", str(file), "--dry-run", "--json")

    assert (code, json.loads(out)["rules"]["expire_dp"]["orders"]) == (0, [first])


def test_the_layout_of_a_plan_means_nothing(run: Run, file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    plan = planned(run, file)
    file.write_text(json.dumps(dict(sorted(plan.items(), reverse=True))))

    assert run("sweep", "--plan", str(file))[0] == 0
    assert shop.status(order) == "cancelled"


def test_one_rule_s_plan_is_of_that_rule(run: Run, file: Path, shop: Shop) -> None:
    rejected = shop.order(status="awaiting_validation", age=2 * DAY, paid_ago=25 * HOUR)
    shop.order(age=HOUR)
    planned(run, file, "auto_refund")

    _, out, _ = run("sweep", "--plan", str(file), "--json")

    assert list(json.loads(out)["rules"]) == ["auto_refund"]
    assert shop.status(rejected) == "rejected"


def resealed(plan: dict[str, Any], **changes: Any) -> str:
    """Return *plan* with these changes, and whole again."""
    unsealed = {name: value for name, value in plan.items() if name != "checksum"}
    return json.dumps(with_checksum(unsealed | changes))


@pytest.mark.parametrize(
    ("spoilt", "word"),
    [
        (lambda plan: json.dumps(plan)[:-100], "cut off"),
        (lambda plan: json.dumps(plan | {"limit": 7}), "was changed"),
        (lambda _plan: "", "not JSON"),
        (lambda _plan: "[]", "not a valid plan"),
        (lambda plan: json.dumps(plan["rules"]), "not a valid plan"),
        (lambda _plan: json.dumps(with_checksum({"hello": "world"})), "sweep_id"),
        (lambda plan: resealed(plan, dry_run=False), "dry_run"),
        (lambda plan: resealed(plan, rules={"expire": {"orders": []}}), "no rule 'expire'"),
        (lambda plan: resealed(plan, database="7/5"), "another database"),
        (lambda plan: resealed(plan, at=MINUTE_AGO), "safety.max_plan_age"),
        (lambda plan: resealed(plan, at=iso(datetime.now(UTC) + DAY)), "safety.max_plan_age"),
    ],
)
def test_a_plan_that_is_damaged_foreign_or_old_is_refused(
    run: Run, file: Path, shop: Shop, spoilt: Callable[[dict[str, Any]], str], word: str
) -> None:
    """Nothing is touched: a sweep would have left an order and a row in the books."""
    order = shop.order(age=HOUR)
    file.write_text(spoilt(planned(run, file)))

    code, out, err = run("sweep", "--plan", str(file))

    assert (code, out, shop.status(order)) == (2, "", "pending_dp")
    assert word in err
    assert len(err.splitlines()) == 1


def test_a_plan_that_cannot_be_read_is_refused(run: Run, file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    assert run("sweep", "--plan", str(file))[0] == 2
    file.write_bytes(b"\xff\xfe\x00")
    assert run("sweep", "--plan", str(file))[0] == 2
    assert shop.status(order) == "pending_dp"


def test_a_plan_and_a_rule_are_one_too_many(run: Run, file: Path, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    planned(run, file)

    code, _, err = run("sweep", "auto_refund", "--plan", str(file))

    assert (code, shop.status(order)) == (2, "pending_dp")
    assert "leave out RULE" in err
