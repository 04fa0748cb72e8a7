"""The status: queues, rules, dead letters and overdue rows, read in one transaction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from sweeper.catalog import Catalog
from sweeper.ledger import completed, last_sweeps
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue import inspect
from sweeper.queue.hidden import Hidden, hidden
from sweeper.queue.inspect import Depth
from sweeper.queue.install import pgmq_version
from sweeper.queue.pgmq import Queues
from sweeper.rule import MOST_ANOMALIES, Rule

_SERVER = text("select current_setting('server_version')")


@dataclass(frozen=True, slots=True)
class Overdue:
    """The rows of one rule, and its last scan.

    overdue                -- rows that are due at this moment, queued or not
    oldest_overdue_seconds -- how long the oldest is beyond the rule's limit; 0 without one
    anomalies              -- rows that look due and must not be touched; MOST_ANOMALIES or more
                              are counted as MOST_ANOMALIES
    last_sweep_ok          -- False if the brake held the last scan; None before the first scan
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
    """

    at: str
    queues: Mapping[str, Depth]
    dead: Dead
    rules: Mapping[str, Overdue]
    database: Server
    figures: Mapping[str, float]
    hidden: Hidden = field(default_factory=Hidden)

    @property
    def oldest_overdue_seconds(self) -> float:
        """How long the oldest overdue row is beyond its rule's limit; 0 without one."""
        return max((rule.oldest_overdue_seconds for rule in self.rules.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `status --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StatusReader:
    """Reads the status; older_than is by rule name, as in the settings."""

    database: Database
    queues: Queues
    catalog: Catalog
    older_than: Mapping[str, timedelta]

    def read(self) -> Status:
        """Return the status, read in one transaction."""
        with self.database.transaction() as tx:
            now = clock.now()
            skew = clock.skew(tx)
            sweeps = last_sweeps(tx, self.catalog.rules)
            rules = {
                name: self._overdue(tx, rule, now, sweeps.get(name))
                for name, rule in self.catalog.rules.items()
            }
            return Status(
                at=iso(now),
                queues=inspect.depths(tx, self.queues),
                dead=Dead(*inspect.dead_depth(tx, self.queues)),
                hidden=hidden(tx, self.queues),
                rules=rules,
                database=Server(
                    pgmq=pgmq_version(tx),
                    server=tx.execute(_SERVER).scalar_one(),
                    skew_ms=round(skew / timedelta(milliseconds=1), 1),
                ),
                figures={
                    figure.name: float(tx.execute(figure.query).scalar() or 0)
                    for figure in self.catalog.figures
                },
            )

    def completed(self) -> int:
        """Return how many jobs were done or skipped, as far back as the ledger is kept."""
        with self.database.transaction() as tx:
            return completed(tx)

    def _overdue(
        self, tx: Connection, rule: Rule, now: datetime, last: tuple[datetime, bool] | None
    ) -> Overdue:
        cutoff = now - self.older_than.get(rule.name, rule.older_than)
        due = rule.due(cutoff).order_by(None).subquery("due")
        count, since = tx.execute(select(func.count(), func.min(due.c.since))).one()
        anomalies = 0
        if rule.anomalies:
            rows = rule.anomalies(cutoff).limit(MOST_ANOMALIES).subquery("anomaly")
            anomalies = tx.execute(select(func.count()).select_from(rows)).scalar_one()
        at, ok = last or (None, None)
        return Overdue(
            overdue=count,
            oldest_overdue_seconds=round((cutoff - since).total_seconds(), 3) if since else 0.0,
            anomalies=anomalies,
            last_sweep_at=iso(at) if at else None,
            last_sweep_ok=ok,
        )
