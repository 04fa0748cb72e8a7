"""The ledger: one row for every scan of a rule, and one for every job that ended."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    CompoundSelect,
    Connection,
    Insert,
    Integer,
    MetaData,
    Row,
    Select,
    Table,
    Text,
    bindparam,
    func,
    insert,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP, UUID

SCHEMA = "sweeper"
METADATA = MetaData(schema=SCHEMA)
"""Schema `sweeper`; the tables that job files add to it are declared with this, too."""

MOST_COUNTED = 1_000_000
"""The latest endings among which the completed jobs are counted."""


class Trigger(StrEnum):
    """What started a sweep."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    SIGNAL = "signal"


class Outcome(StrEnum):
    """The outcome of a job's execution; a retried or postponed job runs again, others have ended.

    A dead job is revived when an operator retries its dead letter, and dropped with the letter.
    """

    DONE = "done"
    SKIPPED = "skipped"
    RETRIED = "retried"
    POSTPONED = "postponed"
    DEAD = "dead"
    REVIVED = "revived"
    DROPPED = "dropped"

    @property
    def in_words(self) -> str:
        """What people are shown: a failed job that runs again is told from a retry by hand."""
        return "failed, will retry" if self is Outcome.RETRIED else self.value


SWEEP = Table(
    "sweep",
    METADATA,
    Column("id", UUID(as_uuid=False), primary_key=True),
    Column("rule", Text, primary_key=True),
    Column("job_type", Text, nullable=False),
    Column("trigger", Text, nullable=False),
    Column("actor", Text),
    Column("reason", Text),
    Column("host", Text, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
    Column("cutoff", TIMESTAMP(timezone=True), nullable=False),
    Column("found", Integer, nullable=False),
    Column("enqueued", Integer, nullable=False),
    Column("already_queued", Integer, nullable=False),
    Column("dead", Integer, nullable=False),
    Column("braked", Integer, nullable=False),
    Column("anomalies", Integer, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("keys", ARRAY(Text), nullable=False),
)

JOB_LOG = Table(
    "job_log",
    METADATA,
    Column("id", BigInteger, primary_key=True),
    Column("job_type", Text, nullable=False),
    Column("key", Text),
    Column("msg_id", BigInteger, nullable=False),
    Column("sweep_id", Text),
    Column("outcome", Text, nullable=False),
    Column("reason", Text),
    Column("attempt", Integer, nullable=False),
    Column("at", TIMESTAMP(timezone=True), nullable=False),
)


class Ending(NamedTuple):
    """The ledger's entry on how one job ended.

    msg_id  -- the id of its message in the queue from which it was read
    attempt -- how often the job was executed
    """

    job_type: str
    key: str | None
    msg_id: int
    sweep_id: str | None
    outcome: Outcome
    reason: str | None
    attempt: int


_ENDING = {name: JOB_LOG.c[name].type for name in Ending._fields}


def recording(endings: Sequence[Ending], at: datetime) -> tuple[Insert, dict[str, Any]]:
    """Return the statement that writes into the ledger how jobs ended, and its values.

    Most columns of a batch have one value only, which is sent once.
    """
    values, many = dict[str, Any](), ["msg_id"]
    for name, column in zip(Ending._fields, zip(*endings, strict=True), strict=True):
        if name != "msg_id" and len(set(column)) == 1:
            values[f"{name}s"] = column[0]
        else:
            values[f"{name}s"] = list(column)
            many.append(name)
    return _recording(frozenset(many)), {**values, "ended_at": at}


@cache
def _recording(many: frozenset[str]) -> Insert:
    """Return the statement for jobs that differ in *many* columns."""
    columns = [
        func.unnest(bindparam(f"{name}s", type_=ARRAY(kind)))
        if name in many
        else bindparam(f"{name}s", type_=kind)
        for name, kind in _ENDING.items()
    ]
    rows = select(*columns, bindparam("ended_at", type_=JOB_LOG.c.at.type))
    return insert(JOB_LOG).from_select([*_ENDING, "at"], rows)


def record(tx: Connection, endings: Sequence[Ending], at: datetime) -> None:
    """Write into the ledger how jobs ended, in the transaction of their effects."""
    if endings:
        tx.execute(*recording(endings, at))


class Completed(NamedTuple):
    """How many jobs were done or skipped; is_capped tells whether older ones were left out."""

    jobs: int
    is_capped: bool


def completed(tx: Connection) -> Completed:
    """Count the jobs that were done or skipped, among the latest MOST_COUNTED endings."""
    latest = select(JOB_LOG.c.outcome).order_by(JOB_LOG.c.id.desc()).limit(MOST_COUNTED)
    some = latest.subquery("some")
    done = func.count().filter(some.c.outcome.in_((Outcome.DONE, Outcome.SKIPPED)))
    jobs, looked_at = tx.execute(select(done, func.count()).select_from(some)).one()
    return Completed(jobs, looked_at >= MOST_COUNTED)


def recent_sweeps(
    tx: Connection, rules: Iterable[str], limit: int, before: datetime | None = None
) -> list[Row[Any]]:
    """Return up to *limit* scans of each rule, the latest first, without their keys.

    before -- only scans that are older
    """
    columns = [column for column in SWEEP.c if column.name != "keys"]
    older = [] if before is None else [SWEEP.c.at < before]
    latest = [
        select(*columns)
        .where(SWEEP.c.rule == rule, *older)
        .order_by(SWEEP.c.at.desc())
        .limit(limit)
        for rule in rules
    ]
    scans = union_all(*latest).subquery("scans")
    return list(tx.execute(select(scans).order_by(scans.c.at.desc(), scans.c.rule)))


def last_sweeps(rules: Iterable[str]) -> CompoundSelect[str, datetime, bool]:
    """Select each rule's name, when it was last scanned, and whether the scan succeeded."""
    columns = (SWEEP.c.rule, SWEEP.c.at, SWEEP.c.ok)
    # One look into the index for each rule: one for all would read every scan there is.
    latest = [
        select(*columns).where(SWEEP.c.rule == rule).order_by(SWEEP.c.at.desc()).limit(1)
        for rule in rules
    ]
    return union_all(*(select(one.subquery()) for one in latest))


def latest_scans(scans: int, jobs: int, before: datetime | None = None) -> Select[datetime]:
    """Select the time since which the latest scans were made; NULL where there is none.

    They are whole scans, no more than *scans*, and none older than what sent the last of *jobs*.

    before -- only scans that are older
    """
    newest = select(SWEEP.c.at, SWEEP.c.enqueued).order_by(SWEEP.c.at.desc()).limit(scans)
    if before is not None:
        newest = newest.where(SWEEP.c.at < before)
    some = newest.subquery("some")
    later = (
        func.sum(some.c.enqueued).over(order_by=some.c.at.desc(), rows=(None, 0)) - some.c.enqueued
    )
    summed = select(some.c.at, later.label("later")).subquery("summed")
    return select(func.min(summed.c.at)).where(summed.c.later < jobs)
