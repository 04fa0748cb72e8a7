"""A scan beside deep queues: its cost follows what is due, and it leaves out what waits already."""

import json

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.queue import waiting
from sweeper.sweep.scan import ScanResult
from tests.support.depth import fill_dead_letters, fill_queue, rows_read
from tests.support.verbs import DEAD, HIGH, HOUR, LOW, OUTBOUND, QUEUE, scan, send, send_raw

TYPE = "ORDER_EXPIRE_DP"
DEEP = 50_000


@pytest.fixture(params=[True, False], ids=["with indexes", "without"])
def indexes(request: pytest.FixtureRequest, app: App) -> None:
    """Create the indexes, or do not."""
    if request.param:
        app.migrate(with_indexes=True)


both_ways = pytest.mark.usefixtures("indexes")


def counts(found: ScanResult) -> tuple[int, int, int, int]:
    return found.found, found.enqueued, found.already_queued, found.dead


def test_a_scan_reads_what_is_due_and_not_what_is_queued(
    app: App, shop: Shop, connection: Connection
) -> None:
    """With the indexes, and with statistics that know of no message."""
    app.migrate(with_indexes=True)
    fill_queue(connection, DEEP)
    fill_queue(connection, DEEP, queue=LOW, vt="now() + interval '1 minute'")
    fill_dead_letters(connection, DEEP)
    _, queued, dead = (shop.order(age=HOUR) for _ in range(3))
    send(app, TYPE, {"orderId": queued}, queue=LOW)
    send_raw(app, json.dumps({"type": TYPE, "key": dead}), queue=DEAD)
    found: list[ScanResult] = []

    read = rows_read(connection, app, lambda: found.append(scan(app)))

    assert [(3, 1, 1, 1)] == [counts(one) for one in found]
    assert {} == {name: rows for name, rows in read.items() if rows > 100}


@both_ways
def test_every_form_of_a_message_counts_with_and_without_the_indexes(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: whichever way the scan looks, it finds the same jobs that wait."""
    orders = iter([shop.order(age=HOUR) for _ in range(10)])
    body = {"type": TYPE, "payload": {"orderId": next(orders)}}
    send_raw(app, json.dumps(json.dumps(body)), queue=HIGH)
    send(app, TYPE, json.dumps({"orderId": next(orders)}), queue=LOW)
    send(app, TYPE, {"order_id": next(orders)}, queue=OUTBOUND)
    send(app, TYPE, {"orderIds": [next(orders), next(orders)], "orderId": next(orders)})
    send(app, TYPE, json.dumps({"orderIds": [next(orders)]}))
    other_type, hidden, _ = orders
    send(app, "ORDER_AUTO_REFUND", {"orderId": other_type})
    send(app, TYPE, {"orderId": hidden}, queue=HIGH)
    connection.execute(text(f"update pgmq.q_{HIGH} set vt = 'infinity' where msg_id = 2"))
    for raw in (None, "5", "[]", '"{"', '{"type": 5}', json.dumps({"type": TYPE, "payload": 7})):
        send_raw(app, raw)

    assert (10, 3, 7, 0) == counts(scan(app))


@both_ways
def test_an_order_whose_id_stands_for_a_list_in_the_index_is_found(app: App, shop: Shop) -> None:
    """Its own message counts, and a list in which it is not does not."""
    shop.order(age=HOUR, id="*")
    send(app, TYPE, {"orderIds": ["another"]})

    assert (1, 1, 0, 0) == counts(scan(app))
    assert (1, 0, 1, 0) == counts(scan(app))


@both_ways
def test_very_many_due_orders_are_compared_with_the_whole_queue(
    app: App, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "LOOKED_UP", 2)
    orders = [shop.order(age=HOUR) for _ in range(4)]
    send(app, TYPE, {"orderId": orders[0]})
    send_raw(app, json.dumps({"type": TYPE, "key": orders[1]}), queue=DEAD)

    assert (4, 2, 1, 1) == counts(scan(app))


def test_the_indexes_refuse_no_message(app: App) -> None:
    """Whatever anybody sends can be sent: it is judged when it is read."""
    app.migrate(with_indexes=True)

    for key in ("k" * 100_000, 5, None, ["list"], {"a": "b"}):
        for body in ({"type": TYPE, "payload": {"orderId": key}}, {"key": key, "payload": key}):
            for queue in (QUEUE, DEAD):
                send_raw(app, json.dumps(body), queue=queue)
                send_raw(app, json.dumps(json.dumps(body)), queue=queue)


def test_an_index_that_is_left_of_a_failed_creation_is_not_relied_on(
    app: App, shop: Shop, connection: Connection
) -> None:
    """The queues are read once in whole, rather than once for each key."""
    app.migrate(with_indexes=True)
    fill_queue(connection, 1_000)
    send(app, TYPE, {"orderId": shop.order(age=HOUR)})
    shop.many(19, age=HOUR)
    connection.execute(
        text(
            "update pg_index set indisvalid = false where indexrelid in"
            " (select oid from pg_class where relname like 'sweeper\\_key\\_%')"
        )
    )
    found: list[ScanResult] = []

    read = rows_read(connection, app, lambda: found.append(scan(app)))

    assert [(20, 19, 1, 0)] == [counts(one) for one in found]
    assert {} == {name: rows for name, rows in read.items() if rows > 3_000}
