"""`sweeper find` and the search on the page: what a text means, and what was tried."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.errors import UsageError
from sweeper.monitoring.about import search
from sweeper.monitoring.about import sweep as one_sweep
from sweeper.monitoring.about.search import Found, Search
from sweeper.monitoring.about.sweep import Scan, SweepReader
from tests.support.verbs import (
    DEAD,
    HOUR,
    OUTBOUND,
    QUEUE,
    OpenApp,
    Run,
    broken,
    drain,
    scan,
    send,
    send_raw,
    sweep,
)

PHONE = "0812-3456-7890"


def find(app: App, typed: str) -> Found:
    """Look for a text."""
    return Search(app.database, app.queues, app.catalog).find(typed)


def hits(app: App, typed: str) -> list[tuple[str, str]]:
    """Return the kind and the id of every hit."""
    return [(hit.kind, hit.id) for hit in find(app, typed).hits]


def read(app: App, sweep_id: str) -> list[Scan]:
    """Return the scans of a sweep."""
    return SweepReader(app.database, app.queues, app.catalog).read(sweep_id)


def last_sweep(connection: Connection) -> str:
    """Return the id of the latest sweep."""
    query = text("select cast(id as text) from sweeper.sweep order by at desc limit 1")
    return str(connection.execute(query).scalar_one())


@pytest.mark.parametrize("typed", ["JST-EF2E7B-4A", " jst-ef2e7b-4a\n"])
def test_an_order_is_found_by_its_code(app: App, shop: Shop, typed: str) -> None:
    order = shop.order(code="JST-EF2E7B-4A")

    (hit,) = find(app, typed).hits

    assert ("key", order, "JST-EF2E7B-4A") == (hit.kind, hit.id, hit.code)
    assert [("key", order)] == hits(app, order)


def test_every_order_with_a_code_is_found(app: App, shop: Shop, connection: Connection) -> None:
    connection.execute(text('alter table "Order" drop constraint "Order_orderCode_key"'))
    orders = sorted(shop.order(code="TWICE") for _ in range(2))

    assert [("key", order) for order in orders] == hits(app, "TWICE")


def test_a_key_that_only_a_job_names_is_found(app: App, shop: Shop, connection: Connection) -> None:
    """The platform has deleted the row, or never had it."""
    swept, waiting = shop.order(age=HOUR), "waiting/1"
    sweep(app)
    send(app, "ORDER_EXPIRE_DP", {"orderId": waiting})
    send_raw(app, json.dumps({"key": "dead 1", "reason": "exhausted"}), queue=DEAD)
    connection.execute(text('delete from "Order"'))

    assert [("key", swept)] == hits(app, swept)
    assert [("key", waiting)] == hits(app, waiting)
    assert [("key", "dead 1")] == hits(app, "dead 1")


def test_a_live_message_leads_to_its_order_in_every_queue_that_has_the_number(
    app: App, shop: Shop
) -> None:
    order, other = shop.order(), shop.order()
    assert 1 == send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    notice = {"messageId": "n1", "metadata": {"orderId": other}}
    assert 1 == send(app, "NOTIFICATION_SEND_WHATSAPP", notice, queue=OUTBOUND)

    found = find(app, "1")

    assert [("key", order), ("key", other)] == [(hit.kind, hit.id) for hit in found.hits]
    assert [f"message 1 in {QUEUE}", f"message 1 in {OUTBOUND}"] == [
        hit.what.partition(":")[0] for hit in found.hits
    ]


@pytest.mark.parametrize("raw", [None, '"x"', "{}", '{"type": "NIX"}', "[1]"])
def test_a_live_message_that_names_no_key_is_told(app: App, raw: str | None) -> None:
    msg_id = send_raw(app, raw)

    assert [("message", f"{QUEUE} {msg_id}")] == hits(app, str(msg_id))


def test_a_live_message_of_several_keys_is_told(app: App) -> None:
    msg_id = send(app, "ORDER_EXPIRE_DP", {"orderIds": ["a", "b"]})

    (hit,) = find(app, str(msg_id)).hits

    assert ("message", True) == (hit.kind, hit.what.endswith("of 2 keys"))


def test_a_dead_letter_and_a_message_that_ended_are_found_by_number(
    open_app: OpenApp, shop: Shop
) -> None:
    app = open_app(retry__max_retries=0)
    order = shop.order(age=HOUR)
    with broken(app, "Order"):
        sweep(app)

    assert [("letter", "1"), ("key", order)] == hits(app, "1")


def test_old_endings_are_not_searched_for_a_number(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "ENDINGS", 1)
    shop.order(age=HOUR)
    sweep(app)
    shop.order(age=HOUR)
    sweep(app)

    found = find(app, "1")

    assert "numbers of messages among the latest 1 that ended" in found.tried
    assert [] == [hit for hit in found.hits if "ORDER_EXPIRE_DP" in hit.what]


def test_a_sweep_is_found_by_its_id(app: App, shop: Shop, connection: Connection) -> None:
    shop.order(age=HOUR)
    sweep(app)
    sweep_id = last_sweep(connection)

    assert [("sweep", sweep_id)] == hits(app, sweep_id) == hits(app, f" {sweep_id.upper()} ")


@pytest.mark.parametrize("typed", ["7890", "890", "…7890", "...7890", "6281****890", PHONE])
def test_an_order_is_found_by_the_ending_of_its_buyer_s_phone(
    app: App, shop: Shop, typed: str
) -> None:
    order = shop.order(age=HOUR, participant=shop.participant(phone=PHONE))
    shop.order(age=HOUR, participant=shop.participant(phone="+62 811 0000 1111"))
    sweep(app)

    found = find(app, typed)

    assert [("key", order)] == [(hit.kind, hit.id) for hit in found.hits]
    assert PHONE not in str(found.hits)


@pytest.mark.parametrize("typed", ["67890", "0", "90", "812345", "x7890"])
def test_no_more_and_no_fewer_digits_of_a_phone_are_compared(
    app: App, shop: Shop, typed: str
) -> None:
    """L11: who may only read cannot try out, digit by digit, what the mask hides."""
    shop.order(age=HOUR, participant=shop.participant(phone=PHONE))
    sweep(app)

    assert [] == hits(app, typed)


def test_a_guest_s_order_that_waits_is_found_by_the_phone(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR, participant=None, guest=shop.guest(phone="0811 222 3333"))
    scan(app)

    assert [("key", order)] == hits(app, "3333")


def test_phones_of_orders_that_were_not_swept_lately_are_not_searched(app: App, shop: Shop) -> None:
    """The platform's table is never read in whole."""
    shop.order(participant=shop.participant(phone=PHONE))

    found = find(app, "7890")

    assert ((), True) == (
        tuple(found.hits),
        "endings of buyers' phones, of orders that were lately swept" in found.tried,
    )


