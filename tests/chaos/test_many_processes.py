"""Several services share one database, as after a deploy that did not stop the old service."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Event

from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres import clock
from tests.support import log_schema
from tests.support.judgement import assert_as_expected, hasty, snapshot
from tests.support.verbs import HOUR

ORDERS = 2_000
SERVICES = 4


def test_four_services_apply_each_effect_once(
    app: App, shop: Shop, connection: Connection, database_url: str, tmp_path: Path
) -> None:
    """L1, L5: no effect twice, no error in any log, no attempt spent on a deadlock."""
    products = [shop.product(stock=0) for _ in range(4)]
    for product in products:
        shop.many(ORDERS // 4, age=HOUR, product=product)
    world = snapshot(connection)

    logs = [tmp_path / f"{number}.jsonl" for number in range(SERVICES)]
    services = [start(database_url, log) for log in logs]
    wait_until_idle(app)
    for service in services:
        service.send_signal(signal.SIGTERM)

    assert [0] * SERVICES == [service.wait(timeout=30) for service in services]
    assert_as_expected(app, connection, world, clock.now())
    assert [] == hasty(connection, world)
    assert [ORDERS // 4] * 4 == [shop.stock(product) for product in products]
    lines = [line for log in logs for line in log_schema.lines(log.read_text())]
    assert [] == [line for line in lines if line["level"] == "error"]
    events = Counter(line["event"] for line in lines)
    assert (0, 0, 0) == (events["job.retried"], events["job.dead"], events["worker.failed"])
    outcomes = connection.execute(text("select distinct outcome, attempt from sweeper.job_log"))
    assert [("done", 1)] == [tuple(row) for row in outcomes]


def start(url: str, log: Path) -> "subprocess.Popen[bytes]":
    """Start `sweeper run` with its log in a file: a pipe that is not read would block it."""
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_SAFETY__MAX_PER_SWEEP": str(ORDERS),
        "SWEEPER_QUEUE__BATCH": "50",
        "SWEEPER_RULES__EXPIRE_DP__EVERY": "1s",
        "SWEEPER_WEB__ENABLED": "false",
    }
    with log.open("wb") as stdout:
        return subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run"], env=environment, stdout=stdout
        )


def wait_until_idle(app: App) -> None:
    """Wait until no order is overdue and all queues are empty."""
    for _ in range(600):
        status = app.status_reader.read()
        queued = sum(d.ready + d.in_flight + d.delayed for d in status.queues.values())
        if not queued and not status.rules["expire_dp"].overdue:
            return
        Event().wait(0.1)
    raise AssertionError(app.status_reader.read().as_json())
