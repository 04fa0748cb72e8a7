"""The books forget what is older than history.keep: in small batches, sweeps before their jobs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Table, delete, select, text, tuple_

from sweeper import events
from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.postgres.database import Database

BATCH = 1000
"""Rows that one transaction deletes at most, so that nobody waits for it."""

_ALONE = text("select pg_advisory_xact_lock(hashtextextended('sweeper.history', 0))")
_MARGIN = timedelta(hours=1)  # more than clocks may differ: no sweep may outlive its jobs' endings


@dataclass(frozen=True, slots=True)
class Pruner:
    """Prunes the books; *keep* is how long they remember."""

    database: Database
    keep: timedelta

    def prune(self, now: datetime, stopping: Callable[[], bool] = lambda: False) -> None:
        """Delete what is too old, and say how much; *stopping* is asked between transactions."""
        before = now - self.keep
        sweeps = self._delete(SWEEP, before, stopping)
        jobs = self._delete(JOB_LOG, before - _MARGIN, stopping)
        if sweeps or jobs:
            events.HISTORY_PRUNED.log(before=before.isoformat(), sweeps=sweeps, jobs=jobs)

    def _delete(self, table: Table, before: datetime, stopping: Callable[[], bool]) -> int:
        key = tuple_(*table.primary_key.columns)
        old = select(*table.primary_key.columns).where(table.c.at < before).limit(BATCH)
        total, deleted = 0, BATCH
        while deleted == BATCH and not stopping():
            with self.database.transaction() as tx:
                tx.execute(_ALONE)  # so that less than a batch means that nothing is left
                deleted = tx.execute(delete(table).where(key.in_(old))).rowcount
            total += deleted
        return total
