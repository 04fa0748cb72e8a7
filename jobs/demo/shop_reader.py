"""Read what the demo prints from the database: orders, stock, notices and refunds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select, text

from jobs.refund_ledger import REFUND
from jobs.tables import NOTIFICATION_LOG, ORDER
from sweeper.app import App
from sweeper.postgres import clock

_STOCK = text("""
    SELECT id, title, stock,
           CASE WHEN type <> 'goods' THEN 'a task' WHEN "isUnlimitedStock" THEN 'unlimited'
                WHEN stock IS NULL THEN 'not counted' END AS note
    FROM "Product" ORDER BY "createdAt", title
""")
_DONE = text("""
    SELECT job_type, count(*) FROM sweeper.job_log WHERE outcome = 'done' GROUP BY 1 ORDER BY 1
""")
_BY_NOTES = text('SELECT id FROM "Order" WHERE notes = :notes')


class Product(NamedTuple):
    """A product with its stock; *note* says why a sweep may not change the stock."""

    id: str
    title: str
    stock: int | None
    note: str | None


class Notice(NamedTuple):
    """One row of NotificationLog; *facts* is its metadata."""

    event_type: str
    phone: str
    status: str
    error: str | None
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ShopReader:
    """Reads the shop through the app's own database."""

    app: App

    def orders(self) -> dict[str, tuple[str, str | None]]:
        """Return (status, code) of every order, by id."""
        rows = self._rows(select(ORDER.c.id, ORDER.c.status, ORDER.c.orderCode))
        return {row.id: (row.status, row.orderCode) for row in rows}

    def newest_pending(self) -> str:
        """Return the id of the newest order that waits for its down payment."""
        waiting = select(ORDER.c.id).where(ORDER.c.status == "pending_dp")
        return str(self._rows(waiting.order_by(ORDER.c.createdAt.desc()).limit(1))[0].id)

    def with_notes(self, notes: str) -> str:
        """Return the id of the order with these notes."""
        return str(self._rows(_BY_NOTES.bindparams(notes=notes))[0].id)

    def dry_run(self) -> dict[str, str]:
        """Return what a dry run says about each order that is due or an anomaly, by id."""
        rules = self.app.rules.values()
        limit = self.app.settings.safety.max_per_sweep
        report = self.app.sweep().run(rules, limit=limit, dry_run=True)
        due = {key: f"due: {name}" for name, one in report.rules.items() for key in one.keys}
        now = clock.now()
        anomalies = {
            row.key: f"anomaly: {row.reason}"
            for rule in rules
            if rule.anomalies
            for row in self._rows(rule.anomalies(self.app.scanner.cutoff(rule, now)))
        }
        return due | anomalies

    def stock(self) -> list[Product]:
        """Return all products, in the order in which they were added."""
        return [Product(*row) for row in self._rows(_STOCK)]

    def notices(self, order_ids: Iterable[str]) -> list[Notice]:
        """Return the notices about these orders, in the order of *order_ids*."""
        order_id = NOTIFICATION_LOG.c.metadata["orderId"].astext
        log = NOTIFICATION_LOG.c
        columns = (log.eventType, log.recipientId, log.status, log.errorMessage, log.metadata)
        wanted = list(order_ids)
        rows = self._rows(
            select(*columns)
            .where(order_id.in_(wanted))
            .order_by(func.array_position(wanted, order_id), log.eventType.desc())
        )
        return [Notice(*row) for row in rows]

    def jobs_done(self) -> list[tuple[str, int]]:
        """Return how many jobs of each type were done, as the ledger has it."""
        return [(name, done) for name, done in self._rows(_DONE)]

    def owed(self) -> tuple[int, int]:
        """Return the number of refunds that are due, and their sum in whole rupiah."""
        due = select(func.count(), func.sum(REFUND.c.amount)).where(REFUND.c.state == "due")
        ((count, amount),) = self._rows(due)
        return count, amount

    def _rows(self, query: Any) -> Any:
        with self.app.database.transaction(schema_in_path=True) as tx:
            return tx.execute(query).all()
