"""The audit of the ledger: every sweep's counts add up, and every job that it sent ended once."""

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    func,
    literal,
    select,
    union_all,
)

from sweeper.catalog import Catalog
from sweeper.ledger import JOB_LOG, SWEEP, Outcome
from sweeper.postgres.database import Database
from sweeper.queue.body import shown
from sweeper.queue.hidden import Hidden, hidden
from sweeper.queue.inspect import sent_by_sweeps
from sweeper.queue.pgmq import Queues

_NAMED = 100  # foreign messages that are named; all are counted


@dataclass(frozen=True, slots=True)
class Gap:
    """One inconsistency in the ledger; key is None if it concerns a whole sweep."""

    sweep_id: str
    rule: str
    key: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """A job that names a sweep which did not send it, by the sweep's own row, or not so often.

    Any sender can write the id of a sweep into a message, so it is attributed to none.
    """

    sweep_id: str
    type: str | None
    key: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class Balance:
    """The result of an audit.

    sweeps, jobs  -- how many were checked
    waiting       -- jobs that are still in a live queue, and so have not ended
    gaps          -- what does not add up; empty if the ledger is consistent
    foreign       -- the first jobs that are foreign, of foreign_count
    hidden        -- live messages that become visible later than any of ours
    """

    sweeps: int
    jobs: int
    waiting: int
    gaps: tuple[Gap, ...]
    foreign: tuple[Foreign, ...] = ()
    foreign_count: int = 0
    hidden: Hidden = field(default_factory=Hidden)


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
            waiting, gaps, count, foreign = self._compare(tx)
            every_gap = (*_sums(tx), *gaps)
            far = hidden(tx, self.queues)
            return Balance(sweeps, jobs, waiting, every_gap, tuple(foreign), count, far)

    def _compare(self, tx: Connection) -> tuple[int, list[Gap], int, list[Foreign]]:
        """Compare each job that a sweep sent with its outcomes and with the live queues.

        Returns how many wait, the gaps, and how many messages are foreign with the first of them.
        """
        sent, ended = _sent(), _ended()
        live = sent_by_sweeps(self.queues, list(self.catalog.jobs.values())).cte("live")
        times, waits = func.coalesce(ended.c.times, 0), func.coalesce(live.c.messages, 0)
        rows = (
            select(
                sent,
                func.coalesce(ended.c.done, 0).label("done"),
                times.label("times"),
                waits.label("waits"),
            )
            .select_from(
                sent.outerjoin(ended, _same_job(ended, sent)).outerjoin(live, _same_job(live, sent))
            )
            .cte("compared")
        )
        is_waiting = (rows.c.waits > 0) & (rows.c.times == 0)
        waiting = tx.execute(select(func.count()).where(is_waiting)).scalar_one()
        unbalanced = select(rows).where((rows.c.times + rows.c.waits < 1) | (rows.c.done > 1))
        gaps = [
            Gap(row.sweep_id, row.rule, row.key, _problem(row.times, row.waits))
            for row in tx.execute(unbalanced)
        ]
        count, named = _foreign(tx, rows, sent, ended, live)
        return waiting, gaps, count, named


def _sent() -> CTE:
    """Select every job that a sweep has sent, by its own row."""
    return select(
        cast(SWEEP.c.id, Text).label("sweep_id"),
        SWEEP.c.rule,
        SWEEP.c.job_type,
        func.unnest(SWEEP.c["keys"]).label("key"),
    ).cte("sent")


def _ended() -> CTE:
    """Select how often each job ended that names a sweep, and how often it was done."""

    def count(*outcomes: Outcome) -> ColumnElement[int]:
        return func.count().filter(JOB_LOG.c.outcome.in_(outcomes))

    # Only an operator revives a dead letter, which may be one that never was our job.
    dead = func.greatest(count(Outcome.DEAD) - count(Outcome.REVIVED), 0)
    return (
        select(
            JOB_LOG.c.sweep_id,
            JOB_LOG.c.job_type,
            JOB_LOG.c.key,
            count(Outcome.DONE).label("done"),
            (count(Outcome.DONE, Outcome.SKIPPED) + dead).label("times"),
        )
        .where(JOB_LOG.c.sweep_id.is_not(None))
        .group_by(JOB_LOG.c.sweep_id, JOB_LOG.c.job_type, JOB_LOG.c.key)
        .cte("ended")
    )


def _same_job(one: CTE, sent: CTE) -> ColumnElement[bool]:
    kind = one.c.type if "type" in one.c else one.c.job_type
    return (
        (one.c.sweep_id == sent.c.sweep_id) & (kind == sent.c.job_type) & (one.c.key == sent.c.key)
    )


def _foreign(
    tx: Connection, rows: CTE, sent: CTE, ended: CTE, live: CTE
) -> tuple[int, list[Foreign]]:
    """Return how many jobs name a sweep that did not send them, or not so often; and the first."""
    zero, ours, theirs = literal(0), literal(value=True), literal(value=False)
    copies = select(
        rows.c.sweep_id, rows.c.job_type, rows.c.key, rows.c.times, rows.c.waits, ours
    ).where(rows.c.times + rows.c.waits > 1, rows.c.done <= 1)
    waiting = select(live.c.sweep_id, live.c.type, live.c.key, zero, live.c.messages, theirs).where(
        ~select(sent.c.key).where(_same_job(live, sent)).exists()
    )
    # An ending whose sweep is gone may be one of a sweep that was pruned.
    known = select(SWEEP.c.id).where(cast(SWEEP.c.id, Text) == ended.c.sweep_id).exists()
    late = select(
        ended.c.sweep_id, ended.c.job_type, ended.c.key, ended.c.times, zero, theirs
    ).where(known, ~select(sent.c.key).where(_same_job(ended, sent)).exists())
    found = union_all(copies, waiting, late).subquery("found")
    sweep_id, kind, key, times, waits, of_sweep = found.c
    query: Select[Any] = select(
        shown(sweep_id).label("sweep_id"),
        shown(kind).label("type"),
        shown(key).label("key"),
        times.label("times"),
        waits.label("waits"),
        of_sweep.label("ours"),
        func.count().over().label("total"),
    )
    named = tx.execute(query.order_by(key, kind, sweep_id).limit(_NAMED)).all()
    return (named[0].total if named else 0), [
        Foreign(row.sweep_id, row.type, row.key, _foreign_problem(row)) for row in named
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


def _foreign_problem(row: Any) -> str:
    if row.ours:
        return f"{_problem(row.times, row.waits)}: copies, or forged"
    what = f"a {row.type} that this sweep did not send"
    return f"{what} waits" if row.waits else f"{what} ended"
