"""Scanning: find the rows that a rule calls due, enqueue one job for each, and record the scan."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal, select

from sweeper import events
from sweeper.event import INSTANCE
from sweeper.ledger import SWEEP, Trigger
from sweeper.postgres import clock, deferred, row_lock
from sweeper.postgres.database import Database
from sweeper.queue.hidden import Hidden, hidden_of, select_hidden
from sweeper.queue.pause import is_paused
from sweeper.queue.pgmq import Queues
from sweeper.rule import MOST_ANOMALIES, Rule
from sweeper.sweep.statement import ScanStatement

_LOCK_TIMEOUT = timedelta(seconds=10)  # how long to wait for another scan of the same job type
_NAMED = 100  # how many anomalies one scan names in the log; MOST_ANOMALIES are counted


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """How to scan a rule.

    sweep_id -- shared by all scans of one sweep
    limit    -- the brake: if more rows than this are due, none is enqueued
    actor    -- who asked for the sweep, and `reason` why; None for the schedule
    dry_run  -- return the enqueued keys and the anomalies too: the caller rolls everything back
    every    -- on a schedule: the length of a slot, in which one scan is enough for all hosts
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

    anomalies       -- MOST_ANOMALIES stands for as many or more
    keys            -- the keys of the enqueued rows; empty unless in a dry run
    named_anomalies -- up to 100 anomalies as (key, reason); empty unless in a dry run
    """

    found: int
    enqueued: int
    already_queued: int
    dead: int
    braked: int
    anomalies: int
    keys: tuple[str, ...] = ()
    named_anomalies: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Say in a few words what it did."""
        if self.braked:
            return f"stopped: too many orders due ({self.braked})"
        return f"{self.enqueued} of {self.found} enqueued"


@dataclass(slots=True)
class Scanner:
    """Scans one rule at a time and enqueues a job for each due row.

    older_than  -- by rule name: how long a row waits before it is due, if not as in the rule
    max_retries -- for job types that do not set their own
    max_skew    -- how much the clocks of this host and the database may differ
    """

    database: Database
    queues: Queues
    older_than: Mapping[str, timedelta]
    max_retries: int
    max_skew: timedelta
    _logged: set[tuple[str, str]] = field(default_factory=set, init=False)
    _hidden: Hidden = field(default_factory=Hidden, init=False)

    def cutoff(self, rule: Rule, now: datetime) -> datetime:
        """Return the latest time at which a row that is due at *now* began to wait."""
        return now - self.older_than.get(rule.name, rule.older_than)

    def scan(self, rule: Rule, options: ScanOptions) -> ScanResult | None:
        """Enqueue one job for every row that *rule* finds due, unless they exceed the limit.

        Returns None while the rule is paused, but for a dry run, and if another host has already
        scanned this slot of the schedule.
        Raises ClockSkewedError, and changes nothing, if the clocks disagree, and LockedError if
        another scan of the same job type does not end.
        """
        started, now = time.monotonic(), clock.now()
        with self.database.transaction(lock_timeout=_LOCK_TIMEOUT) as tx:
            # Two messages to the server: what must be known before, and what is done.
            compared = clock.Comparison(tx)
            with row_lock.taken(tx, self.database, f"scan.{rule.job.name}"):
                paused = [] if options.dry_run else _paused(tx, rule)
                earlier = _scanned(tx, rule, now, options.every) if options.every else []
                found = self._anomalies(tx, rule, now)
                compared.end(tx)
                deferred.send(tx)
            compared.check(self.max_skew)
            if earlier or paused:
                return None
            named = [(key, reason) for key, reason, _ in found]
            far = deferred.ask(tx, select_hidden(self.queues))
            result = self._enqueue(tx, rule, options, now, found[0][2] if found else 0)
        self._tell(hidden_of(far))
        self._log(rule, options, result, named, time.monotonic() - started)
        return replace(result, named_anomalies=tuple(named)) if options.dry_run else result

    def _anomalies(self, tx: Connection, rule: Rule, now: datetime) -> list[tuple[Any, ...]]:
        """Ask for some anomalies as (key, reason, how many there are, up to MOST_ANOMALIES)."""
        if rule.anomalies is None:
            return []
        found = rule.anomalies(self.cutoff(rule, now)).limit(MOST_ANOMALIES).subquery("anomaly")
        total = func.count().over().label("total")
        return deferred.ask(tx, select(found.c.key, found.c.reason, total).limit(_NAMED))

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
        rows = tx.execute(statement.build(), execution_options=deferred.last(tx))
        returned: dict[str, Any] = dict(rows.mappings().one())
        return ScanResult(**returned | {"keys": tuple(returned.get("keys", ()))})

    def _tell(self, found: Hidden) -> None:
        """Log the hidden messages, for which no scan waits; the same ones only once."""
        if found.count and found != self._hidden:
            events.MESSAGE_HIDDEN.log(
                count=found.count,
                horizon_seconds=self.queues.horizon.total_seconds(),
                messages=found.names,
            )
        self._hidden = found

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


def _paused(tx: Connection, rule: Rule) -> list[tuple[Any, ...]]:
    """Ask for a row if *rule* is paused."""
    return deferred.ask(tx, select(literal(value=True)).where(is_paused(rule.name)))


def _scanned(tx: Connection, rule: Rule, now: datetime, every: timedelta) -> list[tuple[Any, ...]]:
    """Ask for a scan of the slot around *now*; slots are centred on whole intervals."""
    epoch = datetime.fromtimestamp(0, UTC)
    start = epoch + round((now - epoch) / every) * every - every / 2
    earlier = select(SWEEP.c.id).where(
        SWEEP.c.rule == rule.name,
        SWEEP.c.trigger == Trigger.SCHEDULE,
        SWEEP.c.at >= start,
        SWEEP.c.at < start + every,
    )
    return deferred.ask(tx, earlier.limit(1))
