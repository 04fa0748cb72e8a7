"""One full pass, whoever asks for it: scan the rules, then work off what is visible."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sweeper.batch import Tally
from sweeper.ledger import Trigger
from sweeper.postgres.clock import iso
from sweeper.rule import Rule
from sweeper.sweep import plan
from sweeper.sweep.dry_run import DryRun, DryRunResult, ExpectedJob
from sweeper.sweep.scan import Scanner, ScanOptions, ScanResult


class Step(Protocol):
    """One read and its work."""

    def step(self) -> Tally | None:
        """Return what came of it; None where nothing was visible."""


Progress = Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a sweep did; `as_json` is its contract.

    dry_run -- what it would do, if it was one
    """

    options: ScanOptions
    rules: Mapping[str, ScanResult]
    jobs: Tally
    seconds: float
    dry_run: DryRunResult | None = None

    @property
    def braked(self) -> bool:
        """Whether a person must answer the brake."""
        return any(found.braked for found in self.rules.values())

    def as_json(self) -> dict[str, Any]:
        """Return the document that `sweep --json` prints; a dry run's is a plan."""
        document = {
            "sweep_id": self.options.sweep_id,
            "trigger": self.options.trigger,
            "dry_run": self.options.dry_run,
            "rules": {name: self._rule(name, found) for name, found in self.rules.items()},
            "jobs": asdict(self.jobs),
            "duration_ms": round(self.seconds * 1000),
        }
        if self.dry_run is None:
            return document
        return plan.sealed(
            {
                **document,
                "at": iso(self.dry_run.at),
                "database": self.dry_run.database,
                "limit": self.options.limit,
                "effects": {name: list(rows) for name, rows in self.dry_run.effects.items()},
            }
        )

    def _rule(self, name: str, found: ScanResult) -> dict[str, Any]:
        told = asdict(found)
        keys, named = told.pop("keys"), told.pop("named_anomalies")
        if self.options.planned is not None:
            planned = len(self.options.planned[name])
            told |= {"planned": planned, "no_longer_due": planned - found.found}
        if self.dry_run is not None:
            due = self.dry_run.due[name]
            told["orders"] = list(keys)
            told["due"] = [_told(expected) for expected in due]
            told["left_alone"] = [{"key": key, "reason": reason} for key, reason in named]
        return told


@dataclass(frozen=True, slots=True)
class Sweep:
    """The pass itself; it is safe beside a running service.

    workers -- makes what works off the queues, the most urgent first; given a sweep, its order
               jobs only
    """

    scanner: Scanner
    workers: Callable[[str | None], tuple[Step, ...]]
    dry: DryRun

    def run(
        self,
        rules: Iterable[Rule],
        *,
        limit: int,
        trigger: Trigger = Trigger.MANUAL,
        actor: str | None = None,
        reason: str | None = None,
        planned: Mapping[str, Sequence[str]] | None = None,
        dry_run: bool = False,
        scan_only: bool = False,
        progress: Progress = lambda _tally: None,
    ) -> Report:
        """Scan *rules* and drain; a dry run does the same, and rolls it all back.

        planned -- by rule: the orders that may be touched; None for all that are due
        """
        began, sweep_id = time.monotonic(), str(uuid.uuid4())
        options = ScanOptions(sweep_id, trigger, limit, actor, reason, dry_run, planned=planned)
        if dry_run:
            result = self.dry.run(rules, options)
            seconds = time.monotonic() - began
            return Report(options, result.rules, Tally(), seconds, result)
        scans = ((rule.name, self.scanner.scan(rule, options)) for rule in rules)
        found = {name: seen for name, seen in scans if seen}
        only = None if planned is None else sweep_id
        jobs = Tally() if scan_only else self.drain(progress, only)
        return Report(options, found, jobs, time.monotonic() - began)

    def drain(self, progress: Progress = lambda _tally: None, only: str | None = None) -> Tally:
        """Work off every visible message; what is sent with a delay waits for the next pass.

        only -- the sweep whose order jobs are worked off; None for all
        """
        total, workers = Tally(), self.workers(only)
        while tally := next(_steps(workers), None):
            progress(tally)
            total += tally
        return total


def _steps(workers: Sequence[Step]) -> Iterator[Tally]:
    """Step the workers in their order: orders never wait for a slow provider."""
    return (tally for worker in workers if (tally := worker.step()))


def _told(expected: ExpectedJob) -> dict[str, Any]:
    return {
        "key": expected.key,
        "since": iso(expected.since),
        "age_seconds": int(expected.age.total_seconds()),
        "reason": expected.reason,
        "outcome": expected.outcome,
        "error": expected.error,
    }
