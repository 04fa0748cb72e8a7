"""Bodies and payloads that are strings of JSON count wherever bodies are looked into."""

import json
from datetime import timedelta
from typing import Any, cast

import pytest
from sqlalchemy import text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.queue import inspect, waiting
from sweeper.queue.dead_letters.dead_letter_table import dead_letter_groups, letters
from tests.support.verbs import HOUR, QUEUE, drain, scan, send_raw

pytestmark = pytest.mark.usefixtures("frozen")

TYPE = "ORDER_EXPIRE_DP"

MALFORMED = [
    "",
    "text",
    "{",
    '{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": ',
    '{"type": "ORDER_EXPIRE_DP", "payload": "{"}',
    '{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "\\u0000"}}',
    '{"type": "ORDER_EXPIRE_DP", "payload": {"orderId": "\\ud800"}}',
    '{"type": "ORDER_EXPIRE_DP", "n": 1e999999}',
    "[" * 100_000,
    "NaN",
    "5",
    "null",
    '"a string in a string"',
]


def encoded(key: str, **more: object) -> list[str]:
    """Return the forms of a message about *key* in which a string holds JSON."""
    payload = {"orderId": key}
    in_payload = {"type": TYPE, "payload": json.dumps(payload), **more}
    whole = {"type": TYPE, "payload": payload, **more}
    return [
        json.dumps(in_payload),
        json.dumps(json.dumps(whole)),
        json.dumps(json.dumps(in_payload)),
    ]


@pytest.mark.parametrize("form", range(3))
def test_a_string_body_counts_as_already_queued(app: App, shop: Shop, form: int) -> None:
    """L1: the scan finds the job that waits, however its sender encoded it."""
    order = shop.order(age=HOUR)
    send_raw(app, encoded(order)[form])

    found = scan(app)

    assert (found.found, found.enqueued, found.already_queued) == (1, 0, 1)


def test_a_string_body_that_lists_several_orders_counts_for_each(app: App, shop: Shop) -> None:
    orders = [shop.order(age=HOUR) for _ in range(2)]
    send_raw(app, json.dumps(json.dumps({"type": TYPE, "payload": {"orderIds": orders}})))

    assert scan(app).already_queued == 2


def test_a_payload_with_the_name_of_the_attribute_counts(app: App, shop: Shop) -> None:
    """The parser accepts order_id beside orderId, so the scan does too."""
    order = shop.order(age=HOUR)
    send_raw(app, json.dumps({"type": TYPE, "payload": {"order_id": order}}))

    assert scan(app).already_queued == 1


@pytest.mark.parametrize("form", range(3))
def test_a_string_body_is_explained_and_placed(app: App, shop: Shop, form: int) -> None:
    """`explain` and the page see the job that waits, and the status names its type."""
    order = shop.order(age=HOUR)
    msg_id = send_raw(app, encoded(order, retryCount=2)[form])
    job = app.catalog.job(TYPE)

    facts = [fact.what for fact in app.explainer.explain(order).facts]
    with app.database.transaction() as tx:
        placed = inspect.positions(tx, app.queues, job, [order])
        oldest = inspect.depths(tx, app.queues)[QUEUE].oldest_ready

    assert any(f"waits in {QUEUE} as message {msg_id}, retry 2" in fact for fact in facts)
    assert placed[order].msg_id == msg_id
    assert oldest == {"msg_id": msg_id, "type": TYPE, "retry_count": 2}


@pytest.mark.parametrize("form", range(3))
def test_a_string_body_of_a_sweep_waits_for_the_audit(app: App, shop: Shop, form: int) -> None:
    """L8: a job whose message was encoded again by another program is not lost."""
    order = shop.order(age=HOUR)
    scan(app)
    with app.database.transaction() as tx:
        sweep_id = tx.execute(
            text(f"delete from pgmq.q_{QUEUE} returning message ->> 'sweepId'")
        ).scalar_one()
    send_raw(app, encoded(order, sweepId=sweep_id)[form])

    balance = app.auditor.audit()

    assert (balance.waiting, balance.gaps) == (1, ())


def test_a_string_in_the_dead_letter_queue_is_a_dead_letter(app: App, shop: Shop) -> None:
    order = shop.order(age=HOUR)
    letter = {"type": TYPE, "key": order, "reason": "rejected"}
    send_raw(app, json.dumps(json.dumps(letter)), queue=app.queues.dead)

    assert scan(app).dead == 1


@pytest.mark.parametrize("inner", MALFORMED, ids=range(len(MALFORMED)))
def test_a_malformed_string_fails_no_statement(app: App, shop: Shop, inner: str) -> None:
    """No string of a stranger may stop the scans, the status or the audit."""
    order = shop.order(age=HOUR)
    for queue in app.queues:
        send_raw(app, json.dumps(inner), queue=queue)
        send_raw(app, json.dumps({"type": TYPE, "payload": inner}), queue=queue)

    with app.database.transaction() as tx:
        inspect.depths(tx, app.queues)
        dead_letter_groups(tx, letters(app.queues), 10)
        assert inspect.positions(tx, app.queues, app.catalog.job(TYPE), [order]) == {}
    app.auditor.audit()

    assert scan(app).enqueued == 1
    assert drain(app).done


def test_only_a_string_body_calls_the_function_of_the_server(app: App) -> None:
    """The scan's plan stays cheap: usual bodies are looked into without a call."""
    job = app.catalog.job(TYPE)
    calls = text(
        "select pg_stat_get_xact_function_calls('sweeper.open_string(jsonb)'::regprocedure)"
    )
    body = {"type": TYPE, "payload": {"orderId": "c"}}
    counted = []
    with app.database.transaction() as tx:
        tx.execute(text("set local track_functions = 'all'"))
        for sent in (body, json.dumps(body)):
            app.queues.send(tx, QUEUE, [cast("Any", sent)] * 100, timedelta())
            tx.execute(waiting.waiting_keys(app.queues, job)).all()
            counted.append(tx.execute(calls).scalar())

    assert counted[0] is None
    assert counted[1]
