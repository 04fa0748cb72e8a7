"""A database that is far away, two drainers, short leases, and a product that somebody holds."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Event

from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres import clock
from tests.support import log_schema
from tests.support.judgement import (
    assert_as_expected,
    attempts_spent,
    hasty,
    learn,
    snapshot,
)
from tests.support.network import network_proxy
from tests.support.oracle import World
from tests.support.verbs import HOUR, Connect, dead_letters, make_visible, messages

DELAY = 0.1  # seconds, each way
HELD_FOR = 120.0
VISIBILITY = "4s"
FIRST = 50  # orders that are due at the start


def test_a_held_product_and_a_far_database_cost_no_crash(
    *,
    app: App,
    shop: Shop,
    connection: Connection,
    connect: Connect,
    server_url: str,
    database_url: str,
    tmp_path: Path,
) -> None:
    """L5: neither the orders on the product nor those beside them; all are done in the end."""
    product = shop.product(stock=0)
    waiting = [shop.order(age=HOUR, items=[(product, 1)]) for _ in range(20)]
    others = [shop.order(age=HOUR) for _ in range(FIRST - len(waiting))]
    world = snapshot(connection, running=True)
    holder = connect()
    holder.execute(text('select from "Product" for update'))
    log, read_counts = tmp_path / "log.jsonl", Counter[int]()

    with network_proxy(server_url, DELAY) as network:
        service = start(network.url(database_url), log)
        try:
            end = time.monotonic() + HELD_FOR
            while time.monotonic() < end:
                others.append(placed(connect(), world, len(others)))
                read_counts.update(message.read_ct for message in messages(app))
                Event().wait(0.5)
            assert {"pending_dp"} == {shop.status(order) for order in waiting}
            holder.rollback()
            for _ in range(60):
                make_visible(app)  # the rest of each is over
                read_counts.update(message.read_ct for message in messages(app))
                if not any(messages(app, queue) for queue in app.queues.live):
                    break
                Event().wait(2)
        finally:
            service.send_signal(signal.SIGTERM)
            code = service.wait(timeout=60)

    lines = log_schema.lines(log.read_text())
    logged = Counter(line["event"] for line in lines)
    assert {"cancelled"} == {shop.status(order) for order in waiting + others}, logged
    assert (0, []) == (code, dead_letters(app))
    assert_as_expected(app, connection, world, clock.now())
    assert [] == hasty(connection, world) + attempts_spent(connection)
    assert (0, 0, 0) == (logged["worker.failed"], logged["job.undecided"], logged["job.dead"])
    assert {0, 1} >= read_counts.keys(), (read_counts, logged)
    assert logged["batch.split"] < FIRST, logged  # who was postponed once costs no more halvings


def placed(connection: Connection, world: World, seed: int) -> str:
    """Place an order of an hour ago, and tell the world before the service can see it."""
    order = Shop(connection, clock.now(), seed=seed).order(age=HOUR)
    learn(connection, world)
    connection.commit()
    connection.close()
    return order


def start(url: str, log: Path) -> "subprocess.Popen[bytes]":
    """Start `sweeper run` with two drainers and its log in a file."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_QUEUE__VISIBILITY": VISIBILITY,
        "SWEEPER_QUEUE__DRAINERS": "2",
        "SWEEPER_WHATSAPP__TIMEOUT": "3s",
        "SWEEPER_RULES__EXPIRE_DP__EVERY": "3s",
        "SWEEPER_WEB__ENABLED": "false",
    }
    with log.open("wb") as stdout:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run"], env=environment, stdout=stdout
        )
