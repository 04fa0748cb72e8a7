"""Messages that become visible later than any of ours: no scan waits for them, and all is told."""

import json
from typing import Any

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.monitoring.health import Health
from sweeper.monitoring.prometheus import exposition
from sweeper.monitoring.stats import Stats
from tests.support.verbs import (
    DAY,
    HOUR,
    MINUTE,
    OUTBOUND,
    QUEUE,
    OpenApp,
    Run,
    drain,
    scan,
    send,
    sweep,
)

TYPE = "ORDER_EXPIRE_DP"
IN_TEN_YEARS = "now() + interval '10 years'"


def hide(
    connection: Connection,
    orders: list[str],
    vt: str = IN_TEN_YEARS,
    read: int = 0,
) -> int:
    """Insert a message as a role can that may only insert; return its id."""
    body = json.dumps({"type": TYPE, "payload": {"orderIds": orders}})
    insert = text(
        f"insert into pgmq.q_{QUEUE} (vt, read_ct, message)"
        f" values ({vt}, {read}, cast(:body as jsonb)) returning msg_id"
    )
    return int(connection.execute(insert, {"body": body}).scalar_one())


def told(lines: list[Any]) -> list[tuple[int, list[str]]]:
    return [(one["count"], one["messages"]) for one in lines if one["event"] == "message.hidden"]


@pytest.mark.parametrize("read", [0, 1], ids=["delayed", "as if in flight"])
@pytest.mark.parametrize("vt", [IN_TEN_YEARS, "'infinity'"])
def test_a_message_that_is_visible_in_ten_years_keeps_no_order_out_of_the_scans(
    *, app: App, shop: Shop, connection: Connection, vt: str, read: int
) -> None:
    """L2: whoever may insert messages cannot hide a due order from the sweeper."""
    orders = [shop.order(age=HOUR) for _ in range(3)]
    hide(connection, orders, vt, read)

    found = sweep(app, "expire_dp").rules["expire_dp"]

    assert (found.found, found.enqueued, found.already_queued) == (3, 3, 0)
    assert {shop.status(order) for order in orders} == {"cancelled"}


def test_the_message_has_no_second_effect_when_it_becomes_visible(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L1: the order was cancelled meanwhile, so the late message is skipped."""
    product = shop.product(stock=0)
    order = shop.order(age=HOUR, items=[(product, 2)])
    hide(connection, [order])
    sweep(app, "expire_dp")
    connection.execute(text(f"update pgmq.q_{QUEUE} set vt = now()"))

    assert drain(app) == Tally(skipped=1)
    assert shop.stock(product) == 2


def test_a_scan_tells_hidden_messages_with_their_count_and_ids(
    app: App, shop: Shop, connection: Connection
) -> None:
    """The same ones are told once, and further ones again."""
    order = shop.order(age=HOUR)
    first = hide(connection, [order])

    with capture_logs() as lines:
        scan(app)
        scan(app)
        second = hide(connection, [order])
        scan(app)

    assert told(lines) == [
        (1, [f"{QUEUE} {first}"]),
        (2, [f"{QUEUE} {first}", f"{QUEUE} {second}"]),
    ]


def test_the_ids_of_many_hidden_messages_are_bounded(app: App, connection: Connection) -> None:
    for number in range(30):
        hide(connection, [f"o{number}"])

    with capture_logs() as lines:
        scan(app)

    ((count, named),) = told(lines)
    assert (count, len(named)) == (30, 20)


def test_retries_and_waits_for_a_provider_are_not_hidden(open_app: OpenApp, shop: Shop) -> None:
    """L8: the longest delay of the settings and a lease lie within the horizon."""
    app = open_app(retry__delays="30h", retry__jitter=0.5, queue__visibility="2h")
    order = shop.order(age=HOUR)
    with app.database.transaction() as tx:
        body = {"type": TYPE, "payload": {"orderId": order}}
        app.queues.send(tx, QUEUE, [body], 45 * HOUR)
        app.queues.send(tx, OUTBOUND, [{"type": "x"}], app.settings.horizon + DAY - MINUTE)

    with capture_logs() as lines:
        found = scan(app)

    assert (found.enqueued, found.already_queued, told(lines)) == (0, 1, [])


def test_an_hour_at_least_counts_as_on_its_way(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    app.enqueue(TYPE, {"orderId": order}, delay=HOUR)

    assert scan(app).already_queued == 1


@pytest.mark.parametrize("vt", [IN_TEN_YEARS, "'infinity'"])
def test_status_metrics_explain_and_page_tell_hidden_messages(
    *, app: App, shop: Shop, connection: Connection, run: Run, vt: str
) -> None:
    """Each names them as what they are, also with a time that Python cannot hold."""
    order = shop.order(age=HOUR)
    msg_id = hide(connection, [order], vt)
    connection.execute(
        text(
            f"insert into pgmq.q_{QUEUE} (vt, enqueued_at, message) values"
            f" ({vt}, 'infinity', cast(:body as jsonb))"
        ),
        {"body": json.dumps({"type": TYPE, "payload": {"orderId": order}})},
    )

    status = app.status_reader.read()
    assert status.as_json()["hidden"] == {"count": 2, "messages": {QUEUE: [msg_id, msg_id + 1]}}
    assert b"sweeper_hidden_messages 2.0" in metrics(app)
    assert "scans do not wait for it" in str(app.explainer.explain(order).facts)
    (late,) = app.backlog_reader.read().late["expire_dp"]
    assert f"message {msg_id + 1} is hidden until" in late.why
    assert f"hidden messages, for which no scan waits: 2 ({QUEUE} {msg_id}" in run("status")[1]


def metrics(app: App) -> bytes:
    health = Health({}, DAY, {}, DAY)
    return exposition(app.status_reader.read(), Stats(), health, app.catalog)


def test_a_message_that_was_enqueued_at_no_time_blocks_no_queue(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L2: the messages behind it are worked, and it too."""
    first, second = shop.order(age=HOUR), shop.order(age=HOUR)
    hide(connection, [first], "now()")
    connection.execute(text(f"update pgmq.q_{QUEUE} set enqueued_at = 'infinity'"))
    send(app, TYPE, {"orderId": second})

    for _ in range(3):
        drain(app)

    assert (shop.status(first), shop.status(second)) == ("cancelled", "cancelled")
