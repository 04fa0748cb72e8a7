"""A sweep that comes to nothing: the same statements, in a transaction that is rolled back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, cast, select

from sweeper import events
from sweeper.exports import Effect, Shown
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.rule import Rule
from sweeper.sweep.plan import place
from sweeper.sweep.scan import Found, Request, Scanner
from sweeper.worker.completer import Desk
from sweeper.worker.drain import Drain

_NEVER_RENEWED = timedelta(days=1)  # a lease's own thread must not use the one connection


@dataclass(frozen=True, slots=True)
class Expected:
    """A row that is due, and what a sweep would make of it.

    age     -- how long it has waited
    reason  -- why it is due
    outcome -- done, skipped, postponed, retried or dead
    error   -- why it is not done; None where it is, or needs nothing
    """

    key: str
    since: datetime
    age: timedelta
    reason: str
    outcome: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What a sweep would do.

    database -- as `plan.place` tells
    due      -- by rule: the rows that it would enqueue, the oldest first
    effects  -- by name: what would change
    """

    at: datetime
    database: str
    rules: Mapping[str, Found]
    due: Mapping[str, Sequence[Expected]]
    effects: Mapping[str, Sequence[Shown]]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Scans, drains and looks at what has changed, all in one transaction.

    size -- jobs in one batch
    """

    scanner: Scanner
    desk: Desk
    effects: Sequence[Effect]
    size: int

    def run(self, rules: Iterable[Rule], request: Request) -> Rehearsed:
        """Return what a sweep as *request* says would do at this moment.

        Raises ClockSkewedError where the clocks disagree.
        """
        # Each scan's lock is held to the end, so two rehearsals must take them in one order.
        rules = sorted(rules, key=attrgetter("name"))
        with self.desk.database.rehearsal() as stage, events.rehearsed() as script:
            scanner, at = replace(self.scanner, database=stage), clock.now()
            found = {rule.name: seen for rule in rules if (seen := scanner.scan(rule, request))}
            keys = [key for seen in found.values() for key in seen.keys]
            with stage.transaction() as tx:
                here, before = place(tx), self._look(tx, keys)
                since = {rule.name: self._since(tx, rule, found, at) for rule in rules}
            self._work(stage, request.sweep_id)
            with stage.transaction() as tx:
                after = self._look(tx, keys)
        outcomes = dict(_outcomes(script))
        due = {
            rule.name: [
                Expected(
                    key,
                    began,
                    at - began,
                    rule.why,
                    *outcomes.get((rule.job.name, key), ("skipped", None)),
                )
                for key, began in since[rule.name]
            ]
            for rule in rules
        }
        effects = {each.name: _changes(each, before, after) for each in self.effects}
        return Rehearsed(at, here, found, due, effects)

    def _work(self, stage: Database, sweep_id: str) -> None:
        desk = replace(self.desk, database=stage, observe=lambda _conclusion, _seconds: None)
        worker = Drain(desk, _NEVER_RENEWED, self.size, only=sweep_id)
        while worker.step():
            pass

    def _look(self, tx: Connection, keys: Sequence[str]) -> dict[str, dict[Any, Shown]]:
        return {
            each.name: {
                next(iter(row.values())): dict(row)
                for row in tx.execute(each.query(keys)).mappings()
            }
            for each in self.effects
            if keys
        }

    def _since(
        self, tx: Connection, rule: Rule, found: Mapping[str, Found], now: datetime
    ) -> Sequence[tuple[str, datetime]]:
        """Return the rows that *rule* enqueued, each with the time from which it waits."""
        due = rule.due(self.scanner.cutoff(rule, now)).subquery("due")
        key = due.c[rule.job.key]
        keys = cast(list(found[rule.name].keys), ARRAY(Text))
        query = select(key, due.c.since).where(key == any_(keys)).order_by(due.c.since, key)
        return [(row[0], row[1]) for row in tx.execute(query)]


def _outcomes(
    script: Iterable[tuple[events.Event, Mapping[str, Any]]],
) -> Iterator[tuple[tuple[str, str], tuple[str, str | None]]]:
    """Read what became of each job from what would have been logged; the last word counts."""
    for event, said in script:
        match event:
            case events.BATCH_DONE:
                for outcome in ("done", "skipped", "postponed"):
                    error = "the row is held by somebody else" if outcome == "postponed" else None
                    for key in said[outcome]:
                        yield (said["type"], key), (outcome, error)
            case events.JOB_POSTPONED:
                for key in said["keys"]:
                    yield (said["type"], key), ("postponed", said["error"])
            case events.JOB_RETRIED:
                yield (said["type"], said["key"]), ("retried", said["error"])
            case events.JOB_DEAD:
                yield (said["type"], said["key"]), ("dead", said["error"])


def _changes(
    effect: Effect,
    before: Mapping[str, Mapping[Any, Shown]],
    after: Mapping[str, Mapping[Any, Shown]],
) -> list[Shown]:
    was, became = before.get(effect.name, {}), after.get(effect.name, {})
    return [
        effect.shown(was.get(key, {}), became.get(key, {}))
        for key in {**was, **became}
        if was.get(key) != became.get(key)
    ]
