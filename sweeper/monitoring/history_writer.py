"""The writer of the history: counts each minute of the ledger, and keeps samples of the status.

The ledger of a month is too long to be counted while somebody waits for a picture of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, func, select, text
from sqlalchemy.dialects.postgresql import insert

from sweeper.monitoring.span import (
    GROWTH,
    HISTORY,
    HOUR,
    MINUTE,
    SHORTEST_WAIT,
    Span,
    floor,
    merged,
)
from sweeper.monitoring.status import Status
from sweeper.postgres import deferred, row_lock
from sweeper.postgres.database import Database

LATE = timedelta(minutes=2)
"""How long after its time a row of the ledger may commit and still be counted."""

FIRST = timedelta(days=30)
"""How much of a ledger is counted that is older than the history."""

MINUTES_KEPT = timedelta(days=2)

_LOCK = "minutes"
_MOST_SAMPLES = 60
_PK = [HISTORY.c.seconds, HISTORY.c.at]
_GAUGES = ("overdue", "oldest_overdue_seconds", "waiting", "dead", "figures")

# Jobs of one batch end at the same time, so each scan is looked up once for all of them. Whoever
# has sent a message can have written any attempt and any sweep into it.
_COUNT = text("""
    with ended as (
        select at, sweep_id, job_type, outcome, attempt, count(*) as jobs
        from sweeper.job_log where at >= :begins and at < :ends
        group by at, sweep_id, job_type, outcome, attempt
    ), timed as (
        select date_trunc('minute', ended.at, 'UTC') as minute, job_type, outcome, attempt, jobs,
            case when scan.at is not null then
                cast(ceil(ln(greatest(cast(extract(epoch from ended.at - scan.at) as float8),
                :shortest) / :shortest) / ln(cast(:growth as float8))) as integer) end as length
        from ended left join lateral (
            select sweep.at from sweeper.sweep
            where sweep.id = case when ended.sweep_id
                    ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                then cast(ended.sweep_id as uuid) end
            and sweep.job_type = ended.job_type limit 1
        ) as scan on true
    ), jobs as (
        select minute,
            sum(jobs) filter (where outcome = 'done' and length is not null) as done,
            sum(jobs) filter (where outcome = 'dead') as deaths,
            sum(jobs * (least(attempt, :most) - 1))
                filter (where outcome in ('done', 'skipped', 'dead') and attempt > 1) as retries,
            sum(jobs) filter (where outcome = 'done' and job_type = any(:outbound)) as outbound
        from timed group by minute
    ), by_length as (
        select minute, length, sum(jobs) as jobs from timed
        where outcome = 'done' and length is not null group by minute, length
    ), waits as (
        select minute, jsonb_object_agg(length, jobs) as waits from by_length group by minute
    ), scans as (
        select date_trunc('minute', at, 'UTC') as minute, max(found) as found,
            sum(enqueued) as enqueued
        from sweeper.sweep where at >= :begins and at < :ends group by 1
    )
    insert into sweeper.history
        (seconds, at, found, enqueued, done, deaths, retries, outbound, waits)
    select 60, minute, found, coalesce(enqueued, 0), coalesce(done, 0), coalesce(deaths, 0),
        coalesce(retries, 0), coalesce(outbound, 0), coalesce(waits, '{}')
    from generate_series(cast(:begins as timestamptz), cast(:last as timestamptz),
            interval '1 minute') as minute
        left join jobs using (minute) left join waits using (minute) left join scans using (minute)
    where cast(:last as timestamptz) <= now() and not exists (
        select from sweeper.history where seconds = 60 and at = :last and done is not null
    )
    on conflict (seconds, at) do update set found = excluded.found, enqueued = excluded.enqueued,
        done = excluded.done, deaths = excluded.deaths, retries = excluded.retries,
        outbound = excluded.outbound, waits = excluded.waits
""")
_COUNTED_UNTIL = text("""
    select max(at + seconds * interval '1 second') from (
        (select at, seconds from sweeper.history where seconds = 60 and done is not null
            order by at desc limit 1)
        union all
        (select at, seconds from sweeper.history where seconds = 3600 and done is not null
            order by at desc limit 1)
    ) as latest
