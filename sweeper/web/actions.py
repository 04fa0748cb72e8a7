"""The actions over HTTP: sweep, enqueue, retry and drop, one at a time, each logged."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sweeper import events
from sweeper.app import App
from sweeper.errors import BusyError, UsageError
from sweeper.job import Priority
from sweeper.postgres import clock
from sweeper.queue.dead_letter_queue import DeadLetterFilter
from sweeper.queue.pause import Pause
from sweeper.settings import Length
from sweeper.sweep.runner import Report


class SweepRequest(BaseModel):
    """The body of a request for a sweep.

    rules -- the rules to scan; all enabled rules if empty
    max   -- the limit of the brake: maximum number of rows for each rule
    plan  -- the id of an earlier dry run of this process: sweep only its keys that are still due
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rules: list[str] = []
    dry_run: bool = False
    max: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    reason: Annotated[str, Field(max_length=200)] | None = None
    plan: str | None = None


class PauseRequest(BaseModel):
    """The body of a request for a pause.

    target -- a rule, a queue, `outbound` or `everything`
    length -- called `for`: after which the pause ends by itself; null if only `resume` ends it
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str
    length: Length | None = Field(timedelta(hours=1), alias="for")
    reason: Annotated[str, Field(min_length=1, max_length=200)]


class ResumeRequest(BaseModel):
    """The body of a request to go on; target -- as in PauseRequest."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str


_PLANS_KEPT = 16  # recent dry runs that a request can name as its plan


class Actions:
    """Carries out requests; *wake* makes the service's workers read the queues at once."""

    def __init__(self, app: App, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake
        self._busy = Lock()
        self._plans = OrderedDict[str, Report]()

    def sweep(self, request: SweepRequest, actor: str) -> Report:
        """Scan as requested, and leave the jobs to the service's workers.

        Raises UsageError for an unknown rule, and for a plan that is unknown or too old; BusyError
        while another action runs.
        """
        app = self._app
        with self._one_at_a_time():
            plan = self._plan(request)
            rules = request.rules or (plan or app).rules
            limit, reason = request.max or app.settings.safety.max_per_sweep, request.reason
            if plan:
                limit = plan.options.limit
                reason = reason or plan.options.reason or f"plan {plan.options.sweep_id}"
            report = app.sweep().run(
                [app.catalog.rule(name) for name in rules],
                limit=limit,
                actor=actor,
                reason=reason,
                planned={name: one.keys for name, one in plan.rules.items()} if plan else None,
                dry_run=request.dry_run,
                scan_only=True,
            )
            if report.dry_run:
                self._plans[report.options.sweep_id] = report
                if len(self._plans) > _PLANS_KEPT:
                    self._plans.popitem(last=False)
        self._finish(
            actor,
            "preview" if request.dry_run else "sweep",
            ", ".join(f"{name} {result.enqueued}" for name, result in report.rules.items()),
        )
        return report

    def _plan(self, request: SweepRequest) -> Report | None:
        """Return the dry run whose keys are to be swept; None to sweep all that is due."""
        if request.plan is None:
            return None
        if request.rules or request.max:
            message = "a plan says itself which rules and how many; leave out rules and max"
            raise UsageError(message)
        plan = self._plans.get(request.plan)
        oldest = clock.now() - self._app.settings.safety.max_plan_age
        if plan is None or plan.dry_run is None or plan.dry_run.at < oldest:
            message = "this preview is too old, or not known here; make a new one"
            raise UsageError(message)
        return plan

    def enqueue(
        self,
        kind: str,
        payload: Any,
        actor: str,
        priority: Priority | None = None,
        delay: timedelta = timedelta(),
    ) -> tuple[int, str]:
        """Enqueue one job, and return its message id and queue; see `App.enqueue`."""
        with self._one_at_a_time():
            msg_id, queue = self._app.enqueue(kind, payload, priority, delay)
        self._finish(actor, "enqueue", f"{kind} as {msg_id} in {queue}")
        return msg_id, queue

    def retry(self, fingerprint: str, actor: str) -> int:
        """Retry the dead letters with this fingerprint, and return how many there were."""
        return len(self.retry_all(DeadLetterFilter(fingerprint=fingerprint), actor))

    def retry_all(self, wanted: DeadLetterFilter, actor: str) -> list[int]:
        """Retry the dead letters that *wanted* selects, and return their ids."""
        with self._one_at_a_time():
            taken = self._app.dead_letter_queue.retry(wanted)
        self._finish(actor, "retry", _listed(taken))
        return taken

    def drop(self, fingerprint: str, actor: str) -> int:
        """Delete the dead letters with this fingerprint, and return how many there were."""
        return len(self.drop_all(DeadLetterFilter(fingerprint=fingerprint), actor))

    def drop_all(self, wanted: DeadLetterFilter, actor: str) -> list[int]:
        """Delete the dead letters that *wanted* selects, and return their ids."""
        with self._one_at_a_time():
            taken = self._app.dead_letter_queue.drop(wanted)
        self._finish(actor, "drop", _listed(taken))
        return taken

    def pause(self, request: PauseRequest, actor: str) -> Pause:
        """Pause a rule, a queue or everything; see `Pauses.pause`."""
        with self._one_at_a_time():
            paused = self._app.pauses.pause(request.target, request.length, actor, request.reason)
        self._finish(actor, "pause", str(paused))
        return paused

    def resume(self, target: str, actor: str) -> list[str]:
        """Let *target* go on, or everything; return what was paused."""
        with self._one_at_a_time():
            resumed = self._app.pauses.resume(target)
        self._finish(actor, "resume", ", ".join(resumed) or "nothing")
        return resumed

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._busy.release()

    def _finish(self, actor: str, action: str, what: str) -> None:
        peer = actor.rpartition(" ")[2]
        events.WEB_ACTED.log(peer=peer, actor=actor, action=action, what=what)
        self._wake()


def _listed(ids: list[int]) -> str:
    return f"dead letters {', '.join(map(str, ids[:100]))}" if ids else "nothing"
