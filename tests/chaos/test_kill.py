"""A sweeping process is killed over and over, and in the end nothing shows that it was."""

import os
import random
import subprocess
import sys
from threading import Event
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, NOW, OpenApp, dead_letters, make_visible, sweep

pytestmark = pytest.mark.usefixtures("frozen")

ORDERS = 500
KILLS = 20

# The command with its clock stopped: what it writes is then the same to the millisecond.
COMMAND = (
    "import freezegun; from sweeper.cli import main; "
    f"freezegun.freeze_time({NOW.isoformat()!r}).start(); main()"
)
# Everything that customers, jastipers and bookkeepers can see.
SEEN = (
    'select to_jsonb(o) from "Order" o order by id',
    'select to_jsonb(p) from "Product" p order by id',
    "select to_jsonb(r) from sweeper.refund r order by order_id",
    "select to_jsonb(s) from sweeper.stock_release s order by order_id, product_id",
    'select to_jsonb(n) from "NotificationLog" n order by id',
)


def test_twenty_kills_leave_what_an_undisturbed_run_leaves(
    open_app: OpenApp, connection: Connection, database_url: str, admin: psycopg.Connection
) -> None:
    """L1, L2: kill -9 at any moment loses nothing and does nothing twice."""
    furnish(connection)
    twin = f"{make_url(database_url).database}_twin"
    connection.close()
    admin.execute(f"create database {twin} template {make_url(database_url).database}")
    undisturbed, disturbed = (
        make_url(database_url).set(database=name).render_as_string(hide_password=False)
        for name in (twin, make_url(database_url).database)
    )
    sweep(open_app(url=undisturbed))

    chance = random.Random(20)  # noqa: S311 -- moments, not secrets
    survivors = sum(killed(disturbed, chance.uniform(0.0, 0.6)) for _ in range(KILLS))
    app = open_app(url=disturbed)
    settle_down(app)

    assert survivors < KILLS
    assert [] == dead_letters(app)
    assert seen(undisturbed) == seen(disturbed)
    balance = app.auditor.audit()
    assert (ORDERS, 0, ()) == (balance.jobs, balance.waiting, balance.gaps)


def furnish(connection: Connection) -> None:
    """Make orders of both kinds that are due, and that share products."""
    shop = Shop(connection, NOW)
    share = ORDERS // 10
    for product in [shop.product(stock=10) for _ in range(5)]:
        shop.many(share, age=HOUR, product=product)
        shop.many(
            share, status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR, product=product
        )


def killed(url: str, after: float) -> bool:
    """Kill a sweep some seconds after its first sign of life; return whether it was faster."""
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
        survived = process.poll() is not None
        process.kill()
    return survived


def settle_down(app: App) -> None:
    """Sweep until nothing is left, letting the leases of the killed run out."""
    for _ in range(20):
        make_visible(app)
        sweep(app)
        if not any(
            depth.ready + depth.in_flight for depth in app.status_reader.read().queues.values()
        ):
            return
    pytest.fail("something is left in the queues after twenty sweeps")


def seen(url: str) -> list[list[Any]]:
    """Return what shows."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        return [list(connection.execute(text(query)).scalars()) for query in SEEN]
