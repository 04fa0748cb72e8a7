"""Order codes: commands and page show the code beside the id, and accept either of them."""

import csv
import io
import json
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.errors import UsageError
from tests.support.verbs import HOUR, Run, broken, drain, send, sweep
from tests.support.web_client import served

CODE = "JST-EF2E7B-4A"
HOSTILE = "J\x1b[2J\x9b1m\u202eevil\nsweeper: all is well"
SPELLINGS = (CODE, CODE.lower(), f"  {CODE} ", " Jst-ef2e7b-4a\n")


def rejected(app: App, shop: Shop, **columns: Any) -> str:
    """Reject an order with a down payment of Rp 50.000; return its id."""
    order = shop.order(
        status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR, **{"code": CODE} | columns
    )
    sweep(app)
    return order


def dead(app: App, shop: Shop, **columns: Any) -> str:
    """Dead-letter the job of an order; return the order's id."""
    order = shop.order(age=HOUR, **{"code": CODE} | columns)
    with broken(app, "Order"):
        send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
        drain(app)
    return order


def without_unique_codes(connection: Connection) -> None:
    """Drop the platform's constraint, as a database has it that was restored without indexes."""
    connection.execute(text('alter table "Order" drop constraint "Order_orderCode_key"'))


# explain


@pytest.mark.parametrize("typed", SPELLINGS, ids=ascii)
def test_an_order_is_explained_by_its_code(run: Run, shop: Shop, typed: str) -> None:
    order = shop.order(age=HOUR, code=CODE)

    code, out, _ = run("explain", typed)

    assert (0, f"{CODE} ({order})") == (code, out.splitlines()[0])
    assert "expire_dp: due at " in out
    document = json.loads(run("explain", typed, "--json")[1])
    assert (order, CODE, True) == (
        document["key"],
        document["code"],
        document["rules"]["expire_dp"]["due"],
    )


def test_an_order_without_a_code_is_explained_by_its_id(run: Run, shop: Shop) -> None:
    order = shop.order(age=HOUR, code=None)

    code, out, _ = run("explain", order)

    assert (0, order) == (code, out.splitlines()[0])
    assert json.loads(run("explain", order, "--json")[1])["code"] is None


def test_an_order_with_a_blank_code_is_shown_by_its_id_alone(run: Run, shop: Shop) -> None:
    order = shop.order(age=HOUR, code=" ")

    assert order == run("explain", order)[1].splitlines()[0]


def test_an_unknown_code_is_a_usage_error(run: Run, shop: Shop) -> None:
    shop.order(age=HOUR, code=CODE)

    code, out, err = run("explain", "JST-000000-00")

    assert (2, "") == (code, out)
    assert err.startswith(
        "sweeper: there is no order 'JST-000000-00', and nothing was ever decided about it\n"
    )


def test_an_id_wins_over_another_order_s_code(run: Run, shop: Shop) -> None:
    """Programs pass ids, and must get that row whatever codes there are."""
    order = shop.order(age=HOUR)
    shop.order(age=HOUR, code=order)

    assert order == json.loads(run("explain", order, "--json")[1])["key"]


def test_a_code_wins_over_one_that_differs_in_case(run: Run, shop: Shop) -> None:
    upper = shop.order(age=HOUR, code=CODE)
    lower = shop.order(age=HOUR, code=CODE.lower())

    explained = [
        json.loads(run("explain", typed, "--json")[1])["key"] for typed in (CODE, CODE.lower())
    ]

    assert [upper, lower] == explained


def test_a_code_in_small_letters_is_found_in_capitals(run: Run, shop: Shop) -> None:
    order = shop.order(age=HOUR, code=CODE.lower())

    assert order == json.loads(run("explain", CODE, "--json")[1])["key"]


def test_a_code_of_two_orders_is_a_usage_error_that_names_both(
    run: Run, shop: Shop, connection: Connection
) -> None:
    """The platform's column is unique, but secondary indexes are not to be relied on."""
    without_unique_codes(connection)
    ids = sorted(shop.order(age=HOUR, code=CODE) for _ in range(2))

    code, out, err = run("explain", CODE)

    assert (2, "") == (code, out)
    several = f"sweeper: several have the code '{CODE}': {', '.join(ids)}; give one's id"
    assert several == err.splitlines()[0]


