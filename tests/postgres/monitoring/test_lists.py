"""The lists: filtered by each field, and paged exactly while rows come and go."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.errors import UsageError
from sweeper.monitoring import list_page, waiting_list
from sweeper.monitoring.list_page import Page, Wanted
from sweeper.monitoring.lists import ListReader
from sweeper.monitoring.waiting_list import WaitingList
from tests.support.depth import fill_ledger, fill_queue, fill_refunds
from tests.support.verbs import DAY, HIGH, HOUR, MINUTE, OUTBOUND, QUEUE, send, send_raw

Read = Callable[[Wanted], Page]


@pytest.fixture
def reader(app: App) -> ListReader:
    """Return a reader of the lists."""
    return ListReader(app.database, app.catalog, app.older_than)


@pytest.fixture
def waiting(app: App) -> WaitingList:
    """Return the list of the messages that wait."""
    return WaitingList(app.database, app.queues, app.catalog)


def walk(read: Read, wanted: Wanted, between: Callable[[], Any] = lambda: None) -> list[Any]:
    """Return the rows of all pages, with something done *between* two of them."""
    rows: list[Any] = []
    for _ in range(99):
        page = read(wanted)
        rows += page.rows
        if page.next is None:
            return rows
        between()
        wanted = replace(wanted, before=page.next)
    pytest.fail("the list does not end")


def place(row: Any) -> tuple[str, int]:
    """Return the place of a message."""
    return row["queue"], row["msg_id"]


# Messages.


def test_messages_are_paged_through_all_queues(app: App, waiting: WaitingList) -> None:
    """Each queue's newest first, and none is shown twice."""
    sent = {
        queue: [send(app, "ORDER_EXPIRE_DP", {"orderId": f"{n}"}, queue=queue) for n in range(5)]
        for queue in (HIGH, QUEUE, OUTBOUND)
    }
    expected = [(queue, one) for queue, ids in sent.items() for one in reversed(ids)]

    assert expected == [*map(place, walk(waiting.read, Wanted(limit=2)))]
    assert expected == [*map(place, walk(waiting.read, Wanted(limit=5)))]
    assert expected == [*map(place, walk(waiting.read, Wanted()))]
    assert 15 == waiting.read(Wanted(limit=1)).total


def test_pages_are_exact_while_messages_come_and_go(
    app: App, waiting: WaitingList, connection: Connection
) -> None:
    ids = [send(app, "ORDER_EXPIRE_DP", {"orderId": f"{n}"}) for n in range(9)]

    def between() -> None:
        send(app, "ORDER_EXPIRE_DP", {"orderId": "new"})
        connection.execute(text(f"delete from pgmq.q_{QUEUE} where msg_id = {ids[0]}"))

    assert ids[:0:-1] == [row["msg_id"] for row in walk(waiting.read, Wanted(limit=3), between)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted({"queue": OUTBOUND}), [3]),
        (Wanted({"type": "ORDER_AUTO_REFUND"}), [1]),
        (Wanted({"type": "-"}), [4]),
        (Wanted(key="b"), [1]),
        (Wanted(key="-"), [3, 4]),
        (Wanted(older=HOUR), [0]),
        (Wanted(newer=HOUR), [1, 2, 3, 4]),
        (Wanted({"type": "ORDER_EXPIRE_DP", "queue": QUEUE}, key="c"), [2]),
        (Wanted({"type": "ORDER_AUTO_REFUND"}, key="c"), []),
        (Wanted(key="*"), []),
    ],
    ids=str,
)
def test_messages_are_filtered_by_each_field(
    app: App, waiting: WaitingList, connection: Connection, wanted: Wanted, expected: list[int]
) -> None:
    """Also those that nobody can read, and those that list several keys."""
    app.migrate(with_indexes=True)
    names = [
        (QUEUE, send(app, "ORDER_EXPIRE_DP", {"orderId": "a"})),
        (QUEUE, send(app, "ORDER_AUTO_REFUND", {"orderId": "b"})),
        (QUEUE, send(app, "ORDER_EXPIRE_DP", {"order_id": "c"})),
        (OUTBOUND, send(app, "ORDER_EXPIRE_DP", {"orderIds": ["a", "b"]}, queue=OUTBOUND)),
    ]
    send_raw(app, "[7]")
    names.append((QUEUE, max(row["msg_id"] for row in waiting.read(Wanted()).rows)))
    connection.execute(
        text(f"update pgmq.q_{QUEUE} set enqueued_at = now() - interval '2 h' where msg_id = 1")
    )

    page = waiting.read(wanted)

    assert {names[number] for number in expected} == {place(row) for row in page.rows}
    assert len(expected) == page.total


def test_a_message_says_in_which_state_it_is(
    app: App, waiting: WaitingList, connection: Connection
) -> None:
    for vt in ("now()", "now() + interval '1 min'", "now() + interval '9 days'"):
        fill_queue(connection, 1, vt)
    send(app, "ORDER_EXPIRE_DP", {"orderId": "read"}, retryCount=2)
    update = "update pgmq.q_{} set read_ct = 1, vt = now() + interval '30 s' where msg_id = 4"
    connection.execute(text(update.format(QUEUE)))

    rows = waiting.read(Wanted()).rows

    assert ["in work", "hidden", "later", "ready"] == [row["state"] for row in rows]
    assert [2, 0, 0, 0] == [row["retries"] for row in rows]


@pytest.mark.parametrize("before", ["x", f"{QUEUE},x", "nowhere,7", f"{QUEUE},7,8", ""])
def test_a_place_that_no_page_gave_is_refused(waiting: WaitingList, before: str) -> None:
    with pytest.raises(UsageError):
        waiting.read(Wanted(before=before))


