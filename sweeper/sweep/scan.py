"""A rule and the time become messages, in one transaction with the sweep's row in the books."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    any_,
    case,
    cast,
    func,
    insert,
    select,
    text,
)

from sweeper import events
from sweeper.ledger import INSTANCE, SWEEP, Trigger
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

_ALONE = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
_PATIENCE = timedelta(seconds=10)  # for another scan of the same job type to end
_NAMED = 100  # anomalies that one scan names in the log; all are counted


@dataclass(frozen=True, slots=True)
class Request:
    """What a sweep was asked for.

    sweep_id -- shared by the scans of one sweep
    actor    -- who pressed the button, and reason why; None for the schedule
    limit    -- the brake: more due rows than this are not enqueued
    dry_run  -- say which rows were enqueued: all is to be rolled back
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
class Found:
    """What one scan saw and did; found = enqueued + already_queued + dead + braked.

    keys -- the rows that were enqueued, and
    odd  -- up to a hundred anomalies as (key, reason); both are told of a dry run only
    """

    found: int
    enqueued: int
    already_queued: int
    dead: int
    braked: int
    anomalies: int
    keys: tuple[str, ...] = ()
    odd: tuple[tuple[str, str], ...] = ()


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
    _told: set[tuple[str, str]] = field(default_factory=set, init=False)

    def cutoff(self, rule: Rule, now: datetime) -> datetime:
        """Return the time before which a row must have begun to wait to be due at *now*."""
        return now - self.older_than.get(rule.name, rule.older_than)

    def scan(self, rule: Rule, request: Request) -> Found | None:
        """Enqueue one job for every row that *rule* finds due, unless that is more than the limit.

        Returns None where another machine has scanned this slot of the schedule already.
        Raises ClockSkewedError, with nothing touched, where the clocks disagree.
        """
        began = time.monotonic()
        with self.database.transaction(lock_timeout=_PATIENCE) as tx:
            clock.check(tx, self.max_skew)
            tx.execute(_ALONE, {"name": f"sweeper.scan.{rule.job.name}"})
            now = clock.now()
            if request.every and _scanned(tx, rule, now, request.every):
                return None
            anomalies, named = self._anomalies(tx, rule, now)
            found = self._enqueue(tx, rule, request, now, anomalies)
        self._tell(rule, request, found, named, time.monotonic() - began)
        return replace(found, odd=tuple(named)) if request.dry_run else found

    def _anomalies(
        self, tx: Connection, rule: Rule, now: datetime
    ) -> tuple[int, list[tuple[str, str]]]:
        if rule.anomalies is None:
            return 0, []
        odd = rule.anomalies(self.cutoff(rule, now)).subquery("odd")
        query = select(odd.c.key, odd.c.reason, func.count().over().label("total")).limit(_NAMED)
        rows = tx.execute(query).all()
        return (rows[0].total if rows else 0), [(row.key, row.reason) for row in rows]

    def _enqueue(
        self, tx: Connection, rule: Rule, request: Request, now: datetime, anomalies: int
    ) -> Found:
        """Run the whole scan as one statement, so that its counts are of one moment."""
        cutoff = self.cutoff(rule, now)
        found = rule.due(cutoff).subquery("found")
        # Numbered before anything is joined: a join may shuffle what the rule has put in order.
        numbered = select(found, func.row_number().over().label("place"))
        if request.planned is not None:
            planned = cast(request.planned[rule.name], ARRAY(Text))
            numbered = numbered.where(found.c[rule.job.key] == any_(planned))
        rows = numbered.cte("rows")
        key = rows.c[rule.job.key]
        waiting = self.queues.waiting(rule.job).cte("waiting")
        buried = self.queues.buried(rule.job).cte("buried")
        due = (
            select(
                *rows.c,
                key.label("key"),
                waiting.c.key.is_not(None).label("waits"),
                buried.c.key.is_not(None).label("is_dead"),
            )
            .select_from(
                rows.outerjoin(waiting, waiting.c.key == key).outerjoin(buried, buried.c.key == key)
            )
            .cte("due")
        )
        fresh = ~due.c.waits & ~due.c.is_dead
        counts = select(
            func.count().label("found"),
            func.count().filter(due.c.waits).label("already_queued"),
            func.count().filter(due.c.is_dead & ~due.c.waits).label("dead"),
            func.count().filter(fresh).label("fresh"),
        ).cte("counts")
        held = (counts.c.found > request.limit) & (counts.c.fresh > 0)
        chosen = select(due).where(fresh, select(~held).scalar_subquery()).order_by(due.c.place)
        chosen_rows = chosen.cte("chosen")
        sent = self.queues.sending(
            rule.job, chosen_rows, now=now, max_retries=self.max_retries, sweepId=request.sweep_id
        )
        keys = select(func.array_agg(chosen_rows.c.key)).scalar_subquery()
        row: dict[str, Any] = {
            "id": request.sweep_id,
            "rule": rule.name,
            "job_type": rule.job.name,
            "trigger": request.trigger,
            "actor": request.actor,
            "reason": request.reason,
            "host": INSTANCE,
            "at": now,
            "cutoff": cutoff,
            "anomalies": anomalies,
        }
        told: dict[str, Any] = {
            name: cast(value, SWEEP.c[name].type) for name, value in row.items()
        }
        told |= {
            "found": counts.c.found,
            "enqueued": sent.scalar_subquery(),
            "already_queued": counts.c.already_queued,
            "dead": counts.c.dead,
            "braked": case((held, counts.c.fresh), else_=0),
            "ok": ~held,
            "keys": func.coalesce(keys, cast([], ARRAY(Text))),
        }
        record = (
            insert(SWEEP)
            .from_select(list(told), select(*told.values()).select_from(counts))
            .returning(
                SWEEP.c.found,
                SWEEP.c.enqueued,
                SWEEP.c.already_queued,
                SWEEP.c.dead,
                SWEEP.c.braked,
                SWEEP.c.anomalies,
                *([SWEEP.c["keys"]] if request.dry_run else []),
            )
        )
        told_back = dict(tx.execute(record).mappings().one())
        return Found(**told_back | {"keys": tuple(told_back.get("keys", ()))})

    def _tell(
        self,
        rule: Rule,
        request: Request,
        found: Found,
        named: list[tuple[str, str]],
        seconds: float,
    ) -> None:
        for anomaly in named:
            if anomaly not in self._told:
                self._told.add(anomaly)
                events.ORDER_ANOMALY.tell(rule=rule.name, key=anomaly[0], reason=anomaly[1])
        if found.braked:
            events.SCAN_BRAKED.tell(
                rule=rule.name, sweep_id=request.sweep_id, found=found.found, limit=request.limit
            )
        events.SCAN_FINISHED.tell(
            rule=rule.name,
            sweep_id=request.sweep_id,
            trigger=request.trigger,
            found=found.found,
            enqueued=found.enqueued,
            already_queued=found.already_queued,
            dead=found.dead,
            anomalies=found.anomalies,
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
