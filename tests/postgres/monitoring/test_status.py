"""The status: queues, dead letters, rules and the database, read at one moment."""

from datetime import timedelta
from typing import Any

import pytest
from freezegun.api import FrozenDateTimeFactory
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper import Batch, RejectedError
from sweeper.app import App
from tests.support.verbs import (
    DEAD,
    HIGH,
    HOUR,
    LOW,
    MINUTE,
    OUTBOUND,
    QUEUE,
    OpenApp,
    drain,
    send,
    send_raw,
    sweep,
    with_handler,
)

TYPE = "ORDER_EXPIRE_DP"

frozen_clock = pytest.mark.usefixtures("frozen")


@frozen_clock
def test_the_status_of_an_empty_shop_is_all_zeros(app: App) -> None:
    status = app.status_reader.read().as_json()

    assert status["at"] == "2026-01-31T12:00:00.000Z"
    nothing = {
        "ready": 0,
        "in_flight": 0,
        "delayed": 0,
        "oldest_ready_seconds": 0,
        "oldest_ready": None,
    }
    assert status["queues"] == dict.fromkeys((HIGH, QUEUE, LOW, OUTBOUND), nothing)
    assert status["dead"] == {"count": 0, "oldest_seconds": 0}
    never = {
        "overdue": 0,
        "oldest_overdue_seconds": 0,
        "anomalies": 0,
        "last_sweep_at": None,
        "last_sweep_ok": None,
    }
    assert status["rules"] == dict.fromkeys(app.rules, never)


@frozen_clock
def test_queues_show_ready_in_flight_and_delayed_messages(app: App) -> None:
    """DESIGN: in flight means invisible and already read; delayed, invisible and never read."""
    send(app, TYPE, {"orderId": "a"}, retryCount=1)
    second = send(app, TYPE, {"orderId": "b"}, retryCount=2)
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=timedelta(seconds=30), quantity=1)
        app.queues.send(tx, QUEUE, [{"type": TYPE}], timedelta(seconds=30))

    depth = app.status_reader.read().queues[QUEUE]

    assert (depth.ready, depth.in_flight, depth.delayed) == (1, 1, 1)
    assert depth.oldest_ready == {"msg_id": second, "type": TYPE, "retry_count": 2}
    assert 0 <= depth.oldest_ready_seconds < 60


@frozen_clock
@pytest.mark.parametrize("raw", [None, "5", "[]", '"text"', "{}"])
def test_a_malformed_message_at_the_head_of_a_queue_is_shown(app: App, raw: str | None) -> None:
    """The status must be readable whatever the queue contains."""
    msg_id = send_raw(app, raw)

    depth = app.status_reader.read().queues[QUEUE]

    assert depth.ready == 1
    assert depth.oldest_ready == {"msg_id": msg_id, "type": None, "retry_count": None}


@frozen_clock
def test_overdue_counts_orders_and_not_messages(app: App, shop: Shop) -> None:
    """Every due order counts, queued or not; its age is the time since it became due."""
    queued = shop.order(age=40 * MINUTE)
    send(app, TYPE, {"orderId": queued})
    shop.order(age=30 * MINUTE)
    shop.order(age=29 * MINUTE)
    shop.order(age=HOUR, paid_ago=MINUTE)
    shop.order(status="awaiting_validation", age=30 * HOUR, paid_ago=26 * HOUR)
    shop.order(status="awaiting_validation", age=30 * HOUR)

    rules = app.status_reader.read().rules

    unpaid, unanswered = rules["expire_dp"], rules["auto_refund"]
    assert (unpaid.overdue, unpaid.oldest_overdue_seconds, unpaid.anomalies) == (2, 600, 1)
    assert (unanswered.overdue, unanswered.oldest_overdue_seconds) == (1, 7200)
    assert unanswered.anomalies == 1


@frozen_clock
def test_overdue_uses_the_configured_limit_of_the_rule(open_app: OpenApp, shop: Shop) -> None:
    shop.order(age=40 * MINUTE)
    app = open_app(rules__expire_dp__older_than="45m")

    assert app.status_reader.read().rules["expire_dp"].overdue == 0


@frozen_clock
def test_a_rule_shows_its_last_sweep(app: App) -> None:
    sweep(app, "expire_dp")

    rules = app.status_reader.read().rules

    assert rules["expire_dp"].last_sweep_at == "2026-01-31T12:00:00.000Z"
    assert rules["expire_dp"].last_sweep_ok is True
    assert rules["auto_refund"].last_sweep_at is None


@frozen_clock
def test_a_braked_sweep_is_shown_until_a_sweep_succeeds(
    app: App, shop: Shop, frozen: FrozenDateTimeFactory
) -> None:
    """L7: a braked sweep waits for a person, so the status must show it."""
    for _ in range(2):
        shop.order(age=HOUR)

    sweep(app, "expire_dp", limit=1)
    braked = app.status_reader.read().rules["expire_dp"]
    frozen.tick(MINUTE)
    sweep(app, "expire_dp", limit=2)
    released = app.status_reader.read().rules["expire_dp"]

    assert (braked.overdue, braked.last_sweep_ok) == (2, False)
    assert (released.overdue, released.last_sweep_ok) == (0, True)


@frozen_clock
def test_dead_letters_are_counted_with_the_age_of_the_oldest(
    app: App, connection: Connection
) -> None:
    def refuse(_batch: Batch[Any]) -> None:
        raise RejectedError

    for order in ("a", "b"):
        send(app, TYPE, {"orderId": order})
    drain(with_handler(app, TYPE, refuse))
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '1 h' where msg_id = 1")
    )

    dead = app.status_reader.read().dead

    assert dead.count == 2
    assert 3600 <= dead.oldest_seconds < 3660


def test_the_database_s_versions_and_clock_skew_are_shown(app: App, connection: Connection) -> None:
    server = connection.execute(text("select current_setting('server_version')")).scalar_one()

    database = app.status_reader.read().database

    assert database.server == server
    assert database.pgmq
    assert abs(database.skew_ms) < 60_000
