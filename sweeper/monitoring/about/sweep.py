"""One sweep: its scans as the ledger has them, and what became of the jobs that they sent."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Connection, Row, Select, Text, any_, cast, func, select

from sweeper.catalog import Catalog
from sweeper.ledger import JOB_LOG, SWEEP
from sweeper.monitoring.backlog import why
from sweeper.postgres import clock
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.inspect import positions
from sweeper.queue.pgmq import Queues

MOST = 200
"""The most jobs of a scan that are looked up: the first."""

_MOST_ENDINGS = 10 * MOST  # a forger may have written more about them
_LOST = "neither ended nor waiting: sweeper audit tells"


_COLUMNS = [one.name for one in SWEEP.c if one.name not in {"id", "keys"}]


@dataclass(frozen=True, slots=True)
class SentJob:
    """A job that a scan has sent, and what became of it.

    outcome -- how it ended; None while it has not
    what    -- where it is, or why it ended so
    at      -- when it ended
    """

    key: str
    code: str | None
    outcome: str | None
    what: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Scan:
    """The scan of one rule: its row in the ledger, and the first of its jobs.

    left_out -- how many further jobs it has sent
    """

    rule: str
    job_type: str
    at: datetime
    trigger: str
    actor: str | None
    reason: str | None
    host: str
    cutoff: datetime
    found: int
    enqueued: int
    already_queued: int
    dead: int
    braked: int
    anomalies: int
    ok: bool
    jobs: Sequence[SentJob]
    left_out: int

    def as_json(self) -> dict[str, Any]:
        """Return the scan as the JSON documents show it."""
        jobs = [asdict(job) | {"at": iso(job.at) if job.at else None} for job in self.jobs]
        return asdict(self) | {"at": iso(self.at), "cutoff": iso(self.cutoff), "jobs": jobs}


@dataclass(frozen=True, slots=True)
class SweepReader:
    """Reads one sweep from the ledger and the queues."""

    database: Database
    queues: Queues
    catalog: Catalog

    def read(self, sweep_id: str) -> list[Scan]:
        """Return the scans of the sweep with this UUID, by rule; none if there is no such sweep."""
        columns = [SWEEP.c[name] for name in _COLUMNS]
        sent = func.cardinality(SWEEP.c["keys"]).label("sent")
        some = SWEEP.c["keys"][1:MOST].label("some")
        query: Select[Any] = select(*columns, sent, some).where(SWEEP.c.id == sweep_id)
        with self.database.transaction() as tx:
            avoid(tx, "seqscan")
            return [
                self._scan(tx, sweep_id, row)
                for row in tx.execute(query.order_by(SWEEP.c.rule)).all()
            ]

    def _scan(self, tx: Connection, sweep_id: str, row: Row[Any]) -> Scan:
        columns = {name: value for name, value in row._asdict().items() if name in _COLUMNS}
        jobs = self._jobs(tx, sweep_id, row)
        return Scan(**columns, jobs=jobs, left_out=row.sent - len(row.some))

    def _jobs(self, tx: Connection, sweep_id: str, row: Row[Any]) -> list[SentJob]:
        """Return what became of the jobs that *row* names, in its order."""
        ended = {one.key: one for one in reversed(tx.execute(_endings(sweep_id, row)).all())}
        open_keys = [key for key in row.some if key not in ended]
        job = self.catalog.jobs.get(row.job_type)
        found = positions(tx, self.queues, job, open_keys) if job and open_keys else {}
        codes, now = self.catalog.codes.of(tx, row.some), clock.now()
        jobs = list[SentJob]()
        for key in row.some:
            if key in ended:
                one = ended[key]
                told = (one.outcome, one.reason or "", one.at)
            else:
                told = (None, why(found[key], now, _LOST) if key in found else _LOST, None)
            jobs.append(SentJob(key, codes.get(key), *told))
        return jobs


def _endings(sweep_id: str, row: Row[Any]) -> Select[Any]:
    """Select how the jobs that *row* names ended, the last endings first; looked up by key."""
    named = (
        select(JOB_LOG)
        .where(
            JOB_LOG.c.key == any_(cast(row.some, ARRAY(Text))),
            JOB_LOG.c.sweep_id == sweep_id,
            JOB_LOG.c.job_type == row.job_type,
        )
        .cte("named")
        # Materialized: the server might walk through all ids for their order.
        .prefix_with("materialized")
    )
    columns = (named.c.key, named.c.outcome, named.c.reason, named.c.at)
    return select(*columns).order_by(named.c.id.desc()).limit(_MOST_ENDINGS)
