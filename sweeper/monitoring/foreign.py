"""Foreign jobs: they name a sweep that did not send them, by the sweep's own row.

Any sender can write the id of a sweep into a message, so such a job is attributed to none.
"""

from dataclasses import dataclass

from sqlalchemy import (
    CTE,
    Connection,
    Text,
    any_,
    cast,
    except_,
    func,
    select,
)

from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.monitoring.sent import uuid_of
from sweeper.postgres.deferred import avoid
from sweeper.queue.body import shown

NAMED = 100
"""The most foreign jobs that are named; all are counted."""

ENDINGS = 100_000
"""The most endings that are looked at at once."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A job that names a sweep which did not send it, by the sweep's own row, or not so often."""

    sweep_id: str
    type: str | None
    key: str | None
    problem: str


def waiting(tx: Connection, live: CTE) -> tuple[int, list[Foreign]]:
    """Return how many of the live messages are foreign, and the first of them."""
    jobs = select(live.c.sweep_id, live.c.type.label("job_type"), live.c.key).cte("jobs")
    return _strangers(tx, jobs, "waits", only_known=False)


def ended(tx: Connection, before: int | None) -> tuple[int, list[Foreign], int | None]:
    """Return how many of the latest endings are of foreign jobs, and the first of them.

    One whose sweep is gone may be one of a sweep that was pruned.

    before -- only endings with smaller ids
    Also returns the id before which there are more endings; None if there are none.
    """
    avoid(tx, "sort", "seqscan")
    latest = select(JOB_LOG.c.id).order_by(JOB_LOG.c.id.desc())
    if before is not None:
        latest = latest.where(JOB_LOG.c.id < before)
    first = tx.execute(latest.offset(ENDINGS - 1).limit(1)).scalar()
    rows = select(JOB_LOG.c.sweep_id, JOB_LOG.c.job_type, JOB_LOG.c.key)
    rows = rows.where(JOB_LOG.c.sweep_id.is_not(None), JOB_LOG.c.id >= (first or 0))
    jobs = (rows if before is None else rows.where(JOB_LOG.c.id < before)).cte("jobs")
    count, some = _strangers(tx, jobs, "ended", only_known=True)
    if (
        first is not None
        and tx.execute(latest.where(JOB_LOG.c.id < first).limit(1)).first() is None
    ):
        first = None
    return count, some, first


def _strangers(
    tx: Connection, jobs: CTE, what: str, *, only_known: bool
) -> tuple[int, list[Foreign]]:
    """Return how many *jobs* their sweeps did not send, and the first of them.

    only_known -- whether to leave out those whose sweep does not exist
    """
    named = select(jobs.c.sweep_id).distinct().subquery("named").c.sweep_id
    ids = select(uuid_of(named))
    known = select(SWEEP).where(SWEEP.c.id == any_(func.array(ids.scalar_subquery()))).cte("known")
    key = func.unnest(known.c["keys"])
    sent = select(cast(known.c.id, Text), known.c.job_type, key)
    # Unlike a join, this is never a nested loop.
    strange = except_(select(jobs), sent).subquery("strange")
    query = select(
        shown(strange.c.sweep_id).label("sweep_id"),
        shown(strange.c.job_type).label("type"),
        shown(strange.c.key).label("key"),
        func.count().over().label("total"),
    )
    if only_known:
        query = query.where(strange.c.sweep_id.in_(select(cast(known.c.id, Text))))
    found = tx.execute(query.order_by(*strange.c).limit(NAMED)).all()
    return (found[0].total if found else 0), [
        Foreign(
            row.sweep_id, row.type, row.key, f"a {row.type} that this sweep did not send {what}"
        )
        for row in found
    ]
