"""The jobs that sweeps have sent, by the sweeps' own rows, and how often each has ended."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Text, case, cast, func, null, select, true
from sqlalchemy.dialects.postgresql import UUID

from sweeper.ledger import JOB_LOG, SWEEP, Outcome

_UUID = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


def uuid_of(sweep_id: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the id of a sweep as a sweep has it; NULL for a text that is none."""
    return case((sweep_id.regexp_match(_UUID), cast(sweep_id, UUID)), else_=null())


def same_job(one: FromClause, sent: FromClause) -> ColumnElement[bool]:
    """Return whether *one* is about the same job of the same sweep as *sent*."""
    kind = one.c.type if "type" in one.c else one.c.job_type
    return (
        (one.c.sweep_id == sent.c.sweep_id) & (kind == sent.c.job_type) & (one.c.key == sent.c.key)
    )


def sent(part: ColumnElement[bool]) -> CTE:
    """Select every job that the sweeps which meet *part* have sent, by their own rows."""
    return (
        select(
            cast(SWEEP.c.id, Text).label("sweep_id"),
            SWEEP.c.rule,
            SWEEP.c.job_type,
            func.unnest(SWEEP.c["keys"]).label("key"),
        )
        .where(part)
        .cte("sent")
    )


def judged(jobs: CTE) -> CTE:
    """Add to each job how often it ended, and how often it was done.

    Each is looked up by its key, because the ledger is much longer than what is checked of it.
    """

    def count(*outcomes: Outcome) -> ColumnElement[int]:
        return func.count().filter(JOB_LOG.c.outcome.in_(outcomes))

    # Only an operator revives a dead letter, which may be one that never was our job.
    dead = func.greatest(count(Outcome.DEAD) - count(Outcome.REVIVED), 0)
    endings = (
        select(
            count(Outcome.DONE).label("done"),
            (count(Outcome.DONE, Outcome.SKIPPED) + dead).label("times"),
        )
        .where(same_job(JOB_LOG, jobs))
        .lateral("endings")
    )
    return select(jobs, endings).select_from(jobs.join(endings, true())).cte("judged")
