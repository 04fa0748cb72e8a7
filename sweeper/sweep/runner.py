"""A full sweep: scan the rules, then process every visible message."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sweeper.batch import Tally
from sweeper.ledger import Trigger
from sweeper.postgres.clock import iso
from sweeper.queue.pause import Pause, read_pauses
from sweeper.rule import Rule
from sweeper.sweep import plan
from sweeper.sweep.dry_run import DryRun, DryRunResult, ExpectedJob
from sweeper.sweep.scan import Scanner, ScanOptions, ScanResult
from sweeper.worker.one_pass import Pass


class Step(Protocol):
    """A worker that fetches and processes one batch at a time."""

    def join(self, one: Pass) -> None:
        """Work in *one* pass: stop with it, and do not read the queues that it has left."""

    def step(self) -> Tally | None:
        """Process one batch and return its tally; None if no message was visible."""


Progress = Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a sweep did, for people and as the JSON document of `sweep --json`.

    rules   -- by rule: the result of its scan
    jobs    -- how many jobs had which outcome
    seconds -- how long the sweep took
    pauses  -- the pauses that were in force when it began
    dry_run -- what a sweep would do; None unless this was a dry run
    """

    options: ScanOptions
    rules: Mapping[str, ScanResult]
    jobs: Tally
    seconds: float
    dry_run: DryRunResult | None = None
    pauses: Sequence[Pause] = ()

    @property
    def braked(self) -> bool:
        """Whether the brake stopped at least one rule."""
        return any(found.braked for found in self.rules.values())

    def __str__(self) -> str:
        """Say in one line what each scan found and what became of the jobs."""
        rules = (f"{name}: {found}" for name, found in self.rules.items())
        parts = (*rules, str(self.jobs), f"sweep {self.options.sweep_id}")
        return "; ".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """Return the document that `sweep --json` prints; that of a dry run is also a plan."""
        document = {
            "sweep_id": self.options.sweep_id,
            "trigger": self.options.trigger,
            "dry_run": self.options.dry_run,
            "rules": {name: self._rule(name, found) for name, found in self.rules.items()},
            "jobs": asdict(self.jobs),
            "pauses": [pause.as_json() for pause in self.pauses],
            "duration_ms": round(self.seconds * 1000),
        }
        if self.dry_run is None:
            return document
        return plan.with_checksum(
            {
                **document,
                "at": iso(self.dry_run.at),
                "database": self.dry_run.database,
                "limit": self.options.limit,
                "effects": {name: list(rows) for name, rows in self.dry_run.effects.items()},
                "rendered": {name: list(texts) for name, texts in self.dry_run.rendered.items()},
                "faults": list(self.dry_run.faults),
            }
        )

    def _rule(self, name: str, found: ScanResult) -> dict[str, Any]:
        document = asdict(found)
        keys, named = document.pop("keys"), document.pop("named_anomalies")
        if self.options.planned is not None:
            planned = len(self.options.planned[name])
            document |= {"planned": planned, "no_longer_due": planned - found.found}
        if self.dry_run is not None:
            due, codes = self.dry_run.due[name], self.dry_run.codes
            document["orders"] = list(keys)
            document["due"] = [_job_as_json(expected, codes) for expected in due]
            document["left_alone"] = [
                {"key": key, "code": codes.get(key), "reason": reason} for key, reason in named
            ]
        return document


@dataclass(frozen=True, slots=True)
class Sweep:
    """Runs full sweeps; it is safe to run one while the service runs.

    workers  -- returns the workers, most urgent first; given a sweep's id, workers that process
                only the jobs of the database lane which that sweep enqueued
    dry      -- does the dry runs
    stopping -- called between transactions; once true, no scan and no job is begun
    """

    scanner: Scanner
    workers: Callable[[str | None], tuple[Step, ...]]
    dry: DryRun
    stopping: Callable[[], bool] = lambda: False

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
        """Scan each of *rules* once and process the jobs; a dry run does it and rolls it back.

        limit     -- the brake: if a rule finds more rows than this, it enqueues none
        actor     -- who asked for the sweep, and `reason` why; both go into the ledger
        planned   -- by rule: the keys that may be enqueued; None for all that are due
        scan_only -- enqueue jobs and process none
        progress  -- is called with the tally of each batch

        A sweep that is stopped returns what it did; a dry run then raises StoppedError.
        """
        started, sweep_id = time.monotonic(), str(uuid.uuid4())
        rules = {rule.name: rule for rule in rules}.values()
        with self.scanner.database.transaction() as tx:
            pauses = read_pauses(tx)
        options = ScanOptions(sweep_id, trigger, limit, actor, reason, dry_run, planned=planned)
        if dry_run:
            result = self.dry.run(rules, options, self.stopping)
            seconds = time.monotonic() - started
            return Report(options, result.rules, Tally(), seconds, result, pauses)
        scans = (
            (rule.name, self.scanner.scan(rule, options)) for rule in rules if not self.stopping()
        )
        results = {name: result for name, result in scans if result}
        only = None if planned is None else sweep_id
        jobs = Tally() if scan_only else self.drain(progress, only)
        return Report(options, results, jobs, time.monotonic() - started, pauses=pauses)

    def drain(self, progress: Progress = lambda _tally: None, only: str | None = None) -> Tally:
        """Process every visible message and return the tally; a delayed message is not visible.

        It leaves a queue that gives only what this pass has postponed already, so that it ends.

        progress -- is called with the tally of each batch
        only     -- id of the sweep whose jobs are processed; None for all messages
        """
        total, workers, one = Tally(), self.workers(only), Pass(self.stopping)
        for worker in workers:
            worker.join(one)
        while tally := next(self._steps(workers), None):
            one.stepped(tally)
            progress(tally)
            total += tally
        return total

    def _steps(self, workers: Sequence[Step]) -> Iterator[Tally]:
        """Step the workers in order, yield each tally: database jobs never wait for a provider."""
        for worker in workers:
            if not self.stopping() and (tally := worker.step()):
                yield tally


def _job_as_json(expected: ExpectedJob, codes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "key": expected.key,
        "code": codes.get(expected.key),
        "since": iso(expected.since),
        "age_seconds": int(expected.age.total_seconds()),
        "reason": expected.reason,
        "outcome": expected.outcome,
        "error": expected.error,
    }
