"""SIGTERM and Ctrl-C at `sweep` and `drain`: what was begun is finished, the rest is given back."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.errors import StoppedError
from sweeper.ledger import Outcome
from tests.support.verbs import (
    HOUR,
    OUTBOUND,
    Connect,
    messages,
    rows,
    scan,
    send,
    wait_for_a_blocked_session,
    wait_until_idle,
    with_call,
)

NOTICE = "NOTIFICATION_SEND_WHATSAPP"

PRODUCTS = 'select from public."Product" for update'

Command = Callable[..., "subprocess.Popen[str]"]
Stop = Callable[..., tuple[int, str, str]]
each_signal = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@pytest.fixture
def command(database_url: str) -> Iterator[Command]:
    """Start commands in processes of their own, which wait for locks for up to thirty seconds."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_DATABASE__LOCK_TIMEOUT": "30s",
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper", *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def stop(command: Command, connect: Connect, connection: Connection) -> Stop:
    """Return a function that stops a command while it waits for a lock, and returns its results."""

    def stop_one(*arguments: str, lock: str, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        holder = connect()
        holder.execute(text(lock))
        process = command(*arguments)
        wait_for_a_blocked_session(connection)
        process.send_signal(number)
        holder.commit()
        stdout, stderr = process.communicate(timeout=20)
        return process.returncode, stdout, stderr

    return stop_one


def two_batches(shop: Shop) -> tuple[str, str]:
    """Add an order for each rule: they are read together, and are two batches."""
    product = shop.product(stock=0)
    unpaid = shop.order(age=HOUR, items=[(product, 1)])
    unanswered = shop.order(
        status="awaiting_validation", age=50 * HOUR, paid_ago=25 * HOUR, items=[(product, 1)]
    )
    return unpaid, unanswered


@each_signal
@pytest.mark.parametrize("name", ["sweep", "drain"])
def test_a_stopped_command_finishes_its_transaction_and_gives_the_rest_back(
    stop: Stop, shop: Shop, app: App, name: str, number: int
) -> None:
    """L5: it costs no attempt and no crash, and the command says that it was stopped."""
    orders = two_batches(shop)
    if name == "drain":
        scan(app, "expire_dp")
        scan(app, "auto_refund")

    code, stdout, stderr = stop(name, "--json", lock=PRODUCTS, number=number)

    assert {15: 143, 2: 130}[int(number)] == code
    assert 1 == json.loads(stdout)["jobs"]["done"]
    assert f"stopped by {signal.Signals(number).name}" in stderr
    (left,) = messages(app)
    ended = {order for order in orders if shop.status(order) in {"cancelled", "rejected"}}
    assert {left.body["payload"]["orderId"]} == {*orders} - ended
    assert 0 == left.read_ct
    assert left.delay.total_seconds() <= 0


@each_signal
def test_a_second_signal_stops_a_command_at_once(
    command: Command, shop: Shop, app: App, connection: Connection, number: int
) -> None:
    """L2: what the server was sent is committed as a whole, or is found again."""
    orders = two_batches(shop)
    with app.database.transaction() as holder:
        holder.execute(text(PRODUCTS))
        process = command("sweep")
        wait_for_a_blocked_session(connection)
        process.send_signal(number)
        assert process.stderr
        while "again to stop at once" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(number)

        assert -number == process.wait(timeout=20)
    wait_until_idle(connection)
    ended = [order for order in orders if shop.status(order) in {"cancelled", "rejected"}]
    left = {message.body["payload"]["orderId"] for message in messages(app)}
    assert left == {*orders} - {*ended}
    assert left


def test_a_stopped_sweep_begins_no_further_scan(stop: Stop, shop: Shop, app: App) -> None:
    """The first scan commits, the second rule is not scanned, and no job is begun."""
    orders = two_batches(shop)

    code, stdout, _ = stop("sweep", "--json", "expire_dp", "auto_refund", lock='lock table "Order"')

    assert 143 == code
    assert ["expire_dp"] == list(json.loads(stdout)["rules"])
    assert ["pending_dp", "awaiting_validation"] == [shop.status(order) for order in orders]
    assert [0] == [message.read_ct for message in messages(app)]


def test_a_stopped_dry_run_prints_no_plan_and_changes_nothing(
    stop: Stop, shop: Shop, app: App
) -> None:
    """A plan must name all that its dry run would have found."""
    orders = two_batches(shop)

    code, stdout, stderr = stop("sweep", "--dry-run", "--json", lock=PRODUCTS)

    assert (143, "") == (code, stdout)
    assert "stopped by SIGTERM" in stderr
    assert "Traceback" not in stderr
    assert ["pending_dp", "awaiting_validation"] == [shop.status(order) for order in orders]
    assert [] == messages(app)


def test_a_stop_lets_calls_in_flight_end_and_begins_no_other(
    app: App, connection: Connection
) -> None:
    """L5: the call that was begun is recorded, and the other notices wait uncounted."""
    for number in range(50):
        send(
            app,
            NOTICE,
            {"recipientPhone": f"0812345678{number:02}", "message": "Halo"},
            queue=OUTBOUND,
        )
    called: list[Any] = []

    def call(prepared: Any, real: Callable[[Any], Any]) -> Any:
        called.append(prepared)
        return real(prepared)

    slow = with_call(app, NOTICE, call)
    tally = slow.sweep(stopping=lambda: bool(called)).drain()

    assert tally.done == len(called)
    assert 0 < len(called) < 50
    assert tally.failed == 0
    waiting = messages(app, OUTBOUND)
    assert 50 == len(called) + len(waiting)
    assert {0} == {message.read_ct for message in waiting}
    assert {0} == {message.body["retryCount"] for message in waiting}
    ended = [row["outcome"] for row in rows(connection, "sweeper.job_log")]
    assert [Outcome.DONE] * len(called) == ended


def test_a_dry_run_that_is_stopped_says_so(app: App, shop: Shop) -> None:
    two_batches(shop)

    with pytest.raises(StoppedError):
        app.sweep(stopping=lambda: True).run(app.rules.values(), limit=10, dry_run=True)
