"""The status: queues, rules, dead letters and overdue rows, read in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal, select, text

from sweeper.catalog import Catalog
from sweeper.ledger import Completed, completed, last_sweeps
from sweeper.postgres import clock, deferred
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue import inspect
from sweeper.queue.hidden import Hidden, hidden_of, select_hidden
from sweeper.queue.inspect import Depth
from sweeper.queue.install import SELECT_VERSION
from sweeper.queue.pause import Pause, pause_of, select_pauses
from sweeper.queue.pgmq import Queues
from sweeper.queue.read import EVERYTHING
from sweeper.rule import MOST_ANOMALIES, Rule

_SERVER = text("select current_setting('server_version')")


@dataclass(frozen=True, slots=True)
class Overdue:
    """The rows of one rule, and its last scan.

    overdue                -- rows that are due at this moment, queued or not
    oldest_overdue_seconds -- how long the oldest is beyond the rule's limit; 0 without one
    anomalies              -- rows that look due and must not be touched; MOST_ANOMALIES or more
                              are counted as MOST_ANOMALIES
    last_sweep_ok          -- False if the brake stopped the last scan; None before the first scan
    """

    overdue: int
    oldest_overdue_seconds: float
    anomalies: int
    last_sweep_at: str | None
    last_sweep_ok: bool | None


@dataclass(frozen=True, slots=True)
class Dead:
    """How many dead letters there are, and the age of the oldest; 0 without one."""

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """The database server; skew_ms is how far the clock of this host is ahead of its clock."""

    pgmq: str | None
    server: str
    skew_ms: float


@dataclass(frozen=True, slots=True)
class Status:
    """The state of queues, rules and database at one moment.

    queues  -- by queue name
    rules   -- by rule name
    figures -- by name: the numbers that job files export
    hidden  -- the live messages that become visible later than any of ours
    pauses  -- the pauses that are in force, the oldest first
    """

    at: str
    queues: Mapping[str, Depth]
    dead: Dead
    rules: Mapping[str, Overdue]
    database: Server
    figures: Mapping[str, float]
    hidden: Hidden = field(default_factory=Hidden)
    pauses: Sequence[Pause] = ()

    @property
    def oldest_overdue_seconds(self) -> float:
        """How long the oldest overdue row is beyond its rule's limit; 0 without one."""
        return max((rule.oldest_overdue_seconds for rule in self.rules.values()), default=0.0)

    @property
    def open_queues(self) -> Mapping[str, Depth]:
        """The queues that no pause keeps from being read."""
        paused = {pause.target for pause in self.pauses}
        queues = {} if EVERYTHING in paused else self.queues
        return {queue: depth for queue, depth in queues.items() if queue not in paused}

    @property
    def oldest_waiting_seconds(self) -> float:
        """How long the oldest message waits that could be read; 0 without one."""
        ages = (depth.oldest_ready_seconds for depth in self.open_queues.values())
        return max(ages, default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `status --json` prints."""
        return asdict(self) | {"pauses": [pause.as_json() for pause in self.pauses]}


@dataclass(frozen=True, slots=True)
class StatusReader:
    """Reads the status; older_than is by rule name, as in the settings."""

    database: Database
    queues: Queues
    catalog: Catalog
    older_than: Mapping[str, timedelta]

    def read(self) -> Status:
        """Return the status, read in one transaction and one round trip."""
        now, catalog, queues = clock.now(), self.catalog, self.queues
        with self.database.transaction() as tx:
            compared = clock.Comparison(tx)
            deferred.avoid(tx, "sort")
            sweeps = deferred.ask(tx, last_sweeps(catalog.rules))
            rules = {name: self._overdue(tx, rule, now) for name, rule in catalog.rules.items()}
            depths = deferred.ask(tx, inspect.select_depths(queues))
            dead = deferred.ask(tx, inspect.select_dead_depth(queues))
            far = deferred.ask(tx, select_hidden(queues))
            pauses = deferred.ask(tx, select_pauses())
            pgmq, server = deferred.ask(tx, SELECT_VERSION), deferred.ask(tx, _SERVER)
            figures = {one.name: deferred.ask(tx, one.query) for one in catalog.figures}
            compared.end(tx)
        last = {name: (at, ok) for name, at, ok in sweeps}
        ((letters, oldest),) = dead
        return Status(
            at=iso(now),
            queues=inspect.depths_of(depths),
            dead=Dead(letters, round(float(oldest), 3)),
            hidden=hidden_of(far),
            pauses=tuple(map(pause_of, pauses)),
            rules={name: _overdue_of(*rows, last.get(name)) for name, rows in rules.items()},
            database=Server(
                pgmq=_first(pgmq),
                server=_first(server),
                skew_ms=round(compared.skew / timedelta(milliseconds=1), 1),
            ),
            figures={name: float(_first(rows) or 0) for name, rows in figures.items()},
        )

    def completed(self) -> Completed:
        """Count the jobs that were done or skipped, among the latest endings."""
        with self.database.transaction() as tx:
            deferred.avoid(tx, "sort", "seqscan")
            return completed(tx)

    def _overdue(
        self, tx: Connection, rule: Rule, now: datetime
    ) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Ask how many rows are due and for how long, and how many are anomalies."""
        cutoff = now - self.older_than.get(rule.name, rule.older_than)
        due = rule.due(cutoff).order_by(None).subquery("due")
        since = func.min(due.c.since)
        age = func.extract("epoch", literal(cutoff, due.c.since.type) - since)
        overdue = deferred.ask(tx, select(func.count(), func.coalesce(age, 0)).select_from(due))
        if rule.anomalies is None:
            return overdue, [(0,)]
        anomalies = rule.anomalies(cutoff).limit(MOST_ANOMALIES).subquery("anomaly")
        return overdue, deferred.ask(tx, select(func.count()).select_from(anomalies))


def _overdue_of(
    due: Sequence[tuple[Any, ...]],
    anomalies: Sequence[tuple[Any, ...]],
    last: tuple[datetime, bool] | None,
) -> Overdue:
    ((count, seconds),) = due
    at, ok = last or (None, None)
    return Overdue(
        overdue=count,
        oldest_overdue_seconds=round(float(seconds), 3),
        anomalies=_first(anomalies),
        last_sweep_at=iso(at) if at else None,
        last_sweep_ok=ok,
    )


def _first(rows: Sequence[tuple[Any, ...]]) -> Any:
    """Return the first value of the first row; None without a row."""
    return rows[0][0] if rows else None
