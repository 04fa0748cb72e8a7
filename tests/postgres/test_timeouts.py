"""Every wait for the database ends: a statement, a look at the queues, a frozen transaction."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_disconnected, is_locked, is_transient
from sweeper.queue.look import look
from tests.support.verbs import HOUR, MS, QUEUE, Connect, OpenApp, make_visible, send, sweep

Open = Callable[..., Database]

# The real command, which stops itself once, between the effect of a batch and its commit.
FROZEN_SWEEP = """
import os, signal
from sweeper.cli.main import main
from sweeper.worker.completer import Completer
complete = Completer.complete
def freeze(self, batch):
    Completer.complete = complete
    os.kill(os.getpid(), signal.SIGSTOP)
    return complete(self, batch)
Completer.complete = freeze
main()
"""


_ALIVE = text("select exists (select from pg_stat_activity where pid = :pid)")
POOLER = os.environ.get("SWEEPER_TEST_POOLER")


@pytest.fixture
def open_database(database_url: str) -> Iterator[Open]:
    """Return a function that opens the test's database with timeouts of its own."""
    opened: list[Database] = []

    def open_one(**timeouts: Any) -> Database:
        opened.append(Database(database_url, **timeouts))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


def test_a_look_at_the_queues_ends_at_its_timeouts(open_app: OpenApp, connect: Connect) -> None:
    """L9: whoever holds a queue's table does not hold the watch."""
    app = open_app(database__statement_timeout="200ms")
    holder = connect()
    holder.execute(text(f"lock table pgmq.q_{QUEUE} in access exclusive mode"))
    raised: list[Exception] = []

    def watch_once() -> None:
        try:
            with app.database.glance() as connection:
                look(connection, app.queues)
        except DBAPIError as error:
            raised.append(error)

    watch = Thread(target=watch_once)
    watch.start()
    watch.join(5)
    ended = not watch.is_alive()
    holder.rollback()
    watch.join()

    assert (True, [True]) == (ended, [is_transient(error) for error in raised])


def test_a_look_at_the_queues_has_all_settings_and_leaves_none(app: App) -> None:
    """L10: what it sets is gone with its own implicit transaction, as a pooler needs it."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    settings = text("select pg_backend_pid(), current_setting('statement_timeout')")

    with app.database.glance() as connection:
        ready = look(connection, app.queues).ready
        during = connection.execute(settings).one()
    with app.database.autocommit() as connection:
        afterwards = connection.execute(settings).one()

    assert ({QUEUE}, "30s", "0") == (set(ready), during[1], afterwards[1])
    assert POOLER or during[0] == afterwards[0]


def test_a_statement_ends_at_its_timeout(open_database: Open) -> None:
    """L9: every statement has a timeout of the server's, and to reach it costs no attempt."""
    database = open_database(statement_timeout=100 * MS)

    with (
        pytest.raises(DBAPIError, match="statement timeout") as caught,
        database.transaction() as tx,
    ):
        tx.execute(text("select pg_sleep(3)"))

    assert (True, False) == (is_transient(caught.value), is_disconnected(caught.value))


def test_a_wait_for_a_lock_ends_at_its_timeout(
    shop: Shop, open_database: Open, connect: Connect
) -> None:
    """L5, L9: it ends before the statement's own timeout, and so is told from a slow statement."""
    database = open_database(statement_timeout=3_000 * MS, lock_timeout=100 * MS)
    change = text("""update public."Order" set "finalAmount" = 7""")
    shop.order()
    holder = connect()
    holder.execute(change)

    with pytest.raises(DBAPIError) as caught, database.transaction() as tx:
        tx.execute(change)

    assert is_locked(caught.value)


