"""Calls in flight: from their preparation until their results are recorded."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

from sqlalchemy import Connection

from sweeper.batch import Decision, Tally
from sweeper.job import Answer, Job, Message, Outside
from sweeper.ledger import Outcome
from sweeper.outbound.call_pool import CallPool, CallResult
from sweeper.outbound.charges import Charges
from sweeper.outbound.second_calls import SecondCalls
from sweeper.postgres import clock
from sweeper.postgres.errors import in_one_line, is_disconnected, is_transient
from sweeper.worker.completer import Completer
from sweeper.worker.completion import Completion
from sweeper.worker.lease import Lease
from sweeper.worker.rest import PAUSE

_MAX_WAIT = 0.5  # seconds that the worker waits for a result before it fetches again
_GATHER = 0.02  # seconds that the first result waits for others, to be recorded together


@dataclass(slots=True, eq=False)
class InFlightCall:
    """One job's call, in flight since *began*; *decision* is what `prepare` decided or None."""

    job: Job[Any]
    decision: Decision | None
    call: "Future[CallResult]"
    began: float = field(default_factory=time.monotonic)


@dataclass(slots=True)
class InFlight:
    """All calls in flight, including those whose results could not be recorded yet."""

    completer: Completer
    _calls: list[InFlightCall] = field(default_factory=list, init=False)
    _charges: Charges = field(init=False)
    _second_calls: SecondCalls = field(init=False)

    def __post_init__(self) -> None:
        self._charges = Charges(self.completer.queues)
        self._second_calls = SecondCalls(self.completer.queues, self.completer.backoff)

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def messages(self) -> Iterator[Message]:
        """The calls' messages, whose leases must be renewed."""
        return (each.job.message for each in self._calls)

    def of(self, name: str) -> int:
        """Return how many calls are for jobs of the type *name*."""
        return sum(each.job.type.name == name for each in self._calls)

    def skip_call(self, job: Job[Any], decision: Decision | None, answer: Answer) -> None:
        """Make no call for *job*; *answer* is recorded as if a call had returned it."""
        call: Future[CallResult] = Future()
        call.set_result(CallResult(answer))
        self._calls.append(InFlightCall(job, decision, call))

    def begin(self, pool: CallPool, jobs: Sequence[Job[Any]], lease: Lease) -> Tally:
        """Prepare *jobs*, all of one type, and begin their calls."""
        if not jobs:
            return Tally()
        began = time.monotonic()
        try:
            with self.completer.database.transaction() as tx:
                batch = self.completer.batch(tx, jobs, clock.now())
                prepared = pool.handler.prepare(batch)
        except Exception as error:  # noqa: BLE001 -- the answer holds any error
            if is_disconnected(error) or (is_transient(error) and pool.halted()):
                with lease.settling(job.message for job in jobs):
                    return self.completer.postpone(jobs, error)
            if len(jobs) > 1:  # so that only the job at fault fails, or waits
                return sum((self.begin(pool, [job], lease) for job in jobs), Tally())
            seconds = time.monotonic() - began
            if rest := self.completer.patience.rest(jobs[0], error, seconds):
                with lease.settling([jobs[0].message]):
                    return self.completer.postpone(jobs, error, rest)
            self.skip_call(jobs[0], None, Answer(error=error))
            return Tally()
        batch.committed()
        for job in jobs:
            msg_id = job.message.msg_id
            decision = batch.decisions.get(msg_id)
            if msg_id in prepared:
                self._calls.append(InFlightCall(job, decision, pool.call(prepared[msg_id])))
            else:
                self.skip_call(job, decision, Answer())
        return Tally()

    def collect(self, lease: Lease) -> Tally:
        """Wait until some calls have ended, and record their results.

        A failure that may be part of an outage is held while other calls are in flight, because
        their results will tell.
        """
        held = self._held()
        calls = [each.call for each in self._calls if each not in held]
        ended, pending = wait(calls, _MAX_WAIT, FIRST_COMPLETED)
        if ended and pending:
            wait(pending, _GATHER)
        held = self._held()
        done = [each for each in self._calls if each not in held and each.call.done()]
        by_type = attrgetter("job.type.name")
        groups = groupby(sorted(done, key=by_type), by_type)
        return sum((self._record(list(group), lease) for _, group in groups), Tally())

    def _held(self) -> list[InFlightCall]:
        pending = {each.job.type.name for each in self._calls if not each.call.done()}
        ended = [each for each in self._calls if each.call.done() and each.job.type.name in pending]
        return [each for each in ended if each.call.result().undecided]

    def _record(self, calls: Sequence[InFlightCall], lease: Lease) -> Tally:
        jobs = [each.job for each in calls]
        completion: Completion | None = None
        try:
            with (
                lease.settling(job.message for job in jobs),
                self.completer.settling(jobs) as (tx, owned),
            ):
                taken_back = self._charges.take_back(tx)
                ready = self._second_calls.bring_forward(tx)
                completion = self._complete(tx, owned, calls) if owned else None
        except Exception as error:
            if is_disconnected(error):
                raise
            if len(calls) > 1:
                return sum((self._record([each], lease) for each in calls), Tally())
            if is_transient(error):  # the result is kept until it can be recorded
                time.sleep(PAUSE.total_seconds())
                return Tally()
            self._forget(calls)
            with lease.settling([jobs[0].message]):
                return self.completer.fail(jobs[0], error, clock.now())
        self._forget(calls)
        if completion is not None:
            results = {each.job.message.msg_id: each.call.result() for each in calls}
            self._charges.follow(completion, results)
            self._second_calls.follow(completion, results)
        self._charges.forget(taken_back, (message.msg_id for message in self.messages))
        self._second_calls.forget(ready)
        if completion is None:
            return Tally()
        began = min(each.began for each in calls)
        return self.completer.committed(completion, time.monotonic() - began)

    def _complete(
        self, tx: Connection, owned: Sequence[Job[Any]], calls: Sequence[InFlightCall]
    ) -> Completion:
        jobs = {job.message.msg_id: self._charges.without(job) for job in owned}
        batch = self.completer.batch(tx, list(jobs.values()), clock.now())
        answers = dict[int, Answer]()
        for each in calls:
            msg_id, result = each.job.message.msg_id, each.call.result()
            answers[msg_id] = result.answer
            if msg_id in jobs and (decision := self._decide(jobs[msg_id], each, result)):
                batch.decisions[msg_id] = self._second_calls.held(decision, result)
        cast("Outside[Any]", owned[0].type.handler).record(batch, answers)
        return self.completer.complete(batch)

    def _decide(self, job: Job[Any], call: InFlightCall, result: CallResult) -> Decision | None:
        error = result.answer.error
        if result.wait is not None or (result.streak and result.streak.outage):
            reason = in_one_line(error) if error else "the lane was halted before the call"
            return Decision(Outcome.POSTPONED, reason, result.wait or PAUSE)
        return self.completer.decide(job, error) if error else call.decision

    def _forget(self, calls: Sequence[InFlightCall]) -> None:
        self._calls = [each for each in self._calls if each not in calls]
