"""The audit of the ledger: every sweep's counts add up, and every job that it sent ended once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    cast,
    func,
    select,
)

from sweeper.catalog import Catalog
from sweeper.job import JobType
from sweeper.ledger import SWEEP, latest_scans
from sweeper.monitoring.foreign import NAMED, Foreign, ended, waiting
from sweeper.monitoring.sent import judged, same_job, sent
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.hidden import Hidden, hidden
from sweeper.queue.inspect import has_more, sent_by_sweeps
from sweeper.queue.pgmq import Queues

SCANS = 10_000
"""The most scans that are checked at once: those of some days."""

JOBS = 10_000
"""Where the scans that are checked at once have sent so many jobs, no older one is checked."""

MESSAGES = 100_000
"""The latest messages of each queue among which foreign ones are looked for."""


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

    sweeps, jobs  -- how many were checked
    waiting       -- jobs that are still in a live queue, and so have not ended
    gaps          -- what does not add up; empty if the ledger is consistent
    foreign       -- the first jobs that are foreign, of foreign_count
    hidden        -- live messages that become visible later than any of ours
    since         -- when the first of the sweeps was made; None if all there are were checked
    left_out      -- what was not looked at, in words; empty if everything was
    """

    sweeps: int
    jobs: int
    waiting: int
    gaps: tuple[Gap, ...]
    foreign: tuple[Foreign, ...] = ()
    foreign_count: int = 0
    hidden: Hidden = field(default_factory=Hidden)
    since: str | None = None
    left_out: tuple[str, ...] = ()


@dataclass(slots=True)
class _Findings:
    """What has been found so far."""

    sweeps: int = 0
    jobs: int = 0
    waiting: int = 0
    gaps: list[Gap] = field(default_factory=list)
    foreign: list[Foreign] = field(default_factory=list)
    foreign_count: int = 0
    left_out: list[str] = field(default_factory=list)

    def add_foreign(self, count: int, some: list[Foreign]) -> None:
        self.foreign_count += count
        self.foreign += some[: NAMED - len(self.foreign)]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Compares the ledger with the queues, a part of the ledger in each transaction."""

    database: Database
    queues: Queues
    catalog: Catalog

    def audit(
        self, *, everything: bool = False, checked: Callable[[int], None] = lambda _jobs: None
    ) -> Balance:
        """Check found = enqueued + already queued + dead + braked, and that each job ended once.

        everything -- whether to check the whole ledger, or only its newest part
        checked    -- called with the number of jobs of each part that has been checked
        """
        found = _Findings()
        since = self._sweeps(found, checked, everything=everything)
        far = self._messages(found, everything=everything)
        self._endings(found, everything=everything)
        return Balance(
            found.sweeps,
            found.jobs,
            found.waiting,
            tuple(found.gaps),
            tuple(found.foreign),
            found.foreign_count,
            far,
            iso(since) if since else None,
            tuple(found.left_out),
        )

    def _sweeps(
        self, found: _Findings, checked: Callable[[int], None], *, everything: bool
    ) -> datetime | None:
        """Check the sweeps, the newest first; return since when, or None if that was all of them.

        They are checked in parts, each with its jobs' endings and messages in one snapshot.
        """
        until: datetime | None = None
        while True:
            with self.database.transaction() as tx:
                avoid(tx, "sort", "seqscan")
                since = tx.execute(latest_scans(SCANS, JOBS, until)).scalar()
                if since is None:
                    return None
                if until is not None and not everything:
                    found.left_out.append(f"the sweeps before {iso(until)}, and their jobs")
                    return until
                part = SWEEP.c.at >= since
                part = part if until is None else part & (SWEEP.c.at < until)
                jobs = self._part(tx, part, found)
            checked(jobs)
            until = since

    def _part(self, tx: Connection, part: ColumnElement[bool], found: _Findings) -> int:
        """Check the sweeps that meet *part*; return how many jobs they have sent."""
        total = func.coalesce(func.sum(SWEEP.c.enqueued), 0)
        sweeps, jobs = tx.execute(select(func.count(), total).where(part)).one()
        found.sweeps += sweeps
        found.jobs += jobs
        found.gaps += _sums(tx, part)
        rows = tx.execute(self._compared(part)).all()
        found.waiting += rows[0].waiting
        copies = []
        for row in rows:
            if row.key is None:
                continue  # there is nothing to tell, apart from the number
            problem = _problem(row.times, row.waits)
            if row.times + row.waits < 1 or row.done > 1:
                found.gaps.append(Gap(row.sweep_id, row.rule, row.key, problem))
            else:
                copies.append(Foreign(row.sweep_id, row.job_type, row.key, f"{problem}: {_COPIES}"))
        found.add_foreign(len(copies), copies)
        return int(jobs)

    def _compared(self, part: ColumnElement[bool]) -> Select[Any]:
        """Compare each job that a sweep sent with its endings and with the live queues.

        Selects each that is lost, or is there more than once, and how many wait.
        """
        jobs = judged(sent(part))
        ids = select(cast(SWEEP.c.id, Text)).where(part)
        live = sent_by_sweeps(self.queues, self._jobs, sweeps=ids).cte("live")
        # A full join is never a nested loop, however few rows the server believes to be there.
        both = jobs.join(live, same_job(live, jobs), full=True)
        waits = func.coalesce(live.c.messages, 0).label("waits")
        rows = (
            select(jobs, waits)
            .select_from(both)
            .where(func.coalesce(jobs.c.times, -1) >= 0)
            .cte("compared")
        )
        is_waiting = (rows.c.waits > 0) & (rows.c.times == 0)
        waiting = select(func.count().label("waiting")).where(is_waiting).cte("all_that_wait")
        told = (rows.c.times + rows.c.waits != 1) | (rows.c.done > 1)
        return select(waiting, rows).select_from(waiting.outerjoin(rows, told))

    def _messages(self, found: _Findings, *, everything: bool) -> Hidden:
        """Find the live messages of foreign jobs, and return those that are hidden."""
        newest = None if everything else MESSAGES
        with self.database.transaction() as tx:
            avoid(tx, "sort")
            live = sent_by_sweeps(self.queues, self._jobs, newest=newest)
            found.add_foreign(*waiting(tx, live.cte("live")))
            if newest and has_more(tx, self.queues, newest):
                found.left_out.append(f"foreign messages beyond the latest {newest} of a queue")
            return hidden(tx, self.queues)

    def _endings(self, found: _Findings, *, everything: bool) -> None:
        """Find the endings of foreign jobs, the newest first."""
        before: int | None = None
        while True:
            with self.database.transaction() as tx:
                count, some, before = ended(tx, before)
            found.add_foreign(count, some)
            if before is None:
                return
            if not everything:
                found.left_out.append("what foreign jobs have ended before the latest endings")
                return

    @property
    def _jobs(self) -> list[JobType[Any]]:
        return list(self.catalog.jobs.values())


_COPIES = "copies, or forged"


def _sums(tx: Connection, part: ColumnElement[bool]) -> list[Gap]:
    counted = SWEEP.c.enqueued + SWEEP.c.already_queued + SWEEP.c.dead + SWEEP.c.braked
    listed = func.cardinality(SWEEP.c["keys"])
    unbalanced = select(SWEEP, listed.label("listed")).where(
        part, (SWEEP.c.found != counted) | (SWEEP.c.enqueued != listed)
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
        return "the job is neither in a queue nor in the ledger: it is lost"
    return f"the job ended {times} times, and {waits} messages of it wait"
