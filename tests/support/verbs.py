"""The tests' verbs: sweep, scan, drain, send, and what they look at afterwards."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any, Protocol

import pytest
from sqlalchemy import Connection, text

from sweeper import Outside
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.queue.dead_letter import DeadLetter
from sweeper.queue.dead_letter_queue import DeadLetterFilter
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
    """Puts an App together on the test's database; it is closed after the test."""

    def __call__(self, *, url: str | None = None, package: str = "jobs", **flags: Any) -> App:
        """Return it; *flags* are settings whose dots are written as double underscores."""


Connect = Callable[[], Connection]
Run = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message as it lies in its queue; *delay* is how long it stays invisible."""

    msg_id: int
    read_ct: int
    delay: timedelta
    body: Any


# The verbs.


def sweep(app: App, *rules: str, limit: int | None = None, **options: Any) -> Report:
    """Make one full pass, as `sweeper sweep` does."""
    chosen = [app.catalog.rule(name) for name in rules or app.rules]
    return app.sweep().run(chosen, limit=limit or app.settings.safety.max_per_sweep, **options)


def scan(app: App, rule: str = "expire_dp", **options: Any) -> ScanResult:
    """Make the first half of a pass, for one rule."""
    return sweep(app, rule, scan_only=True, **options).rules[rule]


def drain(app: App) -> Tally:
    """Make the second half: work off every visible message."""
    return app.sweep().drain()


def send(app: App, kind: str, payload: Any, *, queue: str = QUEUE, **body: Any) -> int:
    """Send a message as the platform's own worker would, and return its id.

    What *body* names replaces what the platform writes; an ellipsis leaves it out.
    """
    usual = {
        "type": kind,
        "payload": payload,
        "retryCount": 0,
        "maxRetries": 3,
        "createdAt": "2026-01-31T11:58:00.000Z",
    }
    whole = {key: value for key, value in (usual | body).items() if value is not ...}
    return send_raw(app, json.dumps(whole), queue=queue)


def send_raw(app: App, raw: str | None, *, queue: str = QUEUE) -> int:
    """Send any JSON text, or SQL NULL, and return the message's id."""
    with app.database.transaction() as tx:
        return int(
            tx.execute(
                text("select pgmq.send(cast(:queue as text), cast(cast(:raw as text) as jsonb))"),
                {"queue": queue, "raw": raw},
            ).scalar_one()
        )


def messages(app: App, queue: str = QUEUE) -> list[Parcel]:
    """Return what lies in *queue*, the oldest first."""
    with app.database.transaction() as tx:
        rows = tx.execute(
            text(
                "select msg_id, read_ct, vt - clock_timestamp() as delay, message"
                f" from pgmq.q_{queue} order by msg_id"
            )
        )
        return [Parcel(*row) for row in rows]


def make_visible(app: App) -> None:
    """Let the time pass for which messages are hidden, in every live queue."""
    with app.database.transaction() as tx:
        for queue in app.queues.live:
            tx.execute(text(f"update pgmq.q_{queue} set vt = clock_timestamp() - interval '1 ms'"))


def dead_letters(app: App, **choice: Any) -> list[DeadLetter]:
    """Return the dead letters, the oldest first."""
    return app.dead_letter_queue.find(DeadLetterFilter(**choice))


def rows(connection: Connection, table: str, order_by: str = "1") -> list[dict[str, Any]]:
    """Return a whole table; our own have `sweeper.` before their names."""
    found = connection.execute(text(f"select * from {table} order by {order_by}"))
    return [dict(row) for row in found.mappings()]


def endings(connection: Connection) -> list[tuple[Any, ...]]:
    """Return how jobs ended: type, key, outcome, reason, in the order of the books."""
    log = text("select job_type, key, outcome, reason from sweeper.job_log order by id")
    return [tuple(row) for row in connection.execute(log)]


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a row that are no longer what they were, with their new values."""
    return {name: value for name, value in after.items() if before[name] != value}


@contextmanager
def broken(app: App, table: str, when: str = "true", error: str = "P0001") -> Iterator[None]:
    """Have the platform's *table* refuse updates for rows that meet *when*, with this SQLSTATE."""
    with app.database.transaction() as tx:
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
    with app.database.transaction() as tx:
        tx.execute(text("drop function refuse cascade"))


def worked_by(app: App, kind: str, handler: Any) -> App:
    """Return *app* with another handler for one job type; they share their connections."""
    job = replace(app.catalog.jobs[kind], handler=handler)
    other = App(replace(app.catalog, jobs={**app.catalog.jobs, kind: job}), app.settings)
    vars(other)["database"] = app.database
    return other


def answered_by(app: App, kind: str, answer: Callable[[Any, Callable[[Any], Any]], Any]) -> App:
    """Return *app* with another outside world: *answer* gets each parcel, and the real call."""
    handler = app.catalog.jobs[kind].handler
    assert isinstance(handler, Outside)
    return worked_by(app, kind, replace(handler, call=lambda parcel: answer(parcel, handler.call)))


def wait_for_a_blocked_session(connection: Connection) -> None:
    """Return once a session of this database waits for another one's lock."""
    waits = text(
        "select count(*) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    for _ in range(1_000):
        if connection.execute(waits).scalar_one():
            return
        Event().wait(0.01)
    pytest.fail("nobody waited for a lock within ten seconds")
