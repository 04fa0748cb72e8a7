"""The scan as one SQL statement: find due rows, count, brake, enqueue, write the ledger row.

A single statement sees one snapshot, so its counts add up: found = enqueued + already queued +
dead + braked. Each step is a common table expression, with the same name here and in the SQL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    CTE,
    ColumnElement,
    Text,
    and_,
    any_,
    case,
    cast,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.sql.dml import ReturningInsert

from sweeper.ledger import SWEEP
from sweeper.postgres.clock import iso
from sweeper.queue.enqueue import enqueue_statement
from sweeper.queue.pgmq import Queues
from sweeper.queue.waiting import dead_among, waiting_among
from sweeper.rule import Rule

COUNTS = ("found", "enqueued", "already_queued", "dead", "braked", "anomalies")


@dataclass(frozen=True, slots=True)
class ScanStatement:
    """Builds the statement of one scan.

    limit       -- the brake: if more rows than this are due, none is enqueued
    planned     -- the keys that may be enqueued; None for all that are due
    max_retries -- for job types that do not set their own
    row         -- the ledger row's columns that are known in advance, with `at` and `cutoff`
    with_keys   -- whether the statement also returns the keys of the enqueued rows
    """

    queues: Queues
    rule: Rule
    limit: int
    planned: Sequence[str] | None
    max_retries: int
    row: dict[str, Any]
    with_keys: bool

    def build(self) -> ReturningInsert[Any]:
        """Return the statement; its one row has the columns COUNTS, and `keys` if *with_keys*."""
        due = self._due(self._rows())
        fresh = and_(~due.c.waits, ~due.c.is_dead)
        counts = self._counts(due, fresh)
        held = and_(counts.c.found > self.limit, counts.c.fresh > 0)
        chosen = (
            select(due)
            .where(fresh, select(~held).scalar_subquery())
            .order_by(due.c.place)
            .cte("chosen")
        )
        return self._ledger_row(counts, held, chosen)

    def _rows(self) -> CTE:
        """Select what the rule finds due, numbered, because a join may lose the rule's order."""
        found = self.rule.due(self.row["cutoff"]).subquery("found")
        rows = select(found, func.row_number().over().label("place"))
        if self.planned is not None:
            planned = cast(self.planned, ARRAY(Text))
            rows = rows.where(found.c[self.rule.job.key] == any_(planned))
        return rows.cte("rows")

    def _due(self, rows: CTE) -> CTE:
        """Add to each row whether its job waits in a queue, and whether it is a dead letter."""
        key = rows.c[self.rule.job.key]
        keys = select(key.label("key")).cte("keys")
        waiting = waiting_among(self.queues, self.rule.job, keys)
        dead = dead_among(self.queues, self.rule.job, keys)
        # A full join is never a nested loop, however few rows the server believes to be due.
        joined = rows.join(waiting, waiting.c.key == key, full=True)
        joined = joined.join(dead, dead.c.key == key, full=True)
        return (
            select(
                *rows.c,
                key.label("key"),
                waiting.c.key.is_not(None).label("waits"),
                dead.c.key.is_not(None).label("is_dead"),
            )
            .select_from(joined)
            .where(func.coalesce(rows.c.place, 0) > 0)
            .cte("due")
        )

    def _counts(self, due: CTE, fresh: ColumnElement[bool]) -> CTE:
        return select(
            func.count().label("found"),
            func.count().filter(due.c.waits).label("already_queued"),
            func.count().filter(due.c.is_dead & ~due.c.waits).label("dead"),
            func.count().filter(fresh).label("fresh"),
        ).cte("counts")

    def _ledger_row(
        self, counts: CTE, held: ColumnElement[bool], chosen: CTE
    ) -> ReturningInsert[Any]:
        """Enqueue the chosen rows, and insert the ledger row with the counts."""
        sent = enqueue_statement(
            self.queues,
            self.rule.job,
            chosen,
            created_at=literal(iso(self.row["at"])),
            max_retries=self.max_retries,
            sweepId=self.row["id"],
        )
        keys = select(func.array_agg(chosen.c.key)).scalar_subquery()
        row = {name: cast(value, SWEEP.c[name].type) for name, value in self.row.items()} | {
            "found": counts.c.found,
            "enqueued": sent.scalar_subquery(),
            "already_queued": counts.c.already_queued,
            "dead": counts.c.dead,
            "braked": case((held, counts.c.fresh), else_=0),
            "ok": ~held,
            "keys": func.coalesce(keys, cast([], ARRAY(Text))),
        }
        values = select(*row.values()).select_from(counts)
        returned = (*COUNTS, "keys") if self.with_keys else COUNTS
        return (
            insert(SWEEP)
            .from_select(list(row), values)
            .returning(*(SWEEP.c[name] for name in returned))
        )
