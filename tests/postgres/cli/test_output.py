"""The output and the exit codes of `explain`, `audit`, `doctor` and `grants`."""

import re

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, Run, broken, scan, sweep


def test_explain_prints_why_an_order_is_due(run: Run, shop: Shop) -> None:
    order = shop.order(age=HOUR, code="JST-EF2E7B-4A")

    code, out, _ = run("explain", order)

    assert (0, 2) == (code, out.count("\n  yes") - out.count("\n  no "))
    assert f"JST-EF2E7B-4A ({order})" == out.splitlines()[0]
    assert "expire_dp: due at " in out
    assert "auto_refund: not due at " in out


def test_explain_prints_what_a_waiting_job_raised_and_when_it_is_tried_again(
    run: Run, app: App, shop: Shop
) -> None:
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)

    code, out, _ = run("explain", order)

    end = out[out.index("now: ") :]
    assert (0, True) == (code, "it has failed once with: " in end)
    assert "out of order" in end
    assert re.search(r"it is tried again in [345] s", end)
    assert "sweeper drain" in end
    assert "after it has failed." in out.splitlines()[1]


def test_explain_says_nothing_of_failures_where_there_was_none(
    run: Run, app: App, shop: Shop
) -> None:
    order = shop.order(age=HOUR)
    scan(app)

    _, out, _ = run("explain", order)

    assert "waits in jastipin_jobs" in out
    assert not re.search("failed|tried again|sweeper drain", out)


def test_explain_prints_the_facts_about_a_deleted_order(run: Run, app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    sweep(app)
    shop._connection.execute(text('delete from "Order"'))

    code, out, _ = run("explain", order)

    assert (0, True) == (code, "the order no longer exists" in out)
    assert "ORDER_EXPIRE_DP done at attempt 1" in out


def test_explain_of_an_unknown_order_is_a_usage_error(run: Run) -> None:
    code, out, err = run("explain", "nix")

    assert (2, "") == (code, out)
    assert err.startswith(
        "sweeper: there is no order 'nix', and nothing was ever decided about it\n"
    )


def test_audit_prints_that_the_ledger_balances(run: Run, app: App, shop: Shop) -> None:
    shop.order(age=HOUR)
    sweep(app)

    code, out, _ = run("audit")

    assert (0, True) == (code, "no job lost or done twice" in out)


def test_audit_reports_a_lost_job_and_exits_with_1(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    """L8: the lost job is printed, and logged as the event job.lost."""
    order = shop.order(age=HOUR)
    scan(app)
    connection.execute(text("delete from pgmq.q_jastipin_jobs"))

    code, out, err = run("audit", SWEEPER_LOG__FORMAT="json")

    assert (1, True, True) == (code, order in out, '"event": "job.lost"' in err)


def test_doctor_exits_with_0_when_there_are_only_warnings(run: Run) -> None:
    code, out, _ = run("doctor")

    assert (0, True) == (code, "sweeper_expire_dp is missing" in out)


@pytest.mark.parametrize(
    ("variables", "code"),
    [
        ({"SWEEPER_STOCK__TAKEN_AT": ""}, 78),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, 69),
    ],
)
def test_doctor_exits_as_the_other_commands_would(
    run: Run, variables: dict[str, str], code: int
) -> None:
    assert code == run("doctor", "--json", **variables)[0]


def test_doctor_reports_a_missing_table_and_exits_with_69(run: Run, connection: Connection) -> None:
    connection.execute(text('drop table "Guest" cascade'))

    code, out, _ = run("doctor")

    assert (69, True) == (code, "tables are missing: Guest" in out)


def test_grants_prints_sql_statements(run: Run) -> None:
    code, out, _ = run("grants", "sweeper login")

    assert 0 == code
    assert {'to "sweeper login";'} == {line[-19:] for line in out.splitlines()}


def test_status_and_dead_list_print_tables(run: Run, app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)
    dead = run("dead", "list")
    status = run("status")

    assert (0, 0) == (dead[0], status[0])
    assert "No dead letters." in dead[1]
    assert "jastipin_jobs_outbound" in status[1]
    assert order not in status[1]
