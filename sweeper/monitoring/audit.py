"""The books must balance: every sweep's counts add up, and every job it sent ended once."""

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
    """One thing that does not add up."""

    sweep_id: str
    rule: str
    key: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Balance:
    """What the audit found.

    sweeps, jobs -- how many were looked at
    waiting      -- jobs that are still in a live queue, and so have not ended
    """

    sweeps: int
    jobs: int
    waiting: int
    gaps: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Reads the ledger and the queues, at one moment."""

    database: Database
    queues: Queues
    catalog: Catalog

    def audit(self) -> Balance:
        """Return whether found = enqueued + already queued + dead + braked, and all jobs ended."""
        with self.database.transaction() as tx:
            sweeps, jobs = tx.execute(
                select(func.count(), func.coalesce(func.sum(SWEEP.c.enqueued), 0))
            ).one()
            waiting, gaps = self._jobs(tx)
            return Balance(sweeps, jobs, waiting, (*_sums(tx), *gaps))

    def _jobs(self, tx: Connection) -> tuple[int, list[Gap]]:
        """Hold each job that a sweep sent against its endings and the live queues."""
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
        held = select(sent, times.label("times"), waits.label("waits")).select_from(
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
        rows = held.subquery("held")
        waiting = tx.execute(
            select(func.count()).where(rows.c.waits > 0).select_from(rows)
        ).scalar_one()
        odd = tx.execute(select(rows).where(rows.c.times + rows.c.waits != 1))
        return waiting, [
            Gap(row.sweep_id, row.rule, row.key, _problem(row.times, row.waits)) for row in odd
        ]


def _sums(tx: Connection) -> list[Gap]:
    counted = SWEEP.c.enqueued + SWEEP.c.already_queued + SWEEP.c.dead + SWEEP.c.braked
    listed = func.cardinality(SWEEP.c["keys"])
    odd = select(SWEEP, listed.label("listed")).where(
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
        for row in tx.execute(odd)
    ]


def _problem(times: int, waits: Any) -> str:
    if not times and not waits:
        return "the job is neither in a queue nor in the books: it is lost"
    return f"the job ended {times} times, and {waits} messages of it wait"