def test_a_wait_for_a_free_connection_ends_at_its_timeout(open_database: Open) -> None:
    """L9: a thread that finds all connections in use comes back to its loop."""
    database = open_database(connect_timeout=100 * MS, pool_size=1)
    raised: list[Exception] = []

    def want_one() -> None:
        try:
            with database.autocommit() as connection:
                connection.execute(text("select"))
        except PoolTimeoutError as error:
            raised.append(error)

    waiting = Thread(target=want_one)
    with database.autocommit() as held:
        held.execute(text("select"))
        waiting.start()
        waiting.join(10)
        ended = not waiting.is_alive()
    waiting.join()

    assert (True, 1) == (ended, len(raised))


def test_only_what_has_begun_before_is_cancelled(
    open_database: Open, connection: Connection
) -> None:
    """L5: near the deadline of a stop, what postpones the cancelled jobs is left alone."""
    database = open_database()
    ended: list[str] = []
    sleeps = text("select count(*) from pg_stat_activity where query like '%pg_sleep(0.5)'")

    def work() -> None:
        try:
            with database.transaction() as tx:
                tx.execute(text("select pg_sleep(0.5)"))
            ended.append("well")
        except DBAPIError as error:
            ended.append(str(error))

    began = time.monotonic()
    working = Thread(target=work)
    working.start()
    while not connection.execute(sleeps).scalar_one():
        Event().wait(0.01)
    database.cancel(began)
    working.join()

    assert ["well"] == ended


def test_the_server_ends_a_transaction_that_nobody_continues(
    open_database: Open, connection: Connection
) -> None:
    """L9: the connection is lost, which is the database's trouble and not the job's."""
    database = open_database(connect_timeout=100 * MS)

    def stay_idle(tx: Connection) -> None:
        pid = tx.execute(text("select pg_backend_pid()")).scalar_one()
        for _ in range(300):
            if not connection.execute(_ALIVE, {"pid": pid}).scalar_one():
                break
            Event().wait(0.01)
        tx.execute(text("select"))

    with pytest.raises(DBAPIError) as caught, database.transaction() as tx:
        stay_idle(tx)

    assert is_disconnected(caught.value)
    with database.transaction() as tx:
        assert 1 == tx.execute(text("select 1")).scalar_one()


def test_the_server_ends_a_transaction_that_goes_on_too_long(
    open_database: Open, connection: Connection
) -> None:
    """L9: it may take as long as eight statements, and be as long idle, as is ever allowed."""
    if int(connection.execute(text("show server_version_num")).scalar_one()) < 170_000:
        pytest.skip("Postgres has transaction_timeout since version 17")
    database = open_database(statement_timeout=400 * MS, connect_timeout=400 * MS)

    def go_on(tx: Connection) -> None:
        for _ in range(60):
            tx.execute(text("select pg_sleep(0.1)"))

    with pytest.raises(DBAPIError) as caught, database.transaction() as tx:
        go_on(tx)

    assert is_disconnected(caught.value)


def test_a_frozen_process_does_not_hold_the_platforms_rows(
    shop: Shop, app: App, connect: Connect, connection: Connection, database_url: str
) -> None:
    """L2, L5, L9: the platform goes on, and what was frozen is done later, at no cost."""
    order = shop.order(age=HOUR)
    frozen = subprocess.Popen(
        [sys.executable, "-c", FROZEN_SWEEP, "sweep"],
        env={
            **os.environ,
            "DATABASE_URL": database_url,
            "SWEEPER_STOCK__TAKEN_AT": "checkout",
            "SWEEPER_DATABASE__CONNECT_TIMEOUT": "1s",
        },
    )
    try:
        os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert frozen.returncode is None
        platform = connect()
        platform.execute(text("set local lock_timeout = '8s'"))
        platform.execute(
            text('update "Order" set "finalAmount" = 7 where id = :order'), {"order": order}
        )
        platform.commit()
        assert "pending_dp" == shop.status(order)
        frozen.send_signal(signal.SIGCONT)
        frozen.wait(timeout=30)
    finally:
        frozen.kill()
        frozen.wait()
    make_visible(app)
    sweep(app)

    done = text("select attempt from sweeper.job_log where outcome = 'done'")
    assert {1} == set(connection.execute(done).scalars())
    assert "cancelled" == shop.status(order)
