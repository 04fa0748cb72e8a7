"""The parts of the measurement: scans, a backlog, and what reads a long ledger."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from statistics import median
from threading import Event
from typing import Any

from sqlalchemy import Connection, text

from jobs.demo.shop import MANY_ORDERS, Shop
from jobs.refund_ledger import owed, refund_rows
from sweeper.app import App
from sweeper.monitoring.history import Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.bench.contenders import ONE
from tests.bench.engine import RULE
from tests.bench.runs import run
from tests.bench.server import HOUR, Server
from tests.bench.tables import Table
from tests.support.depth import fill_dead_letters, fill_ledger, fill_queue, fill_refunds
from tests.support.web_client import Site, served

MOST_MB = 150
_TENTHS = 10
_DAY = timedelta(days=1)
_CHUNK = 500_000  # orders that one statement writes
_KEYS = 20  # jobs of each sweep in the ledger; each has an ending, and its notice another

_SESSIONS = text(
    "select count(*) from pg_stat_activity where datname = current_database()"
    " and backend_type = 'client backend' and pid <> pg_backend_pid()"
)
_PAGES = text(
    "select blks_hit + blks_read from pg_stat_database where datname = current_database()"
)

_INDEXES = text(
    "select indexname, indexdef from pg_indexes where tablename = 'Order'"
    " and indexname not in (select conname from pg_constraint)"
)

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Size:
    """How many orders, messages and rows; due is the number of orders that a scan finds."""

    orders: int = 10_000_000
    few: int = 100_000
    due: int = 1_000
    queued: int = 1_000_000
    backlog: int = 1_000_000
    ended: int = 10_000_000
    dead: int = 100_000
    repeats: int = 7


QUICK = Size(20_000, 2_000, 100, 2_000, 2_000, 8_000, 500, 2)


def scans(server: Server, size: Size, step: Step) -> Table:
    """Scan few orders, few beside a long queue, and very many, in turn; the same number is due."""
    apps = dict[tuple[int, int], App]()
    for orders, queued in ((size.few, 0), (size.few, size.queued), (size.orders, 0)):
        step(f"writing {orders:,} orders and {queued:,} messages")
        app = apps[orders, queued] = server.create(f"scan_{orders}_{queued}", with_indexes=True)
        with _session(app) as session:
            _write_orders(session, orders - size.due, status="completed", age=30 * 24 * HOUR)
            _write_orders(session, size.due, status="pending_dp", age=HOUR)
            fill_queue(session, queued)
            session.execute(text("vacuum analyze"))
    step("scanning")
    table = _in_turn(apps, size)
    for app in apps.values():
        app.close()
    return table


def _in_turn(apps: dict[tuple[int, int], App], size: Size) -> Table:
    """Scan with each of *apps* in turn; they are by their numbers of orders and of messages."""
    found: dict[tuple[int, int], list[tuple[float, int]]] = {which: [] for which in apps}
    for _ in range(size.repeats + 1):
        for which, app in apps.items():
            found[which].append(_scan(app, size.due))
    base = found[size.few, 0]
    rows = [
        [f"{orders:,}", f"{queued:,}", f"{size.due:,}", *_compared(taken[1:], base[1:])]
        for (orders, queued), taken in found.items()
    ]
    figures = ("median, ms", "fastest, ms", "of the first", "ms more", "pages touched")
    return Table("Scans", ("orders", "queued", "due", *figures), rows)


def backlog(server: Server, size: Size, step: Step) -> Table:
    """Work off a backlog in one process."""
    step(f"writing and working off a backlog of {size.backlog:,}")
    found = run(server, ONE, size.backlog)
    ends = [found.done[len(found.done) * n // _TENTHS - 1] for n in range(1, _TENTHS + 1)]
    tenth = len(found.done) / _TENTHS
    rates = [tenth / max(end - begin, 1e-3) for begin, end in pairwise([0.0, *ends])]
    rows = [
        ["orders", f"{size.backlog:,}"],
        ["orders a second", f"{found.work_rate:,.0f}"],
        ["in the first tenth", f"{rates[0]:,.0f}"],
        ["in the last tenth", f"{rates[-1]:,.0f}"],
        [f"peak memory, MB (at most {MOST_MB})", f"{found.peak_mb:.0f}"],
    ]
    return Table("A backlog", ("one process", "measured"), rows)


def readers(server: Server, size: Size, step: Step) -> Table:
    """Read a long ledger and many dead letters."""
    step(f"writing {size.ended:,} ended jobs")
    app = server.create("ledger", with_indexes=True)
    with _session(app) as session:
        fill_ledger(session, size.ended // (2 * _KEYS), _KEYS)
        step(f"writing {size.dead:,} dead letters and refunds")
        fill_dead_letters(session, size.dead)
        fill_queue(session, size.dead)
        fill_refunds(session, size.dead)
        session.execute(text("vacuum analyze"))
    step("recording the history of thirty days")
    HistoryWriter(app.database, ["NOTIFICATION_SEND_WHATSAPP"], 90 * _DAY).record(clock.now())
    rows = []
    with served(app) as site:
        for name, read in (_console(site, app) | _readers(app)).items():
            step(name)
            times = [_seconds(read) for _ in range(size.repeats)]
            shown = (f"{t * 1000:,.0f}" for t in (times[0], median(times), min(times)))
            rows.append([name, *shown])
    app.close()
    return Table("Readers", ("what", "first, ms", "median, ms", "fastest, ms"), rows)


def _console(site: Site, app: App) -> dict[str, Callable[[], Any]]:
    """Return the pages of the console; status and backlog are shared by who asks within seconds."""
    (letter,) = app.dead_letter_queue.find(DeadLetterFilter(limit=1))
    paths = {
        "now": "/",
        "dead letters": "/dead",
        "dead letters of a type": "/dead?type=ORDER_EXPIRE_DP",
        "one dead letter": f"/dead/{letter.msg_id}",
        "waiting": "/waiting",
        "sweeps": "/sweeps",
        "overdue": "/overdue?rule=expire_dp",
        "refunds": "/lists/refunds",
        "history, a month": "/history?period=month",
        "acts": "/acts",
        "one order": "/orders/past-1-1",
        "search": "/search?q=past-1-1",
    }

    def get(path: str) -> None:
        answer = site.get(path)
        assert answer.status in {200, 303}, (path, answer.status)

    return {f"page: {name}": partial(get, path) for name, path in paths.items()}


def _readers(app: App) -> dict[str, Callable[[], Any]]:
    def refunds() -> None:
        with app.database.transaction() as tx:
            refund_rows(tx, everything=False, limit=200)
            owed(tx)

    letters = app.dead_letter_queue
    return {
        "`status`, heartbeat, metrics": app.status_reader.read,
        "completed jobs": app.status_reader.completed,
        "the page's backlog": app.backlog_reader.read,
        **{f"`history`, {p}": partial(app.history.read, p, clock.now()) for p in Period},
        "`audit`": app.auditor.audit,
        "`explain`, an old order": lambda: app.explainer.explain("past-1-1"),
        "`explain`, a refund's code": lambda: app.explainer.explain("CODE-7"),
        "`dead list`, causes": lambda: letters.causes(DeadLetterFilter(), 20),
        "`dead list`, newest 50": lambda: letters.find(DeadLetterFilter(limit=50)),
        "`dead list` of one order": lambda: letters.find(DeadLetterFilter(key="other-7")),
        "`refunds list`": refunds,
        "`history.keep`, nothing old": lambda: app.pruner.prune(clock.now() - timedelta(days=1)),
        "`history.keep`, a day": _prune_days(app),
    }


def _prune_days(app: App) -> Callable[[], None]:
    """Return a function that prunes one more day of the ledger each time."""
    days = iter(range(1, 90))
    return lambda: app.pruner.prune(clock.now() + timedelta(days=next(days)))


@contextmanager
def _session(app: App) -> Iterator[Connection]:
    with app.database.autocommit() as session:
        session.execute(text("set search_path = public"))
        yield session


def _write_orders(session: Connection, count: int, *, status: str, age: timedelta) -> None:
    """Write orders without items, which no scan reads."""
    shop = Shop(session, clock.now(), seed=len(status))
    names = (shop.usual_participant, shop.usual_guest, shop.usual_trip)
    session.execute(text("set session_replication_role = replica"))  # checks no foreign keys
    at = (clock.now() - age).replace(tzinfo=None)
    indexes = session.execute(_INDEXES).all() if count >= _CHUNK else []
    for name, _ in indexes:
        session.execute(text(f'drop index "{name}"'))
    while count > 0:
        prefix = shop._new_id()[:17]
        values = {
            "prefix": prefix,
            "code": f"JST-{prefix[1:7]}-".upper(),
            "count": min(count, _CHUNK),
            **dict(zip(("participant", "guest", "trip"), names, strict=True)),
            "status": status,
            "paid_at": None,
            "created_at": at,
            "updated_at": at,
        }
        session.execute(MANY_ORDERS, values)
        count -= _CHUNK
    for _, definition in indexes:
        session.execute(text(definition))


def _scan(app: App, due: int) -> tuple[float, int]:
    """Scan, and take back what was sent; return the seconds, and the pages that were touched."""
    rule, before = app.catalog.rule(RULE), _pages(app)
    began = time.monotonic()
    report = app.sweep().run([rule], limit=10**9, scan_only=True)
    seconds = time.monotonic() - began
    pages = _pages(app) - before
    assert report.rules[RULE].enqueued == due
    with app.database.transaction() as tx:
        tx.execute(text("delete from pgmq.q_jastipin_jobs where message ? 'sweepId'"))
    return seconds, pages


def _pages(app: App) -> int:
    """Return how many pages the sessions of the app have touched, which tell it as they end."""
    app.database.close()
    while True:
        with app.database.transaction() as tx:  # each sees the sessions as they are at its begin
            if not tx.execute(_SESSIONS).scalar_one():
                return int(tx.execute(_PAGES).scalar_one())
        Event().wait(0.01)


def _compared(taken: list[tuple[float, int]], base: list[tuple[float, int]]) -> list[str]:
    """Compare the medians, because the runs took turns."""
    seconds, first = median(each[0] for each in taken), median(each[0] for each in base)
    return [
        f"{seconds * 1000:,.0f}",
        f"{min(taken)[0] * 1000:,.0f}",
        f"{seconds / first:.2f}",
        f"{(seconds - first) * 1000:+,.0f}",
        f"{median(each[1] for each in taken):,.0f}",
    ]


def _seconds(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
