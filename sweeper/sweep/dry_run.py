"""A dry run: the sweep itself, in one transaction that is rolled back, and its results."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, cast, select

from sweeper.batch import Decision
from sweeper.event import muted
from sweeper.exports import Effect, Shown
from sweeper.job import Job
from sweeper.ledger import Outcome
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.rule import Rule
from sweeper.sweep.plan import place
from sweeper.sweep.scan import Scanner, ScanOptions, ScanResult
from sweeper.worker.drain import Drain
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.lease import GiveBack

_NEVER_RENEWED = timedelta(days=1)  # a lease's own thread must not use the one connection


@dataclass(frozen=True, slots=True)
class ExpectedJob:
    """A row that is due, and what a sweep would make of it.

    age    -- how long it has waited
    reason -- why it is due
    error  -- why it is not done; None where it is, or needs nothing
    """

    key: str
    since: datetime
    age: timedelta
    reason: str
    outcome: Outcome
    error: str | None


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """What a sweep would do.

    database -- as `plan.place` identifies it
    due      -- by rule: the rows that it would enqueue, the oldest first
    effects  -- by name: what would change
    """

    at: datetime
    database: str
    rules: Mapping[str, ScanResult]
    due: Mapping[str, Sequence[ExpectedJob]]
    effects: Mapping[str, Sequence[Shown]]


@dataclass(frozen=True, slots=True)
class DryRun:
    """Scans, drains and looks at what has changed, all in one transaction.

    size -- jobs in one batch
    """

    scanner: Scanner
    fetcher: Fetcher
    effects: Sequence[Effect]
    size: int

    def run(self, rules: Iterable[Rule], options: ScanOptions) -> DryRunResult:
        """Return what a sweep with *options* would do at this moment.

        Raises ClockSkewedError where the clocks disagree.
        """
        # Each scan's lock is held to the end, so two dry runs must take them in one order.
        rules = sorted(rules, key=attrgetter("name"))
        with self.fetcher.database.rolled_back() as database, muted():
            scanner, at = replace(self.scanner, database=database), clock.now()
            scans = {rule.name: seen for rule in rules if (seen := scanner.scan(rule, options))}
            keys = [key for seen in scans.values() for key in seen.keys]
            with database.transaction() as tx:
                here, before = place(tx), self._look(tx, keys)
                since = {rule.name: self._since(tx, rule, scans, at) for rule in rules}
            decisions = self._work(database, options.sweep_id)
            with database.transaction() as tx:
                after = self._look(tx, keys)
        due = {
            rule.name: [
                _expected(rule, key, began, at, decisions) for key, began in since[rule.name]
            ]
            for rule in rules
        }
        effects = {each.name: _changes(each, before, after) for each in self.effects}
        return DryRunResult(at, here, scans, due, effects)

    def _work(self, database: Database, sweep_id: str) -> Mapping[tuple[str, str], Decision]:
        """Work on what the scans sent, and return what was decided, by job type and key."""
        decisions: dict[tuple[str, str], Decision] = {}

        def decided(job: Job[Any], decision: Decision) -> None:
            decisions[job.type.name, job.key] = decision

        completer = replace(
            self.fetcher.completer,
            database=database,
            give_back=GiveBack(database, self.fetcher.queues),
            observe=lambda _completion, _seconds: None,
            decided=decided,
        )
        fetcher = replace(
            self.fetcher, database=database, completer=completer, give_back=completer.give_back
        )
        drain = Drain(fetcher, completer, _NEVER_RENEWED, self.size, only=sweep_id)
        while drain.step():
            pass
        return decisions

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
        self, tx: Connection, rule: Rule, scans: Mapping[str, ScanResult], now: datetime
    ) -> Sequence[tuple[str, datetime]]:
        """Return the rows that *rule* enqueued, each with the time from which it waits."""
        due = rule.due(self.scanner.cutoff(rule, now)).subquery("due")
        key = due.c[rule.job.key]
        keys = cast(list(scans[rule.name].keys), ARRAY(Text))
        query = select(key, due.c.since).where(key == any_(keys)).order_by(due.c.since, key)
        return [(row[0], row[1]) for row in tx.execute(query)]


def _expected(
    rule: Rule,
    key: str,
    since: datetime,
    at: datetime,
    decisions: Mapping[tuple[str, str], Decision],
) -> ExpectedJob:
    decision = decisions.get((rule.job.name, key), Decision(Outcome.SKIPPED))
    return ExpectedJob(key, since, at - since, rule.why, decision.outcome, _error(decision))


def _error(decision: Decision) -> str | None:
    """Return why a job would not be done; what it skips needs nothing."""
    if decision.outcome in {Outcome.DONE, Outcome.SKIPPED}:
        return None
    if decision.outcome is Outcome.POSTPONED and decision.delay is None:
        return "the row is held by somebody else"
    return decision.reason


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
