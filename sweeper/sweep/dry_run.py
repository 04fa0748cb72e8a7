"""A dry run: a complete sweep in one transaction, rolled back, and what it would change."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, cast, select

from sweeper.batch import Decision
from sweeper.codes import Codes
from sweeper.errors import StoppedError
from sweeper.event import muted
from sweeper.exports import Effect, Shown
from sweeper.job import Job
from sweeper.ledger import Outcome
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.postgres.errors import in_one_line
from sweeper.rule import Rule
from sweeper.sweep.plan import place
from sweeper.sweep.scan import Scanner, ScanOptions, ScanResult
from sweeper.worker.drain import Drain
from sweeper.worker.fetcher import Fetcher
from sweeper.worker.isolation import Isolation
from sweeper.worker.lease import GiveBack

_NEVER_RENEWED = timedelta(days=1)  # the lease thread must not use the only connection


@dataclass(frozen=True, slots=True)
class ExpectedJob:
    """A row that is due, and the outcome that its job would have in a sweep.

    since  -- when the row began to wait
    age    -- how long it has waited
    reason -- why it is due
    error  -- why the job would not be done; None if it would be done or skipped
    """

    key: str
    since: datetime
    age: timedelta
    reason: str
    outcome: Outcome
    error: str | None


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """What a sweep would do at the moment of the dry run.

    database -- identifies the database, as `plan.place` returns it
    rules    -- by rule: the result of its scan
    due      -- by rule: the rows that the scan would enqueue, oldest first
    effects  -- by name of the effect: the rows that would change
    codes    -- what people call the keys, by key
    rendered -- by name of the effect: the texts that its new rows lead to
    faults   -- the texts that cannot be rendered, one line for each
    """

    at: datetime
    database: str
    rules: Mapping[str, ScanResult]
    due: Mapping[str, Sequence[ExpectedJob]]
    effects: Mapping[str, Sequence[Shown]]
    codes: Mapping[str, str]
    rendered: Mapping[str, Sequence[str]]
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class DryRun:
    """Runs a sweep in one transaction, compares the tables before and after, and rolls back.

    effects -- the queries whose rows are compared
    size    -- maximum number of jobs in one batch
    codes   -- looks up what people call the keys
    """

    scanner: Scanner
    fetcher: Fetcher
    effects: Sequence[Effect]
    size: int
    codes: Codes

    def run(
        self,
        rules: Iterable[Rule],
        options: ScanOptions,
        stopping: Callable[[], bool] = lambda: False,
    ) -> DryRunResult:
        """Return what a sweep of *rules* with *options* would do at this moment.

        Raises ClockSkewedError if the clocks of this host and the database disagree, and
        StoppedError once *stopping()*, because a part of the result would pass for all of it.
        """
        # Each scan holds its lock until the end: a fixed order keeps two dry runs from deadlock.
        rules = sorted(rules, key=attrgetter("name"))
        with self.fetcher.database.rolled_back() as database, muted():
            scanner, at = replace(self.scanner, database=database), clock.now()
            scans = dict[str, ScanResult]()
            for rule in rules:
                _demand_time(stopping)
                if found := scanner.scan(rule, options):
                    scans[rule.name] = found
            keys = [key for found in scans.values() for key in found.keys]
            with database.transaction() as tx:
                database_id, before = place(tx), self._snapshot(tx, keys)
                codes = self.codes.of(tx, [*keys, *_left_alone(scans)])
                since = {rule.name: self._since(tx, rule, scans, at) for rule in rules}
            decisions = self._process(database, options.sweep_id, stopping)
            _demand_time(stopping)
            with database.transaction() as tx:
                after = self._snapshot(tx, keys)
        due = {
            rule.name: [
                _expected(rule, key, began_at, at, decisions) for key, began_at in since[rule.name]
            ]
            for rule in rules
        }
        effects = {effect.name: _changes(effect, before, after) for effect in self.effects}
        rendered, faults = self._render(before, after)
        return DryRunResult(at, database_id, scans, due, effects, codes, rendered, faults)

    def _process(
        self, database: Database, sweep_id: str, stopping: Callable[[], bool]
    ) -> Mapping[tuple[str, str], Decision]:
        """Process the jobs that the scans enqueued; return each decision by job type and key."""
        decisions: dict[tuple[str, str], Decision] = {}

        def record(job: Job[Any], decision: Decision) -> None:
            decisions[job.type.name, job.key] = decision

        queues = self.fetcher.queues.ignoring_pauses()
        completer = replace(
            self.fetcher.completer,
            database=database,
            queues=queues,
            give_back=GiveBack(database, queues),
            observe=lambda _completion, _seconds: None,
            decided=record,
        )
        fetcher = replace(self.fetcher, completer=completer, isolation=Isolation())
        drain = Drain(fetcher, _NEVER_RENEWED, self.size, sweep_id, stopping)
        while not stopping() and drain.step():
            pass
        return decisions

    def _snapshot(self, tx: Connection, keys: Sequence[str]) -> dict[str, dict[Any, Shown]]:
        """Return the rows that each effect reads about *keys*, by effect and first column."""
        return {
            effect.name: {
                next(iter(row.values())): dict(row)
                for row in tx.execute(effect.query(keys)).mappings()
            }
            for effect in self.effects
            if keys
        }

    def _render(
        self, before: Mapping[str, Mapping[Any, Shown]], after: Mapping[str, Mapping[Any, Shown]]
    ) -> tuple[dict[str, list[str]], list[str]]:
        """Render the texts of all new rows; return them by effect, and the errors."""
        sections, rendered, faults = self.fetcher.completer.sections, dict[str, list[str]](), []
        for effect in self.effects:
            if effect.rendered is None:
                continue
            old, new = before.get(effect.name, {}), after.get(effect.name, {})
            for row in (new[key] for key in new if key not in old):
                try:
                    text = effect.rendered(row, sections)
                except Exception as error:  # noqa: BLE001 -- whatever it is, it would be sent
                    faults.append(f"{effect.label}: {in_one_line(error)}")
                else:
                    rendered.setdefault(effect.name, []).append(text)
        return rendered, list(dict.fromkeys(faults))

    def _since(
        self, tx: Connection, rule: Rule, scans: Mapping[str, ScanResult], now: datetime
    ) -> Sequence[tuple[str, datetime]]:
        """Return the key of each row that *rule* enqueued, and since when the row has waited."""
        due = rule.due(self.scanner.cutoff(rule, now)).subquery("due")
        key = due.c[rule.job.key]
        keys = cast(list(scans[rule.name].keys), ARRAY(Text))
        query = select(key, due.c.since).where(key == any_(keys)).order_by(due.c.since, key)
        return [(row[0], row[1]) for row in tx.execute(query)]


def _left_alone(scans: Mapping[str, ScanResult]) -> list[str]:
    return [key for found in scans.values() for key, _ in found.named_anomalies]


def _demand_time(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise StoppedError


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
    """Return why a job would not be done; None if it would be done or skipped."""
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
    old, new = before.get(effect.name, {}), after.get(effect.name, {})
    return [
        effect.shown(old.get(key, {}), new.get(key, {}))
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]