def test_many_hits_are_cut(app: App, shop: Shop) -> None:
    shop.many(30, age=HOUR)
    connection = shop._connection
    connection.execute(text("""update "Participant" set phone = '0811 222 3333'"""))
    sweep(app)

    assert 20 == len(hits(app, "3333"))


@pytest.mark.parametrize(
    "typed", ["nix", "%", "'; drop table x; --", "\u202e", "<img src=x>", "99999999999999999999"]
)
def test_what_is_not_found_says_what_was_tried(run: Run, shop: Shop, typed: str) -> None:
    shop.order(age=HOUR)

    code, out, err = run("find", typed)

    assert (0, "") == (code, err)
    assert "Nothing is found by " in out
    assert "ids and codes" in out


@pytest.mark.parametrize("typed", ["", "  ", "x" * 501, "x\0y", "\udcff"])
def test_what_is_no_text_to_look_for_is_refused(app: App, typed: str) -> None:
    with pytest.raises(UsageError):
        find(app, typed)


# One sweep.


def test_a_sweep_shows_what_became_of_each_job(
    app: App, shop: Shop, connection: Connection
) -> None:
    done, paid, waits = (
        shop.order(age=3 * HOUR, code="JST-1"),
        shop.order(age=2 * HOUR),
        shop.order(age=HOUR),
    )
    scan(app, actor="ratih", reason="weekend")
    connection.execute(text("update \"Order\" set status = 'paid' where id = :id"), {"id": paid})
    hidden = text(
        f"update pgmq.q_{QUEUE} set vt = now() + interval '9 s'"
        " where message->'payload'->>'orderId' = :id"
    )
    connection.execute(hidden, {"id": waits})
    drain(app)

    (found,) = read(app, last_sweep(connection))

    assert ("expire_dp", "ratih", "weekend", 3, 3, 0) == (
        found.rule,
        found.actor,
        found.reason,
        found.found,
        found.enqueued,
        found.left_out,
    )
    assert [(done, "done"), (paid, "skipped"), (waits, None)] == [
        (job.key, job.outcome) for job in found.jobs
    ]
    assert "JST-1" == found.jobs[0].code
    assert found.jobs[2].what.startswith("is tried again at ")


def test_a_job_that_was_lost_is_told(app: App, shop: Shop, connection: Connection) -> None:
    """L2: it neither ended nor waits."""
    shop.order(age=HOUR)
    scan(app)
    connection.execute(text(f"delete from pgmq.q_{QUEUE}"))

    (found,) = read(app, last_sweep(connection))

    assert ["neither ended nor waiting: sweeper audit tells"] == [job.what for job in found.jobs]


def test_a_large_sweep_shows_its_first_jobs(
    app: App, shop: Shop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_sweep, "MOST", 2)
    shop.many(5, age=HOUR)
    scan(app)

    (found,) = read(app, last_sweep(connection))

    assert (2, 3) == (len(found.jobs), found.left_out)


def test_the_command_shows_the_sweep_that_it_finds(
    run: Run, app: App, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR, code="JST-1")
    sweep(app, "expire_dp", actor="ratih")
    sweep_id = last_sweep(connection)

    code, out, _ = run("find", sweep_id)
    document: dict[str, Any] = json.loads(run("find", sweep_id, "--json")[1])

    assert (0, True) == (code, "expire_dp" in out and order in out and "ratih" in out)
    assert ["sweep"] == [hit["kind"] for hit in document["hits"]]
    (job,) = document["scans"][0]["jobs"]
    assert (order, "JST-1", "done") == (job["key"], job["code"], job["outcome"])


def test_a_sweep_that_never_was_has_no_scans(app: App) -> None:
    assert [] == read(app, "00000000-0000-0000-0000-000000000000")