def test_messages_that_were_not_looked_through_are_told(
    waiting: WaitingList, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting_list, "MOST_SEARCHED", 5)
    fill_queue(connection, 9)

    found = waiting.read(Wanted({"type": "ORDER_EXPIRE_DP"}))

    assert (5, "messages behind the newest 5 of each queue") == (found.total, found.left_out)
    assert (9, "") == (waiting.read(Wanted()).total, waiting.read(Wanted()).left_out)


# Sweeps.


def test_sweeps_are_paged_exactly_also_where_times_are_equal(
    reader: ListReader, connection: Connection
) -> None:
    fill_ledger(connection, 30)
    connection.execute(text("update sweeper.sweep set at = date_trunc('month', at)"))
    listing = reader.sweeps()

    rows = walk(lambda wanted: reader.read(listing, wanted), Wanted(limit=4))

    assert 30 == len({row["id"] for row in rows}) == len(rows)
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)


def test_sweeps_are_filtered(reader: ListReader, connection: Connection) -> None:
    fill_ledger(connection, 10)
    newest = "(select id from sweeper.sweep order by at desc limit 1)"
    connection.execute(text(f"update sweeper.sweep set ok = false where id = {newest}"))
    listing = reader.sweeps()

    def count(**wanted: Any) -> int:
        ages = {name: wanted.pop(name) for name in ("older", "newer") if name in wanted}
        return len(reader.read(listing, Wanted(wanted, **ages)).rows)

    assert (10, 0) == (count(rule="expire_dp"), count(rule="auto_refund"))
    assert (1, 9, 0) == tuple(count(outcome=one) for one in ("braked", "found", "quiet"))
    assert (10, 0) == (count(trigger="schedule"), count(trigger="manual"))
    assert (5, 5) == (count(older=44 * DAY), count(newer=44 * DAY))


def test_a_rare_sweep_is_found_by_going_on(
    reader: ListReader, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows that were looked through end a page; the next one goes on behind them."""
    monkeypatch.setattr(list_page, "MOST_SEARCHED", 4)
    fill_ledger(connection, 10)
    oldest = "(select id from sweeper.sweep order by at limit 1)"
    connection.execute(text(f"update sweeper.sweep set ok = false where id = {oldest}"))
    listing = reader.sweeps()
    wanted = Wanted({"outcome": "braked"})

    first = reader.read(listing, wanted)

    assert ([], "rows behind the newest 4") == (first.rows, first.left_out)
    assert 1 == len(walk(lambda one: reader.read(listing, one), wanted))


@pytest.mark.parametrize("before", ["x", "a,b,c", "2026-01-01,b,c", "7", "a%00,b,c"])
def test_a_place_that_is_none_of_the_list_is_refused(reader: ListReader, before: str) -> None:
    with pytest.raises(UsageError):
        reader.read(reader.sweeps(), Wanted(before=before))


# What rules find, and what they leave alone.


def test_all_overdue_rows_are_listed(reader: ListReader, shop: Shop) -> None:
    orders = [shop.order(age=HOUR + n * MINUTE) for n in range(7)]
    shop.order(age=MINUTE)
    listing = reader.overdue("expire_dp")

    rows = walk(lambda wanted: reader.read(listing, wanted), Wanted(limit=2))

    assert orders == [row["order_id"] for row in rows]
    assert 7 == reader.read(listing, Wanted(limit=1)).total
    assert orders[3:4] == [
        row["order_id"] for row in reader.read(listing, Wanted(key=orders[3])).rows
    ]


def test_all_anomalies_are_listed(reader: ListReader, shop: Shop) -> None:
    proof = "https://example.com/dp.jpg"
    orders = {shop.order(age=HOUR, dp_proof_url=proof, id=f"a,{n}%2C") for n in range(5)}
    listing = reader.anomalies("expire_dp")

    rows = walk(lambda wanted: reader.read(listing, wanted), Wanted(limit=2))

    assert (orders, 5) == ({row["key"] for row in rows}, len(rows))
    assert {"pending_dp with evidence of payment"} == {row["reason"] for row in rows}
    with pytest.raises(UsageError, match="there is no rule"):
        reader.anomalies("nothing")


# The lists of job files.


def test_refunds_are_listed_filtered_and_paged(reader: ListReader, connection: Connection) -> None:
    """L11: no phone is in a row."""
    fill_refunds(connection, 300)
    connection.execute(text("update sweeper.refund set buyer_phone = '081234567890'"))
    listing = reader.catalog.listing("refunds")

    rows = walk(lambda wanted: reader.read(listing, wanted), Wanted(limit=90))
    due = reader.read(listing, Wanted({"state": "due"}))
    one = reader.read(listing, Wanted(key="refund-7"))

    assert 300 == len({row["order_id"] for row in rows}) == len(rows)
    assert (3, {"due"}) == (due.total, {row["state"] for row in due.rows})
    assert ["CODE-7"] == [row["code"] for row in one.as_json()["rows"]]
    assert "buyer_phone" not in rows[0]
    assert 0 == reader.read(listing, Wanted(older=HOUR)).total


def test_a_long_list_is_counted_to_a_bound(
    reader: ListReader, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(list_page, "MOST_COUNTED", 7)
    fill_refunds(connection, 10)

    page = reader.read(reader.catalog.listing("refunds"), Wanted())

    assert (7, 10, True) == (page.total, len(page.rows), page.as_json()["capped"])
    assert json.dumps(page.as_json(), default=str)
