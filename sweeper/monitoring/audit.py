"""The audit of the ledger: every sweep's counts add up, and every job that it sent ended once."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Text, cast, func, select

from sweeper.catalog import Catalog
from sweeper.ledger import JOB_LOG, SWEEP, Outcome
from sweeper.postgres.database import Database
from sweeper.queue.inspect import sent_by_sweeps
from sweeper.queue.pgmq import Queues

_ENDS = (Outcome.DONE, Outcome.SKIPPED, Outcome.DEAD)


@dataclass(frozen=True, slots=True)
class Gap:
    """One inconsistency in the ledger; key is None if it concerns a whole sweep."""

    sweep_id: str
    rule: str
    key: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Balance:
    """The result of an audit.

    sweeps, jobs -- how many were checked
    waiting      -- jobs that are still in a live queue, and so have not ended
    gaps         -- what does not add up; empty if the ledger is consistent
    """

    sweeps: int
    jobs: int
    waiting: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Compares the ledger with the queues, in one transaction."""

    database: Database
    queues: Queues
    catalog: Catalog

    def audit(self) -> Balance:
        """Check found = enqueued + already queued + dead + braked, and that each job ended once."""
        with self.database.transaction() as tx:
            sweeps, jobs = tx.execute(
                select(func.count(), func.coalesce(func.sum(SWEEP.c.enqueued), 0))
            ).one()
            waiting, gaps = self._jobs(tx)
            return Balance(sweeps, jobs, waiting, (*_sums(tx), *gaps))

    def _jobs(self, tx: Connection) -> tuple[int, list[Gap]]:
        """Compare each job that a sweep sent with its outcomes and with the live queues."""
        sent = select(
            cast(SWEEP.c.id, Text).label("sweep_id"),
            SWEEP.c.rule,
            SWEEP.c.job_type,
            func.unnest(SWEEP.c["keys"]).label("key"),
        ).cte("sent")
        ended = (
            select(
                JOB_LOG.c.sweep_id,
                JOB_LOG.c.job_type,
                JOB_LOG.c.key,
                (
                    func.count().filter(JOB_LOG.c.outcome.in_(_ENDS))
                    - func.count().filter(JOB_LOG.c.outcome == Outcome.REVIVED)
                ).label("times"),
            )
            .where(JOB_LOG.c.sweep_id.is_not(None))
            .group_by(JOB_LOG.c.sweep_id, JOB_LOG.c.job_type, JOB_LOG.c.key)
            .cte("ended")
        )
        live = sent_by_sweeps(self.queues, list(self.catalog.jobs.values())).cte("live")
        times, waits = func.coalesce(ended.c.times, 0), func.coalesce(live.c.messages, 0)
        compared = select(sent, times.label("times"), waits.label("waits")).select_from(
            sent.outerjoin(
                ended,
                (ended.c.sweep_id == sent.c.sweep_id)
                & (ended.c.job_type == sent.c.job_type)
                & (ended.c.key == sent.c.key),
            ).outerjoin(
                live,
                (live.c.sweep_id == sent.c.sweep_id)
                & (live.c.type == sent.c.job_type)
                & (live.c.key == sent.c.key),
            )
        )
        rows = compared.subquery("compared")
        waiting = tx.execute(
            select(func.count()).where(rows.c.waits > 0).select_from(rows)
        ).scalar_one()
        unbalanced = tx.execute(select(rows).where(rows.c.times + rows.c.waits != 1))
        return waiting, [
            Gap(row.sweep_id, row.rule, row.key, _problem(row.times, row.waits))
            for row in unbalanced
        ]


def _sums(tx: Connection) -> list[Gap]:
    counted = SWEEP.c.enqueued + SWEEP.c.already_queued + SWEEP.c.dead + SWEEP.c.braked
    listed = func.cardinality(SWEEP.c["keys"])
    unbalanced = select(SWEEP, listed.label("listed")).where(
        (SWEEP.c.found != counted) | (SWEEP.c.enqueued != listed)
    )
    return [
        Gap(
            str(row.id),
            row.rule,
            None,
            f"found {row.found}, but {row.enqueued} enqueued, {row.already_queued} already queued, "
            f"{row.dead} dead, {row.braked} braked, {row.listed} keys",
        )
        for row in tx.execute(unbalanced)
    ]


def _problem(times: int, waits: Any) -> str:
    if not times and not waits:
        return "the job is neither in a queue nor in the books: it is lost"
    return f"the job ended {times} times, and {waits} messages of it wait"
