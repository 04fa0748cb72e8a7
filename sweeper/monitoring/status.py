"""The one read model: queues, rules, dead letters and overdue orders, at one moment."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from sweeper.catalog import Catalog
from sweeper.ledger import completed, last_sweeps
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.queue import inspect
from sweeper.queue.inspect import Depth
from sweeper.queue.install import pgmq_version
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

_SERVER = text("select current_setting('server_version')")


@dataclass(frozen=True, slots=True)
class Overdue:
    """How one rule stands against the business tables.

    overdue   -- rows that are due at this moment, queued or not
    last_sweep_ok -- whether the last scan held no brake; None where there was none yet
    """

    overdue: int
    oldest_overdue_seconds: float
    anomalies: int
    last_sweep_at: str | None
    last_sweep_ok: bool | None


@dataclass(frozen=True, slots=True)
class Dead:
    """The dead letters in two numbers."""

    count: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Server:
    """The database itself; skew_ms is how far this host's clock is ahead of it."""

    pgmq: str | None
    server: str
    skew_ms: float


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that a person, a dashboard or an alarm asks for.

    figures -- the job files' own numbers, by name
    """

    at: str
    queues: Mapping[str, Depth]
    dead: Dead
    rules: Mapping[str, Overdue]
    database: Server
    figures: Mapping[str, float]

    @property
    def oldest_overdue_seconds(self) -> float:
        """The longest that any row is beyond its rule's limit."""
        return max((rule.oldest_overdue_seconds for rule in self.rules.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `status --json` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class StatusReader:
    """Takes the snapshot; older_than is by rule name, as the settings have it."""

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
        """Return how many jobs were done, or needed nothing, as far back as the books remember."""
        with self.database.transaction() as tx:
            return completed(tx)

    def _overdue(
        self, tx: Connection, rule: Rule, now: datetime, last: tuple[datetime, bool] | None
    ) -> Overdue:
        cutoff = now - self.older_than.get(rule.name, rule.older_than)
        due = rule.due(cutoff).order_by(None).subquery("due")
        count, since = tx.execute(select(func.count(), func.min(due.c.since))).one()
        odd = 0
        if rule.anomalies:
            rows = rule.anomalies(cutoff).subquery("odd")
            odd = tx.execute(select(func.count()).select_from(rows)).scalar_one()
        at, ok = last or (None, None)
        return Overdue(
            overdue=count,
            oldest_overdue_seconds=round((cutoff - since).total_seconds(), 3) if since else 0.0,
            anomalies=odd,
            last_sweep_at=iso(at) if at else None,
            last_sweep_ok=ok,
        )