def test_a_deleted_order_with_a_refund_is_explained_by_its_code(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    """The refund ledger remembers the code of a row that the platform has deleted."""
    order = rejected(app, shop)
    connection.execute(text('delete from "Order"'))

    code, out, _ = run("explain", CODE)

    assert (0, f"{CODE} ({order})") == (code, out.splitlines()[0])
    assert "the order no longer exists" in out


@pytest.mark.parametrize("typed", ["\udcff", "x" * 99_999, "'; drop table x; --", "%", " "])
def test_any_text_is_looked_up_or_refused(run: Run, shop: Shop, typed: str) -> None:
    shop.order(age=HOUR, code=CODE)
    shop.order(age=HOUR, code=" ")

    code, out, err = run("explain", typed)

    assert (2, "") == (code, out)
    assert err.startswith("sweeper: there is no ")
    assert len(err) < 1_000


def test_a_hostile_code_is_shown_with_visible_controls(run: Run, app: App, shop: Shop) -> None:
    """A code is a stranger's text; it is looked up as any other."""
    order = dead(app, shop, code=HOSTILE)

    printed = [run(*words)[1] for words in (("explain", HOSTILE), ("dead", "list"))]

    assert r"J\x1b[2J\x9b1m\u202eevil\nsweeper: all is well (" in printed[0]
    assert order in printed[0]
    assert r"\x1b[2J" in printed[1]
    assert not any(control in "".join(printed) for control in ("\x1b", "\x9b", "\u202e"))


# refunds


@pytest.mark.parametrize("typed", SPELLINGS, ids=ascii)
def test_a_refund_is_settled_by_the_order_s_code(
    run: Run, app: App, shop: Shop, typed: str
) -> None:
    order = rejected(app, shop)

    code, out, _ = run("refunds", "settle", typed, "--reference", "BCA 1", "--json")

    assert 0 == code
    assert json.loads(out) == {
        "order_id": order,
        "reference": "BCA 1",
        "anew": True,
        "order_code": CODE,
    }
    assert run("refunds", "settle", order, "--reference", "BCA 1")[1] == (
        "it was settled before, with this reference\n"
    )


def test_a_refund_of_a_deleted_order_is_settled_by_its_code(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    rejected(app, shop)
    connection.execute(text('delete from "Order"'))

    assert 0 == run("refunds", "settle", CODE, "--reference", "BCA 1")[0]


def test_a_refund_is_not_settled_by_a_code_of_two_orders(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    """Nobody's money is settled by a guess."""
    without_unique_codes(connection)
    rejected(app, shop)
    shop.order(code=CODE)

    code, _, err = run("refunds", "settle", CODE, "--reference", "BCA 1")

    assert (2, True) == (code, f"several have the code '{CODE}'" in err)
    assert "due" == json.loads(run("refunds", "list", "--json")[1])[0]["state"]


def test_an_existing_order_without_a_refund_is_named_by_code_and_id(run: Run, shop: Shop) -> None:
    order = shop.order(code=CODE)

    code, _, err = run("refunds", "settle", CODE.lower(), "--reference", "BCA 1")

    told = f"sweeper: no refund is recorded for order '{CODE}' ({order})"
    assert (2, told) == (code, err.splitlines()[0])


def test_refunds_show_the_code_first(run: Run, app: App, shop: Shop) -> None:
    order = rejected(app, shop)

    (row,) = csv.reader(io.StringIO(run("refunds", "export")[1].partition("\n")[2]))
    table = run("refunds", "list")[1]

    assert [CODE, order] == row[:2]
    assert 0 < table.index(CODE) < table.index(order)


# dead letters


def test_dead_letters_show_the_code_of_their_order(run: Run, app: App, shop: Shop) -> None:
    order, nameless = dead(app, shop), dead(app, shop, code=None)

    table = run("dead", "list")[1]
    letters = json.loads(run("dead", "list", "--json")[1])
    (shown,) = json.loads(run("dead", "show", str(letters[0]["msg_id"]), "--json")[1])

    assert 0 < table.index(CODE) < table.index(order)
    assert [(order, CODE), (nameless, None)] == [(one["key"], one["code"]) for one in letters]
    assert letters[0] == shown


@pytest.mark.parametrize("typed", [*SPELLINGS, None], ids=ascii)
def test_dead_letters_are_chosen_by_the_order(
    run: Run, app: App, shop: Shop, typed: str | None
) -> None:
    other, order = dead(app, shop, code=None), dead(app, shop)
    option = ("--order", typed or order)

    listed = json.loads(run("dead", "list", *option, "--json")[1])
    shown = json.loads(run("dead", "show", *option, "--json")[1])
    retried = json.loads(run("dead", "retry", *option, "--json")[1])["retried"]

    assert [order] == [one["key"] for one in listed] == [one["key"] for one in shown]
    assert [listed[0]["msg_id"]] == retried
    assert [other] == [one["key"] for one in json.loads(run("dead", "list", "--json")[1])]
    assert 0 == run("dead", "drop", "--order", other)[0]


@pytest.mark.parametrize("command", ["list", "show", "retry", "drop"])
def test_dead_letters_of_an_unknown_order_are_a_usage_error(
    run: Run, app: App, shop: Shop, command: str
) -> None:
    dead(app, shop)

    code, out, err = run("dead", command, "--order", "JST-000000-00")

    assert (2, "") == (code, out)
    told = "sweeper: there is no order 'JST-000000-00', and no dead letter about it"
    assert told == err.splitlines()[0]


def test_an_existing_order_without_dead_letters_is_no_error(run: Run, shop: Shop) -> None:
    shop.order(code=CODE)

    assert (0, "[]\n") == run("dead", "list", "--order", CODE, "--json")[:2]


def test_dead_letters_of_a_deleted_order_are_chosen_by_its_id(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    order = dead(app, shop)
    connection.execute(text('delete from "Order"'))

    assert order == json.loads(run("dead", "list", "--order", order, "--json")[1])[0]["key"]


# dry runs


def test_a_dry_run_shows_codes_first(run: Run, shop: Shop) -> None:
    order = shop.order(age=HOUR, code=CODE)
    anomaly = shop.order(age=HOUR, code="JST-ABC123-XY", dp_proof_url="https://example.com/1.jpg")

    out = run("sweep", "--dry-run")[1]

    titles = ("due: 1", "orders: 1", "notices: 1")
    for part in (out[out.index(title) :] for title in titles):
        assert 0 < part.index(CODE) < part.index(order)
    assert 0 < out.index("JST-ABC123-XY") < out.index(anomaly)


def test_a_dry_run_s_document_has_codes_beside_keys(app: App, shop: Shop) -> None:
    """DESIGN 4: every key that was there before stays, and `orders` holds ids."""
    order, nameless = shop.order(age=2 * HOUR, code=CODE), shop.order(age=HOUR, code=None)
    anomaly = shop.order(age=HOUR, code="JST-ABC123-XY", dp_proof_url="https://example.com/1.jpg")

    document = sweep(app, dry_run=True).as_json()
    rule = document["rules"]["expire_dp"]

    assert [order, nameless] == rule["orders"]
    assert [(order, CODE), (nameless, None)] == [(one["key"], one["code"]) for one in rule["due"]]
    assert [(anomaly, "JST-ABC123-XY")] == [(one["key"], one["code"]) for one in rule["left_alone"]]
    assert {(order, CODE), (nameless, None)} == {
        (one["order_id"], one["order_code"]) for one in document["effects"]["notices"]
    }


def test_the_codes_of_many_keys_are_one_statement(app: App, shop: Shop) -> None:
    prefix = shop.many(999, age=HOUR)
    ids = [f"{prefix}{number:08}" for number in range(1, 1_000)]
    statements: list[str] = []

    with app.database.transaction() as tx:
        event.listen(tx, "before_cursor_execute", lambda *args: statements.append(args[2]))
        codes = app.catalog.codes.of(tx, [*ids, None, "nix"])

    assert (set(ids), 1) == (set(codes), len(statements))


def test_a_lookup_uses_the_platform_s_indexes(app: App, shop: Shop, connection: Connection) -> None:
    """On a table of ten million rows, a person does not wait for a scan of it."""
    shop.many(3_000, age=HOUR)
    connection.execute(text("analyze"))
    statements: list[tuple[str, Any]] = []

    with app.database.transaction() as tx:
        event.listen(tx, "before_cursor_execute", lambda *args: statements.append(args[2:4]))
        app.catalog.codes.find(tx, CODE)
        app.catalog.codes.of(tx, ["x", "y"])
        asked = statements[:]
        plans = [tx.exec_driver_sql(f"explain {one}", by).scalars().all() for one, by in asked]

    assert 2 == len(plans)
    assert not [line for plan in plans for line in plan if 'Seq Scan on "Order"' in line]


# The page.


def test_the_page_shows_codes_before_ids(app: App, shop: Shop) -> None:
    buried = dead(app, shop, code="JST-DEAD00-01")
    late = shop.order(age=HOUR, code=CODE)
    anomaly = shop.order(age=HOUR, code="JST-ABC123-XY", dp_proof_url="https://example.com/1.jpg")
    nameless = shop.order(age=HOUR, code=None)

    with served(app) as site:
        page = site.get("/").text

    assert f'<td class="key"><a href="/orders/{late}">{CODE} <small>{late}</small></a></td>' in page
    assert f'<a href="/orders/{anomaly}">JST-ABC123-XY <small>{anomaly}</small></a>' in page
    assert f'<td class="key"><a href="/orders/{nameless}">{nameless}</a></td>' in page
    assert f"JST-DEAD00-01 <small>{buried}</small>" in page[page.index("Dead letters") :]


def test_text_that_no_database_holds_is_no_code(app: App) -> None:
    with app.database.transaction() as tx, pytest.raises(UsageError):
        app.catalog.codes.find(tx, "x\x00y")
