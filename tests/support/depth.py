"""Deep queues and tables that nobody analyzed, and how many of their rows a piece of work reads."""

from collections.abc import Callable
from threading import Event
from typing import Any

from sqlalchemy import Connection, text

from sweeper.app import App
from tests.support.verbs import DEAD, QUEUE

_ROWS_READ = text(
    "select relname, seq_tup_read + coalesce(idx_tup_fetch, 0) as rows from pg_stat_user_tables"
)
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


def rows_read(connection: Connection, app: App, work: Callable[[], Any]) -> dict[str, int]:
    """Do *work*; return how many rows of each table it has read, by the table's name.

    What a session has read is counted for certain only when it has ended.
    """
    before = _counts(connection, app)
    work()
    after = _counts(connection, app)
    return {name: rows - before.get(name, 0) for name, rows in after.items()}


def _counts(connection: Connection, app: App) -> dict[str, int]:
    app.database.close()
    while connection.execute(_SESSIONS).scalar_one():
        Event().wait(0.01)
    return {row.relname: row.rows for row in connection.execute(_ROWS_READ)}
