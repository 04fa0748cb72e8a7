"""The verbs of the tests: sweep, scan, drain and send, and functions that read the results."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from sweeper import Outside
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.sweep.runner import Report
from sweeper.sweep.scan import ScanResult

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
STORED_NOW = NOW.replace(tzinfo=None)  # as the platform's columns hold it
MS = timedelta(milliseconds=1)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

QUEUE = "jastipin_jobs"
HIGH, LOW = f"{QUEUE}_high", f"{QUEUE}_low"
OUTBOUND, DEAD = f"{QUEUE}_outbound", f"{QUEUE}_dead"


class OpenApp(Protocol):
    """Builds an App on the test's database; the app is closed after the test."""

    def __call__(self, *, url: str | None = None, package: str = "jobs", **flags: Any) -> App:
        """Return the app; *flags* are settings, with double underscores in place of dots."""

    def close(self, app: App) -> None:
        """Close an app before the test ends, and forget it: thousands would fill the memory."""


Connect = Callable[[], Connection]
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as it is stored in its queue; *delay* is how long it stays invisible."""

    msg_id: int
    read_ct: int
    delay: timedelta
    body: Any


# Verbs, and readers of the results.


def sweep(app: App, *rules: str, limit: int | None = None, **options: Any) -> Report:
    """Run one sweep, as `sweeper sweep` does: scan the rules, then drain the queues."""
    chosen = [app.catalog.rule(name) for name in rules or app.rules]
    return app.sweep().run(chosen, limit=limit or app.settings.safety.max_per_sweep, **options)


def scan(app: App, rule: str = "expire_dp", **options: Any) -> ScanResult:
    """Scan one rule, and drain nothing."""
    return sweep(app, rule, scan_only=True, **options).rules[rule]


def drain(app: App) -> Tally:
    """Execute the job of every visible message."""
    return app.sweep().drain()


def send(app: App, kind: str, payload: Any, *, queue: str = QUEUE, **body: Any) -> int:
    """Send a message as the platform does; return its id.

    body -- replaces fields that the platform writes; an ellipsis omits a field
    """
    defaults = {
        "type": kind,
        "payload": payload,
        "retryCount": 0,
        "maxRetries": 3,
        "createdAt": "2026-01-31T11:58:00.000Z",
    }
    message = {key: value for key, value in (defaults | body).items() if value is not ...}
    return send_raw(app, json.dumps(message), queue=queue)


def send_raw(app: App, raw: str | None, *, queue: str = QUEUE) -> int:
    """Send any JSON text, or SQL NULL for None; return the message's id."""
    with app.database.transaction() as tx:
        return int(
            tx.execute(
                text("select pgmq.send(cast(:queue as text), cast(cast(:raw as text) as jsonb))"),
                {"queue": queue, "raw": raw},
            ).scalar_one()
        )


def messages(app: App, queue: str = QUEUE) -> list[QueuedMessage]:
    """Return the messages in *queue*, the oldest first."""
    with app.database.transaction() as tx:
        rows = tx.execute(
            text(
                "select msg_id, read_ct, vt - clock_timestamp() as delay, message"
                f" from pgmq.q_{queue} order by msg_id"
            )
        )
        return [QueuedMessage(*row) for row in rows]


def make_visible(app: App) -> None:
    """Let the visibility timeout of every message end, in every live queue.

    A message whose transaction is open is left alone.
    """
    with app.database.transaction() as tx:
        for queue in app.queues.live:
            tx.execute(
                text(
                    f"update pgmq.q_{queue} set vt = clock_timestamp() - interval '1 ms' where"
                    f" msg_id in (select msg_id from pgmq.q_{queue} for update skip locked)"
                )
            )


def dead_letters(app: App, **choice: Any) -> list[DeadLetter]:
    """Return the dead letters, the oldest first."""
    return app.dead_letter_queue.find(DeadLetterFilter(**choice))


def rows(connection: Connection, table: str, order_by: str = "1") -> list[dict[str, Any]]:
    """Return all rows of a table; the sweeper's tables need the prefix `sweeper.`."""
    found = connection.execute(text(f"select * from {table} order by {order_by}"))
    return [dict(row) for row in found.mappings()]


def job_outcomes(connection: Connection) -> list[tuple[Any, ...]]:
    """Return the job log as (type, key, outcome, reason), the oldest row first."""
    log = text("select job_type, key, outcome, reason from sweeper.job_log order by id")
    return [tuple(row) for row in connection.execute(log)]


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a row whose values have changed, with their new values."""
    return {name: value for name, value in after.items() if before[name] != value}


@contextmanager
def session(url: str) -> Iterator[Connection]:
    """Open a session of the platform on any database; it commits every statement."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        yield connection


@contextmanager
def broken(app: App, table: str, when: str = "true", error: str = "P0001") -> Iterator[None]:
    """Make updates of *table* fail with the SQLSTATE *error*, for the rows that meet *when*."""
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(
            text(
                "create function refuse() returns trigger language plpgsql as"
                f" $$ begin raise exception 'out of order' using errcode = '{error}'; end $$"
            )
        )
        tx.execute(
            text(
                f'create trigger refuse before update on "{table}" for each row'
                f" when ({when}) execute function refuse()"
            )
        )
    yield
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(text("drop function refuse cascade"))


def wait_until_idle(connection: Connection) -> None:
    """Return as soon as no other session of this database is in a statement or a transaction."""
    busy = text(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and state <> 'idle' and pid <> pg_backend_pid()"
    )
    for _ in range(1_000):
        if connection.execute(busy).scalar_one() == 0:
            return
        Event().wait(0.01)
    pytest.fail("a session was still busy after ten seconds")


def wait_until_alone(connection: Connection) -> None:
    """Return as soon as this database has no other session: those of a killed process end late."""
    others = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    for _ in range(1_000):
        if connection.execute(others).scalar_one() == 0:
            return
        Event().wait(0.01)
    pytest.fail("there was still another session after ten seconds")


@contextmanager
def slow(app: App, table: str, when: str = "true") -> Iterator[None]:
    """Make updates of *table* take a minute, for the rows that meet *when*."""
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(
            text(
                "create function dawdle() returns trigger language plpgsql as"
                " $$ begin perform pg_sleep(60); return new; end $$"
            )
        )
        tx.execute(
            text(
                f'create trigger dawdle before update on "{table}" for each row'
                f" when ({when}) execute function dawdle()"
            )
        )
    yield
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(text("drop function dawdle cascade"))


def with_handler(app: App, kind: str, handler: Any) -> App:
    """Return an app like *app*, on the same connections, with another handler for one job type."""
    job = replace(app.catalog.jobs[kind], handler=handler)
    other = App(replace(app.catalog, jobs={**app.catalog.jobs, kind: job}), app.settings)
    vars(other)["database"] = app.database
    return other


def with_call(app: App, kind: str, answer: Callable[[Any, Callable[[Any], Any]], Any]) -> App:
    """Return an app like *app* whose outbound calls are made by *answer*.

    answer -- gets what was prepared for the call, and the real call
    """
    handler = app.catalog.jobs[kind].handler
    assert isinstance(handler, Outside)
    outside = replace(handler, call=lambda prepared: answer(prepared, handler.call))
    return with_handler(app, kind, outside)


def wait_for_a_blocked_session(connection: Connection, number: int = 1) -> None:
    """Return as soon as *number* sessions of this database wait for a lock of another one."""
    waits = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    for _ in range(1_000):
        if connection.execute(waits).scalar_one() >= number:
            return
        Event().wait(0.01)
    pytest.fail("no session waited for a lock within ten seconds")
