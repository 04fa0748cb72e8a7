"""Sweeps that are stopped by SIGTERM in the middle of slow batches, again and again."""

import os
import signal
import subprocess
import sys
from collections import Counter
from threading import Event

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres import clock
from tests.support.fake_provider import Provider, provider
from tests.support.judgement import (
    assert_as_expected,
    attempts_spent,
    hasty,
    snapshot,
    wrong_effects,
)
from tests.support.verbs import (
    HOUR,
    QUEUE,
    OpenApp,
    dead_letters,
    drain,
    job_outcomes,
    messages,
    rows,
    scan,
)

STOPS = 20
ORDERS = 400

# Each order costs 50 ms, so that a batch of 10 takes half a second.
SLOW = text("""
    create function slow() returns trigger language plpgsql as
        $$ begin perform pg_sleep(0.05); return new; end $$;
    create trigger slow before update on "Order" for each row execute function slow()
""")
ASLEEP = text(
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and wait_event = 'PgSleep'"
)


def test_twenty_sigterms_in_the_middle_of_slow_batches_cost_nothing(
    app: App, shop: Shop, connection: Connection, database_url: str
) -> None:
    """L1, L5: no attempt and no crash is counted, and every order is cancelled once."""
    product = shop.product(stock=0)
    shop.many(ORDERS, age=HOUR, product=product)
    world = snapshot(connection)
    connection.execute(SLOW)

    reads = list[int]()
    for _ in range(STOPS):
        process = start(database_url, "sweep", SWEEPER_QUEUE__BATCH="10")
        wait_until_a_batch_is_slow(connection, process)
        process.send_signal(signal.SIGTERM)
        assert 143 == process.wait(timeout=30)
        reads += [message.read_ct for message in messages(app)]
        assert [] == wrong_effects(connection, world, clock.now())
    assert {0} == set(reads)
    connection.execute(text("drop function slow cascade"))
    drain(app)

    assert [] == dead_letters(app)
    assert_as_expected(app, connection, world, clock.now())
    assert [] == hasty(connection, world) + attempts_spent(connection)
    assert shop.stock(product) == ORDERS
    ended = Counter(key for kind, key, *_ in job_outcomes(connection) if kind == "ORDER_EXPIRE_DP")
    assert (ORDERS, {1}) == (len(ended), set(ended.values()))


def test_sigterms_in_the_middle_of_calls_send_no_notice_twice(
    open_app: OpenApp, shop: Shop, connection: Connection, database_url: str
) -> None:
    """L5: calls in flight end and are recorded, and no other call is begun."""
    orders, stops = 60, 5
    shop.many(orders, age=HOUR, product=shop.product(stock=0))
    world = snapshot(connection)
    with provider("cloud") as whatsapp:
        whatsapp.latency = 0.3
        settings = whatsapp.settings(rate=100, concurrency=8, timeout="10s")
        app = open_app(**settings)
        scan(app)
        environment = {f"SWEEPER_{name.upper()}": str(value) for name, value in settings.items()}
        for number in range(1, stops + 1):
            process = start(database_url, "drain", **environment)
            wait_for_deliveries(whatsapp, 8 * number - 7, process)
            process.send_signal(signal.SIGTERM)
            assert 143 == process.wait(timeout=30)
        while any(messages(app, queue) for queue in (QUEUE, app.queues.outbound)):
            drain(app)
            Event().wait(0.2)  # what a stop postponed is visible after a second

    assert {1} == set(Counter(str(each.body) for each in whatsapp.deliveries).values())
    assert orders == len(whatsapp.deliveries)
    log = rows(connection, '"NotificationLog"')
    assert {("sent", None)} == {(row["status"], row["metadata"].get("unknown")) for row in log}
    assert_as_expected(app, connection, world, clock.now())
    assert [] == attempts_spent(connection)


def start(url: str, command: str, **settings: str) -> "subprocess.Popen[bytes]":
    """Start a command in a process of its own."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        **settings,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "sweeper", command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_until_a_batch_is_slow(connection: Connection, process: "subprocess.Popen[bytes]") -> None:
    """Return as soon as a statement of a handler is under way."""
    for _ in range(2_000):
        if connection.execute(ASLEEP).scalar_one():
            return
        assert process.poll() is None
        Event().wait(0.01)
    pytest.fail("no batch was begun within twenty seconds")


def wait_for_deliveries(whatsapp: Provider, count: int, process: "subprocess.Popen[bytes]") -> None:
    """Return as soon as the provider has accepted *count* messages."""
    while len(whatsapp.deliveries) < count:
        assert process.poll() is None
        Event().wait(0.01)
