"""A thousand notices: they keep the rate limit, delay no order, and survive a kill -9."""

import json
import os
import subprocess
import sys
from collections import Counter
from threading import Event, Thread

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.fake_provider import Provider, provider
from tests.support.verbs import HOUR, OUTBOUND, OpenApp, drain, make_visible, rows

NOTICES = text("""
    insert into "NotificationLog"
        (id, "recipientType", "recipientId", channel, "eventType", status, metadata)
    select 'c' || n, 'PHONE', '0812' || to_char(n, 'FM00000000'), 'WHATSAPP', 'ORDER_CANCELLED',
           'queued', jsonb_build_object('orderId', 'o' || n, 'orderCode', 'JST-' || n)
    from generate_series(1, :count) as n
""")
MESSAGES = text(f"""
    select pgmq.send_batch('{OUTBOUND}', array_agg(jsonb_build_object(
        'type', 'NOTIFICATION_SEND_WHATSAPP', 'payload', jsonb_build_object('messageId', 'c' || n),
        'createdAt', '2026-01-31T11:58:00.000Z')))
    from generate_series(1, :count) as n
""")
RATE = 25  # a second, well within what eight calls at once of 100 ms each can carry


def test_a_thousand_notices_keep_the_rate_limit_and_delay_no_order(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    """DOMAIN 6: the rate is reached and not exceeded; no order waits; no notice is sent twice."""
    orders, notices = 300, 1_000
    product = shop.product(stock=0)
    shop.many(orders, age=HOUR, product=product)
    with provider("cloud") as whatsapp:
        whatsapp.latency = 0.1
        app = open_app(**whatsapp.settings(rate=RATE, timeout="10s"))
        queue(connection, notices)
        lane = Thread(target=drain_outbound, args=(app,))
        lane.start()
        while len(whatsapp.deliveries) < notices / 10:
            Event().wait(0.01)

        app.sweep().run([app.catalog.rule("expire_dp")], limit=orders, scan_only=True)
        worker = app.drain()
        while worker.step():
            pass
        sent_meanwhile = len(whatsapp.deliveries)
        lane.join()

    assert shop.stock(product) == orders
    assert sent_meanwhile < notices / 2
    assert set(Counter(json.dumps(each.body) for each in whatsapp.deliveries).values()) == {1}
    times = [delivery.at for delivery in whatsapp.deliveries]
    assert len(times) == notices + orders  # the buyers of the orders get notices, too
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(RATE, rel=0.05)
    # A single call may arrive late; over some seconds this makes no difference.
    assert max(sum(t <= u < t + 5 for u in times) for t in times) <= 1.05 * 5 * RATE


def test_a_kill_resends_at_most_the_calls_in_flight(
    open_app: OpenApp, connection: Connection, database_url: str
) -> None:
    """DOMAIN 6: a call that the kill interrupted is `unknown` and sent once more; none is lost."""
    kills, concurrency = 3, 8
    with provider("cloud") as whatsapp:
        whatsapp.latency = 0.1
        settings = whatsapp.settings(rate=100, concurrency=concurrency, timeout="10s")
        app = open_app(**settings)
        queue(connection, 200)
        for number in range(1, kills + 1):
            drain_and_kill(database_url, settings, whatsapp, after=30 * number)
            make_visible(app)
        while any(depth.ready for depth in app.status_reader.read().queues.values()):
            drain(app)
            make_visible(app)

    times = Counter(delivery.to for delivery in whatsapp.deliveries)
    twice = {to for to, count in times.items() if count > 1}
    log = rows(connection, '"NotificationLog"')
    unknown = {row["recipientId"] for row in log if row["metadata"].get("unknown")}
    assert len(times) == 200
    assert len(twice) <= kills * concurrency
    assert max(times.values()) <= 2
    assert twice <= unknown
    assert {row["status"] for row in log if not row["errorMessage"]} == {"sent"}


def queue(connection: Connection, count: int) -> None:
    """Add *count* notices and their messages, as changes of orders do."""
    connection.execute(NOTICES, {"count": count})
    connection.execute(MESSAGES, {"count": count})


def drain_outbound(app: App) -> None:
    """Step the outbound lane until it has been idle for a second, as the service does."""
    worker = app.outbound()
    idle_steps = 0
    while idle_steps < 20:
        if worker.step() is None:
            idle_steps += 1
            Event().wait(0.05)
        else:
            idle_steps = 0


def drain_and_kill(
    url: str, settings: dict[str, object], whatsapp: Provider, *, after: int
) -> None:
    """Drain in a process that is killed when the provider has accepted *after* messages."""
    environment = {f"SWEEPER_{name.upper()}": str(value) for name, value in settings.items()}
    command = [sys.executable, "-m", "sweeper", "drain"]
    host = {**os.environ, "DATABASE_URL": url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}
    with subprocess.Popen(
        command, env=host | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while len(whatsapp.deliveries) < after:
            assert process.poll() is None
            Event().wait(0.01)
        process.kill()
