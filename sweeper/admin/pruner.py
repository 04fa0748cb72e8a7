"""Pruning: delete old rows of the ledger, and old dead letters if asked to, in small batches.

No login of ours may delete from the ledger: a function of its owner does, and keeps the last day.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Table, text

from sweeper import events
from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.postgres import row_lock
from sweeper.postgres.database import Database
from sweeper.queue import lost_read
from sweeper.queue.acts import ACT
from sweeper.queue.dead_letters.dead_letter_queue import DeadLetterQueue

BATCH = 1000
"""Maximum number of rows that one transaction deletes, to keep its locks short."""

_LOCK = "history"
_PRUNE = text(
    "select sweeper.prune(cast(:ledger as text), cast(:before as timestamptz),"
    " cast(:most as integer))"
)
_MARGIN = timedelta(hours=1)  # more than clocks may differ, so that sweeps go before their jobs


@dataclass(frozen=True, slots=True)
class Pruner:
    """Deletes old rows of the ledger, old dead letters, and the marks of readers that are gone.

    keep      -- how long a row is kept, at least a day
    keep_dead -- how long a dead letter is kept; None for until a person decides
    """

    database: Database
    keep: timedelta
    dead_letters: DeadLetterQueue
    keep_dead: timedelta | None

    def prune(self, now: datetime, stopping: Callable[[], bool] = lambda: False) -> None:
        """Delete the old rows and log how many; stop between two transactions once *stopping()*."""
        before = now - self.keep
        sweeps = self._delete(SWEEP, before, stopping)
        jobs = self._delete(JOB_LOG, before - _MARGIN, stopping)
        acts = self._delete(ACT, before, stopping)
        if sweeps or jobs or acts:
            events.HISTORY_PRUNED.log(
                before=before.isoformat(), sweeps=sweeps, jobs=jobs, acts=acts
            )
        if self.keep_dead:
            self.dead_letters.purge(self.keep_dead, stopping)
        with self.database.transaction() as tx:
            lost_read.prune(tx)

    def _delete(self, table: Table, before: datetime, stopping: Callable[[], bool]) -> int:
        parameters = {"ledger": table.name, "before": before, "most": BATCH}
        total, deleted = 0, BATCH
        while deleted == BATCH and not stopping():
            with self.database.transaction() as tx:
                # The lock is for less than a batch to mean that nothing is left.
                row_lock.take(tx, self.database, _LOCK)
                deleted = int(tx.execute(_PRUNE, parameters).scalar_one())
            total += deleted
        return total
