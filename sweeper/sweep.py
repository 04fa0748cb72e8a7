"""One full pass, whoever asks for it: scan the rules, then work off every visible message."""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from sweeper.ledger import Trigger
from sweeper.rule import Rule
from sweeper.scan import Found, Request, Scanner
from sweeper.settle import Tally


class Step(Protocol):
    """One read and its work."""

    def step(self) -> Tally | None:
        """Return what came of it; None where nothing was visible."""


Progress = Callable[[Tally], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a sweep did; `as_json` is its contract."""

    request: Request
    rules: Mapping[str, Found]
    jobs: Tally
    seconds: float

    @property
    def braked(self) -> bool:
        """Whether a person must answer the brake."""
        return any(found.braked for found in self.rules.values())

    def as_json(self) -> dict[str, Any]:
        """Return the document that `sweep --json` prints."""
        return {
            "sweep_id": self.request.sweep_id,
            "trigger": self.request.trigger,
            "dry_run": self.request.dry_run,
            "rules": {name: self._rule(found) for name, found in self.rules.items()},
            "jobs": asdict(self.jobs),
            "duration_ms": round(self.seconds * 1000),
        }

    def _rule(self, found: Found) -> dict[str, Any]:
        told = asdict(found)
        keys = told.pop("keys")
        return told | {"orders": list(keys)} if self.request.dry_run else told


@dataclass(frozen=True, slots=True)
class Sweep:
    """The pass itself; it is safe beside a running service.

    workers -- what works off the queues, the most urgent first
    """

    scanner: Scanner
    workers: tuple[Step, ...]

    def run(
        self,
        rules: Iterable[Rule],
        *,
        limit: int,
        trigger: Trigger = Trigger.MANUAL,
        actor: str | None = None,
        reason: str | None = None,
        dry_run: bool = False,
        scan_only: bool = False,
        progress: Progress = lambda _tally: None,
    ) -> Report:
        """Scan *rules* and drain; a dry run rolls the scans back and drains nothing."""
        began = time.monotonic()
        request = Request(str(uuid.uuid4()), trigger, limit, actor, reason, dry_run)
        scans = ((rule.name, self.scanner.scan(rule, request)) for rule in rules)
        found = {name: seen for name, seen in scans if seen}
        jobs = Tally() if dry_run or scan_only else self.drain(progress)
        return Report(request, found, jobs, time.monotonic() - began)

    def drain(self, progress: Progress = lambda _tally: None) -> Tally:
        """Work off every visible message; what is sent with a delay waits for the next pass."""
        total = Tally()
        while tally := next(self._steps(), None):
            progress(tally)
            total += tally
        return total

    def _steps(self) -> Iterator[Tally]:
        """Step the workers in their order: orders never wait for a slow provider."""
        return (tally for worker in self.workers if (tally := worker.step()))
