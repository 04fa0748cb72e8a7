"""Scanning: a rule and the time become messages, in one transaction with the sweep's ledger row."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, select, text

from sweeper import events
from sweeper.event import INSTANCE
from sweeper.ledger import SWEEP, Trigger
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule
from sweeper.sweep.statement import ScanStatement

_LOCK = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
_LOCK_TIMEOUT = timedelta(seconds=10)  # for another scan of the same job type to end
_NAMED = 100  # anomalies that one scan names in the log; all are counted


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How a rule is to be scanned.

    sweep_id -- shared by the scans of one sweep
    limit    -- the brake: where more rows are due, none is enqueued
    actor    -- who asked for the sweep, and reason why; None for the schedule
    dry_run  -- return which rows were enqueued: all is going to be rolled back
    every    -- on a schedule: the length of a slot, in which one scan is enough for all machines
    planned  -- by rule: the keys that may be enqueued; None for all that are due
    """

    sweep_id: str
    trigger: Trigger
    limit: int
    actor: str | None = None
    reason: str | None = None
    dry_run: bool = False
    every: timedelta | None = None
    planned: Mapping[str, Sequence[str]] | None = None


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What one scan found and did; found = enqueued + already_queued + dead + braked.

    keys            -- the rows that were enqueued, and
    named_anomalies -- up to a hundred anomalies as (key, reason); both of a dry run only
    """

    found: int
    enqueued: int
    already_queued: int
    dead: int
    braked: int
    anomalies: int
    keys: tuple[str, ...] = ()
    named_anomalies: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Scanner:
    """Finds what is due.

    older_than  -- by rule name, where the settings differ from the rule
    max_retries -- for jobs whose type does not say
    max_skew    -- how far this host's clock and the database's may differ
    """

    database: Database
    queues: Queues
    older_than: Mapping[str, timedelta]
    max_retries: int
    max_skew: timedelta
    _logged: set[tuple[str, str]] = field(default_factory=set, init=False)

    def cutoff(self, rule: Rule, now: datetime) -> datetime:
        """Return the time before which a row must have begun to wait to be due at *now*."""
        return now - self.older_than.get(rule.name, rule.older_than)

    def scan(self, rule: Rule, options: ScanOptions) -> ScanResult | None:
        """Enqueue one job for every row that *rule* finds due, unless that is more than the limit.

        Returns None where another machine has scanned this slot of the schedule already.
        Raises ClockSkewedError, with nothing touched, where the clocks disagree.
        """
        began = time.monotonic()
        with self.database.transaction(lock_timeout=_LOCK_TIMEOUT) as tx:
            clock.check(tx, self.max_skew)
            tx.execute(_LOCK, {"name": f"sweeper.scan.{rule.job.name}"})
            now = clock.now()
            if options.every and _scanned(tx, rule, now, options.every):
                return None
            anomalies, named = self._anomalies(tx, rule, now)
            result = self._enqueue(tx, rule, options, now, anomalies)
        self._log(rule, options, result, named, time.monotonic() - began)
        return replace(result, named_anomalies=tuple(named)) if options.dry_run else result

    def _anomalies(
        self, tx: Connection, rule: Rule, now: datetime
    ) -> tuple[int, list[tuple[str, str]]]:
        """Return how many rows look due and must not be touched, and the first of them."""
        if rule.anomalies is None:
            return 0, []
        found = rule.anomalies(self.cutoff(rule, now)).subquery("odd")
        total = func.count().over().label("total")
        rows = tx.execute(select(found.c.key, found.c.reason, total).limit(_NAMED)).all()
        return (rows[0].total if rows else 0), [(row.key, row.reason) for row in rows]

    def _enqueue(
        self, tx: Connection, rule: Rule, options: ScanOptions, now: datetime, anomalies: int
    ) -> ScanResult:
        row = {
            "id": options.sweep_id,
            "rule": rule.name,
            "job_type": rule.job.name,
            "trigger": options.trigger,
            "actor": options.actor,
            "reason": options.reason,
            "host": INSTANCE,
            "at": now,
            "cutoff": self.cutoff(rule, now),
            "anomalies": anomalies,
        }
        statement = ScanStatement(
            self.queues,
            rule,
            limit=options.limit,
            planned=None if options.planned is None else options.planned[rule.name],
            max_retries=self.max_retries,
            row=row,
            with_keys=options.dry_run,
        )
        returned: dict[str, Any] = dict(tx.execute(statement.build()).mappings().one())
        return ScanResult(**returned | {"keys": tuple(returned.get("keys", ()))})

    def _log(
        self,
        rule: Rule,
        options: ScanOptions,
        result: ScanResult,
        named: list[tuple[str, str]],
        seconds: float,
    ) -> None:
        for anomaly in named:
            if anomaly not in self._logged:
                self._logged.add(anomaly)
                events.ORDER_ANOMALY.log(rule=rule.name, key=anomaly[0], reason=anomaly[1])
        if result.braked:
            events.SCAN_BRAKED.log(
                rule=rule.name, sweep_id=options.sweep_id, found=result.found, limit=options.limit
            )
        events.SCAN_FINISHED.log(
            rule=rule.name,
            sweep_id=options.sweep_id,
            trigger=options.trigger,
            found=result.found,
            enqueued=result.enqueued,
            already_queued=result.already_queued,
            dead=result.dead,
            anomalies=result.anomalies,
            duration_ms=round(seconds * 1000, 1),
        )


def _scanned(tx: Connection, rule: Rule, now: datetime, every: timedelta) -> bool:
    """Return whether the slot of *now* has had its scan; slots are centred on whole intervals."""
    epoch = datetime.fromtimestamp(0, UTC)
    begin = epoch + round((now - epoch) / every) * every - every / 2
    earlier = select(SWEEP.c.id).where(
        SWEEP.c.rule == rule.name,
        SWEEP.c.trigger == Trigger.SCHEDULE,
        SWEEP.c.at >= begin,
        SWEEP.c.at < begin + every,
    )
    return bool(tx.execute(select(earlier.exists())).scalar())
