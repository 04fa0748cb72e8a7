"""Deep queues and tables that nobody analyzed, and how many of their rows a piece of work reads."""

import os
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from tests.support.verbs import DEAD, QUEUE

_ROWS_READ = text(
    "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as rows from pg_stat_user_tables"
)
_FLUSH = text("select pg_stat_force_next_flush()")
_IS_POOLED = bool(os.environ.get("SWEEPER_TEST_POOLER"))  # read before a fixture deletes it
_SESSIONS = text(
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and application_name = 'sweeper'"
)


def fill_queue(connection: Connection, count: int, vt: str = "now()", queue: str = QUEUE) -> None:
    """Send *count* messages about other orders, which become visible at *vt*."""
    connection.execute(
        text(
            f"insert into pgmq.q_{queue} (vt, message) select {vt}, jsonb_build_object("
            "  'type', 'ORDER_EXPIRE_DP', 'retryCount', 0,"
            "  'payload', jsonb_build_object('orderId', concat('other-', one))"
            f") from generate_series(1, {count}) as one"
        )
    )


def fill_dead_letters(connection: Connection, count: int) -> None:
    """Send *count* dead letters about other orders."""
    connection.execute(
        text(
            f"insert into pgmq.q_{DEAD} (vt, message) select now(), jsonb_build_object("
            "  'type', 'ORDER_EXPIRE_DP', 'key', concat('other-', one), 'reason', 'exhausted',"
            "  'error', 'out of order', 'fingerprint', 'abc', 'attempts', 4, 'body', null"
            f") from generate_series(1, {count}) as one"
        )
    )


def fill_ledger(connection: Connection, sweeps: int, keys: int = 2) -> None:
    """Write *sweeps* of three months, of *keys* orders each, whose jobs and their notices ended."""
    past = f"now() - interval '90 days' * (1 - one / {sweeps}.0)"
    connection.execute(
        text(
            "insert into sweeper.sweep (id, rule, job_type, trigger, host, at, cutoff, found,"
            " enqueued, already_queued, dead, braked, anomalies, ok, keys)"
            " select cast(md5(cast(one as text)) as uuid), 'expire_dp', 'ORDER_EXPIRE_DP',"
            f" 'schedule', 'a', {past}, {past}, {keys}, {keys}, 0, 0, 0, 0, true,"
            f" array(select concat('past-', one, '-', key) from generate_series(1, {keys}) as key)"
            f" from generate_series(1, {sweeps}) as one"
        )
    )
    connection.execute(
        text(
            "insert into sweeper.job_log (job_type, key, msg_id, sweep_id, outcome, attempt, at)"
            " select kind, concat('past-', one, '-', key), one, case when kind like 'ORDER%'"
            f" then cast(cast(md5(cast(one as text)) as uuid) as text) end, 'done', 1, {past}"
            f" from generate_series(1, {sweeps}) as one, generate_series(1, {keys}) as key,"
            " unnest(array['ORDER_EXPIRE_DP', 'NOTIFICATION_SEND_WHATSAPP']) as kind"
        )
    )


def fill_refunds(connection: Connection, count: int) -> None:
    """Write *count* refunds that are settled, and one for each hundred of them that is due."""
    connection.execute(
        text(
            "insert into sweeper.refund (order_id, order_code, amount, state, at)"
            " select concat('refund-', one), concat('CODE-', one), 1000,"
            "  case when one % 100 = 0 then 'due' else 'settled' end, now()"
            f" from generate_series(1, {count}) as one"
        )
    )


def rows_read(connection: Connection, app: App, work: Callable[[], Any]) -> dict[str, int]:
    """Do *work*; return how many rows of each table it has read, by the table's name.

    What a session has read is counted for certain only when it has ended, which those of a pooler
    do not: through one, the test is skipped.
    """
    if _IS_POOLED:
        pytest.skip("PgBouncer keeps its sessions, so what they have read is counted too late")
    connection.execute(_FLUSH)  # or what this session has read would be counted later
    before = _counts(connection, app)
    work()
    after = _counts(connection, app)
    return {name: rows - before.get(name, 0) for name, rows in after.items()}


def _counts(connection: Connection, app: App) -> dict[str, int]:
    app.database.close()
    for _ in range(2_000):
        if not connection.execute(_SESSIONS).scalar_one():
            break
        Event().wait(0.01)
    else:
        pytest.fail("the sessions of the app have not ended within twenty seconds")
    return {row.relname: row.rows for row in connection.execute(_ROWS_READ)}
