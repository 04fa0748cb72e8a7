"""The actions over HTTP: sweep, enqueue, retry and drop, one at a time, each written down."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sweeper.app import App
from sweeper.errors import BusyError, UsageError
from sweeper.job import Priority
from sweeper.postgres import clock
from sweeper.queue.acts import Act, Action, By, listed
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter, Seen
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


MOST_AT_ONCE = 10_000
"""The most dead letters that one act takes, a few seconds' work; the rest wait for another one."""

_PLANS_KEPT = 16  # recent dry runs that a request can name as its plan
_NAMED = 100  # dead letters that the log names


class Actions:
    """Carries out requests; *wake* makes the service's workers read the queues at once."""

    def __init__(self, app: App, wake: Callable[[], None]) -> None:
        self._app = app
        self._wake = wake
        self._busy = Lock()
        self._plans = OrderedDict[str, Report]()

    def sweep(self, request: SweepRequest, by: By) -> Report:
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
            chosen = [app.catalog.rule(name) for name in rules]
            action = Action.DRY_RUN if request.dry_run else Action.SWEEP
            runner = app.sweep()
            with app.acts.recording(action, ", ".join(rules), by, reason) as act:
                act.begin()
                report = runner.run(
                    chosen,
                    limit=limit,
                    actor=by.actor,
                    reason=reason,
                    planned={name: one.keys for name, one in plan.rules.items()} if plan else None,
                    dry_run=request.dry_run,
                    scan_only=True,
                )
                act.finish(str(report), refused=report.braked)
            if report.dry_run:
                self._plans[report.options.sweep_id] = report
                if len(self._plans) > _PLANS_KEPT:
                    self._plans.popitem(last=False)
        self._wake()
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
        by: By,
        priority: Priority | None = None,
        delay: timedelta = timedelta(),
    ) -> tuple[int, str]:
        """Enqueue one job, and return its message id and queue; see `App.enqueue`."""
        with self._acting(Action.ENQUEUE, kind, by) as act:
            return self._app.enqueue(kind, payload, priority, delay, act)

    def retry(
        self,
        wanted: DeadLetterFilter,
        by: By,
        reason: str | None = None,
        expected: Seen | None = None,
    ) -> list[int]:
        """Retry the dead letters that *wanted* selects, and return the ids of those taken.

        No more than MOST_AT_ONCE are taken, the oldest first.

        reason   -- why, in the words of whoever asks
        expected -- what was seen of them before; raises ChangedError where others are selected now
        """
        with self._acting(Action.RETRY, f"dead letters: {wanted}", by, reason) as act:
            queue = self._app.dead_letter_queue
            taken = queue.retry(wanted, act, expected=expected, most=MOST_AT_ONCE)
            act.finish(listed(taken))
        return taken

    def drop(
        self,
        wanted: DeadLetterFilter,
        by: By,
        reason: str | None = None,
        expected: Seen | None = None,
    ) -> list[int]:
        """Delete the dead letters that *wanted* selects, as `retry` sends them again."""
        with self._acting(Action.DROP, f"dead letters: {wanted}", by, reason) as act:
            queue = self._app.dead_letter_queue
            taken = queue.drop(wanted, act, expected=expected, most=MOST_AT_ONCE)
            act.finish(listed(taken))
        return taken

    def pause(self, request: PauseRequest, by: By) -> Pause:
        """Pause a rule, a queue or everything; see `Pauses.pause`."""
        target, reason = request.target, request.reason
        with self._acting(Action.PAUSE, target, by, reason) as act:
            return self._app.pauses.pause(target, request.length, by.actor, reason, act)

    def resume(self, target: str, by: By, reason: str | None = None) -> list[str]:
        """Let *target* go on, or everything; return what was paused."""
        with self._acting(Action.RESUME, target, by, reason) as act:
            return self._app.pauses.resume(target, act)

    @contextmanager
    def _acting(
        self, action: Action, subject: str, by: By, reason: str | None = None
    ) -> Iterator[Act]:
        """Yield an act that is written down; once it is done, the workers wake up."""
        with self._one_at_a_time(), self._app.acts.recording(action, subject, by, reason) as act:
            yield act
        self._wake()

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._busy.acquire(blocking=False):
            raise BusyError
        try:
            yield
        finally:
            self._busy.release()
