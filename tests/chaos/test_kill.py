"""A sweeping process is killed again and again, and the result is that of one quiet sweep."""

import os
import random
import subprocess
import sys
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.judgement import (
    assert_as_expected,
    attempts_spent,
    hasty,
    snapshot,
    wrong_effects,
)
from tests.support.verbs import HOUR, NOW, OpenApp, dead_letters, make_visible, session, sweep

pytestmark = pytest.mark.usefixtures("frozen")

ORDERS = 500
KILLS = 20

# The command with its clock stopped, so that all times that it writes are the same.
COMMAND = (
    "import freezegun; from sweeper.cli.main import main; "
    f"freezegun.freeze_time({NOW.isoformat()!r}).start(); main()"
)
# Everything that customers, jastipers and bookkeepers can see.
VISIBLE_ROWS = (
    'select to_jsonb(o) from "Order" o order by id',
    'select to_jsonb(p) from "Product" p order by id',
    "select to_jsonb(r) from sweeper.refund r order by order_id",
    "select to_jsonb(s) from sweeper.stock_release s order by order_id, product_id",
    "select to_jsonb(n) #- '{metadata,nonce}' from \"NotificationLog\" n order by id",
)


def test_twenty_kills_leave_the_same_rows_as_an_undisturbed_run(
    open_app: OpenApp, connection: Connection, database_url: str, admin: psycopg.Connection
) -> None:
    """L1, L2: kill -9 at any moment loses nothing and does nothing twice."""
    add_orders(connection)
    twin = f"{make_url(database_url).database}_twin"
    connection.close()
    admin.execute(f"create database {twin} template {make_url(database_url).database}")
    undisturbed, disturbed = (
        make_url(database_url).set(database=name).render_as_string(hide_password=False)
        for name in (twin, make_url(database_url).database)
    )
    sweep(open_app(url=undisturbed))

    chance = random.Random(20)  # noqa: S311 -- times, not secrets
    app, finished = open_app(url=disturbed), 0
    with session(disturbed) as watcher:
        world = snapshot(watcher)
        for _ in range(KILLS):
            finished += sweep_and_kill(disturbed, chance.uniform(0.0, 0.6))
            assert [] == wrong_effects(watcher, world, NOW)
        sweep_until_empty(app)
        assert_as_expected(app, watcher, world, NOW)
        assert [] == hasty(watcher, world) + attempts_spent(watcher)

    assert finished < KILLS
    assert [] == dead_letters(app)
    assert visible_rows(undisturbed) == visible_rows(disturbed)
    assert ORDERS == app.auditor.audit().jobs


def add_orders(connection: Connection) -> None:
    """Add due orders for both rules, which share products."""
    shop = Shop(connection, NOW)
    share = ORDERS // 10
    for product in [shop.product(stock=10) for _ in range(5)]:
        shop.many(share, age=HOUR, product=product)
        shop.many(
            share, status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR, product=product
        )


def sweep_and_kill(url: str, after: float) -> bool:
    """Kill a sweep *after* seconds from its first log line; return whether it had ended before."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_SAFETY__MAX_CLOCK_SKEW": "36500d",
        "SWEEPER_QUEUE__BATCH": "20",
        "SWEEPER_QUEUE__VISIBILITY": "1s",
    }
    command = [sys.executable, "-c", COMMAND, "sweep", "--json"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr
        process.stderr.readline()  # the scan has begun
        Event().wait(after)
        had_ended = process.poll() is not None
        process.kill()
    return had_ended


def sweep_until_empty(app: App) -> None:
    """Sweep until the queues are empty; end the leases of killed processes each time."""
    for _ in range(20):
        make_visible(app)
        sweep(app)
        if not any(
            depth.ready + depth.in_flight for depth in app.status_reader.read().queues.values()
        ):
            return
    pytest.fail("the queues are not empty after twenty sweeps")


def visible_rows(url: str) -> list[list[Any]]:
    """Return all rows that people can see."""
    with session(url) as connection:
        return [list(connection.execute(text(query)).scalars()) for query in VISIBLE_ROWS]
