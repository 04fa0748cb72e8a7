"""One run of a contender: what it took, and what it left behind."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import quantiles
from threading import Event

from sqlalchemy import make_url

from tests.bench.contenders import Contender
from tests.bench.counting_proxy import CountingProxy
from tests.bench.processes import Process, processes
from tests.bench.server import PRODUCTS, Server
from tests.support.network import network_proxy

_COUNTERS = """
    select (select xact_commit from pg_stat_database where datname = %s),
           pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')
"""
_OPEN = "select from pg_stat_activity where datname = %s and backend_type = 'client backend'"
_LEFT = """select from "Order" where status = 'pending_dp'"""
_DONE = """
    select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 from "Order" order by 1
"""
_DEAD = "select coalesce(sum(n_tup_upd + n_tup_del), 0) from pg_stat_user_tables"
_PARTS = 5


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took, end to end: from the first due order that is looked for to the last done.

    seconds   -- of sending and of work, without starting and connecting
    work      -- of work alone
    done      -- when each order was done, in seconds since all were sent
    peak_mb   -- memory of the largest process, at its peak
    commits, wal, dead -- in all: transactions, bytes, row versions that vacuum has to remove
    splits    -- batches of ours that were halved
    """

    contender: str
    orders: int
    seconds: float
    work: float
    done: Sequence[float]
    peak_mb: float
    commits: int
    wal: int
    dead: int
    splits: int

    @property
    def rate(self) -> float:
        """Orders a second."""
        return self.orders / self.seconds

    @property
    def work_rate(self) -> float:
        """Orders a second, without the sending."""
        return self.orders / self.work

    def percentile(self, percent: int) -> float:
        """Return the seconds after which so many of a hundred orders were done."""
        return quantiles(self.done, n=100, method="inclusive")[percent - 1]

    @property
    def parts(self) -> list[float]:
        """Orders a second in each fifth of the backlog; a smaller part would have few batches."""
        ends = [self.done[len(self.done) * n // _PARTS - 1] for n in range(1, _PARTS + 1)]
        part = len(self.done) / _PARTS
        return [part / max(end - begin, 1e-3) for begin, end in pairwise([0.0, *ends])]


@dataclass(frozen=True, slots=True)
class Counts:
    """What passed between a contender and the server for each order."""

    statements: float
    round_trips: float


def run(
    server: Server,
    contender: Contender,
    orders: int,
    *,
    products: int = PRODUCTS,
    delay: float = 0.0,
) -> Run:
    """Run *contender* on a new database, and return what it took.

    delay -- seconds that all data take, each way
    """
    with server.copy(orders, products) as url, network_proxy(server.url, delay) as proxy:
        before = _counters(server, url)
        with processes(contender, proxy.url(url) if delay else url) as started:
            sent, seconds, work = _work(started)
            peak_mb = max(process.peak_mb for process in started)
            splits = sum(process.logged("batch.split") for process in started)
        _wait_for_their_end(server, url)
        commits, wal = (
            int(now - then) for now, then in zip(_counters(server, url), before, strict=True)
        )
        with server.session(url) as session:
            if left := session.execute(_LEFT).rowcount:
                message = f"{contender.name} has left {left} orders"
                raise RuntimeError(message)
            done = [at - sent for (at,) in session.execute(_DONE)]
            (dead,) = session.execute(_DEAD).fetchone() or (0,)
    return Run(
        contender.name,
        orders,
        seconds,
        work,
        done,
        peak_mb,
        commits=commits,
        wal=wal,
        dead=int(dead),
        splits=splits,
    )


def count(server: Server, contender: Contender, orders: int) -> Counts:
    """Run *contender* behind a proxy that counts, and return its counts for each order."""
    with server.copy(orders) as url:
        proxy = CountingProxy(server.url)
        try:
            with processes(contender, proxy.url(url)) as started:
                proxy.reset()
                _work(started)
                return Counts(proxy.statements / orders, proxy.round_trips / orders)
        finally:
            proxy.disconnect()


def _work(started: Sequence[Process]) -> tuple[float, float, float]:
    """Have the first send, and then all work; return when all were sent, and both durations."""
    began = time.monotonic()
    started[0].tell("enqueue")
    started[0].wait()
    sent, since = time.time(), time.monotonic()
    for process in started:
        process.tell("work")
    for process in started:
        process.wait()
    end = time.monotonic()
    return sent, end - began, end - since


def _counters(server: Server, url: str) -> tuple[int, int]:
    with server.session() as session:
        row = session.execute(_COUNTERS, [make_url(url).database]).fetchone()
    assert row is not None
    return row[0], row[1]


def _wait_for_their_end(server: Server, url: str) -> None:
    """Wait until the last session has ended, because it tells its counts then."""
    with server.session() as session:
        while session.execute(_OPEN, [make_url(url).database]).rowcount:
            Event().wait(0.02)