""")
_LEDGER_BEGINS = text(
    "select least((select min(at) from sweeper.job_log), (select min(at) from sweeper.sweep))"
)
MOST_ATTEMPTS = 100
"""The most attempts of one job that are counted."""


class HistoryWriter:
    """Writes the history; any number of processes may do so at the same time.

    outbound -- the names of the job types of the outbound lane
    keep     -- how long an hour is kept
    """

    def __init__(self, database: Database, outbound: Sequence[str], keep: timedelta) -> None:
        self._database = database
        self._outbound = list(outbound)
        self._keep = keep
        self._until: datetime | None = None  # as far as this process knows
        self._samples: dict[datetime, Span] = {}

    def saw(self, status: Status) -> None:
        """Take a sample of a status that was read: the last one of each minute is kept."""
        depths = status.queues.values()
        at = floor(datetime.fromisoformat(status.at), MINUTE)
        self._samples[at] = Span(
            60,
            at,
            overdue=sum(rule.overdue for rule in status.rules.values()),
            oldest_overdue_seconds=status.oldest_overdue_seconds,
            waiting=sum(depth.ready + depth.delayed for depth in depths),
            dead=status.dead.count,
            figures=dict(status.figures),
        )
        for old in sorted(self._samples)[:-_MOST_SAMPLES]:
            del self._samples[old]

    def record(self, now: datetime, stopping: Callable[[], bool] = lambda: False) -> None:
        """Record all minutes that are over, an hour in each transaction; nothing is doubled.

        Raises LockedError where another process is at it.
        """
        over = floor(now, MINUTE)
        until = self._until
        if until is None or abs(over - until) > HOUR:  # others may have gone on meanwhile
            until = self._counted_until(over)
        while until < over and not stopping():
            ends = min(over, floor(until, HOUR) + HOUR)
            self._minutes(until - LATE, ends)
            first = floor(until - LATE, HOUR) + HOUR
            while first <= ends:
                self._hour(first - HOUR, now)
                first += HOUR
            until = self._until = ends

    def _counted_until(self, over: datetime) -> datetime:
        """Return until when the history is counted; without one, when the ledger begins."""
        with self._database.transaction() as tx:
            deferred.avoid(tx, "seqscan", "sort")
            counted = tx.execute(_COUNTED_UNTIL).scalar()
            began = None if counted else tx.execute(_LEDGER_BEGINS).scalar()
        begins = counted or (floor(began, MINUTE) + LATE if began else over)
        begins = max(begins, floor(over - FIRST, HOUR))
        return min(begins, over if counted else over - MINUTE)

    def _minutes(self, begins: datetime, ends: datetime) -> None:
        """Write the samples, and count the minutes from *begins* to *ends*, in one round trip."""
        samples = dict(self._samples)
        values = {
            "begins": begins,
            "ends": ends,
            "last": ends - MINUTE,
            "outbound": self._outbound,
            "shortest": SHORTEST_WAIT,
            "growth": GROWTH,
            "most": MOST_ATTEMPTS,
        }
        with self._database.transaction() as tx:
            deferred.avoid(tx, "seqscan")
            with row_lock.taken(tx, self._database, _LOCK):
                for sample in samples.values():
                    deferred.defer(tx, *_writing(sample, _GAUGES))
                tx.execute(_COUNT, values, execution_options=deferred.last(tx))
        for at, sample in samples.items():
            if self._samples.get(at) is sample:
                del self._samples[at]

    def _hour(self, at: datetime, now: datetime) -> None:
        """Make a row of the minutes of the hour, and delete what is older than it is kept."""
        c = HISTORY.c
        minutes_kept = min(MINUTES_KEPT, self._keep)
        with self._database.transaction() as tx:
            deferred.avoid(tx, "seqscan")
            row_lock.take(tx, self._database, _LOCK)
            hour = merged(minutes(tx, at, at + HOUR), at, HOUR)
            tx.execute(*_writing(hour, [f for f in asdict(hour) if f not in {"seconds", "at"}]))
            for seconds, kept in ((60, minutes_kept), (3600, self._keep)):
                # This hour's own minutes stay: it is made again while rows may still come late.
                old = c.at < func.least(min(at, now - kept), func.now() - kept)
                deferred.defer(tx, delete(HISTORY).where(c.seconds == seconds, old))


def minutes(tx: Connection, begins: datetime, ends: datetime, seconds: int = 60) -> list[Span]:
    """Return the spans of so many *seconds* that begin in this time, the oldest first."""
    c = HISTORY.c
    rows = select(HISTORY).where(c.seconds == seconds, c.at >= begins, c.at < ends)
    return [Span(*row) for row in tx.execute(rows.order_by(c.at))]


def _writing(span: Span, names: Sequence[str]) -> tuple[Any, dict[str, Any]]:
    """Return the statement that writes these fields of *span*, and leaves others as they are."""
    values = {name: getattr(span, name) for name in ("seconds", "at", *names)}
    row = insert(HISTORY).values(values)
    new = {name: row.excluded[name] for name in names}
    return row.on_conflict_do_update(index_elements=_PK, set_=new), {}
