"""The completer: completes, retries, postpones and dead-letters jobs, each in one transaction.

The transaction begins with the deletion of the jobs' messages: the worker that deletes a message
owns its job. The deletion, the effect, the follow-up jobs and the ledger's rows are committed or
rolled back together.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

from sqlalchemy import Connection, Executable, Select

from sweeper import events
from sweeper.batch import Batch, Decision, Tally
from sweeper.job import Job, JobType, Message, Section
from sweeper.ledger import Outcome, record, recording
from sweeper.postgres.clock import iso
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import defer
from sweeper.postgres.errors import in_one_line, is_disconnected, is_locked
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.queue.enqueue import CREATED_AT, enqueuing
from sweeper.queue.pgmq import BODY_BYTES, Queues
from sweeper.queue.wire import retry_body
from sweeper.retry import Backoff, Dead, Retry, judge
from sweeper.worker.completion import (
    Completion,
    ending_of,
    letter_of,
    log_dead,
    log_undecided,
)
from sweeper.worker.lease import GiveBack
from sweeper.worker.rest import PAUSE, Patience, Rest, held


@dataclass(slots=True)
class Completer:
    """Opens the transactions in which jobs end, and carries out the decisions on them.

    sections    -- the job files' own settings, by their class
    cutoff      -- (job type, now) -> the time at or before which a row is due
    max_retries -- the default where neither a message nor its type has a number
    slow_limit  -- the timeouts of a job alone of which the last is a failure
    observe     -- called with every batch that has committed, and its duration in seconds
    decided     -- called with every job and its decision after the commit; None in the service
    """

    database: Database
    queues: Queues
    give_back: GiveBack
    sections: Mapping[type[Section], Section]
    cutoff: Callable[[JobType[Any], datetime], datetime]
    backoff: Backoff
    max_retries: int
    slow_limit: int
    observe: Callable[[Completion, float], None] = lambda _completion, _seconds: None
    decided: Callable[[Job[Any], Decision], None] | None = None

    @property
    def patience(self) -> Patience:
        """Tells what is a job's own from the database's trouble."""
        return Patience(self.slow_limit, self.database.statement_timeout)

    @contextmanager
    def settling(
        self, jobs: Sequence[Job[Any]], *, lock_timeout: timedelta | None = None
    ) -> Iterator[tuple[Connection, list[Job[Any]]]]:
        """Open the transaction that deletes the messages of *jobs*, all of one queue.

        Yields the transaction and the jobs whose messages existed; other workers own the others.
        """
        messages = [job.message for job in jobs]
        with self.settling_messages(messages, lock_timeout=lock_timeout) as (tx, owned):
            owned_jobs = [job for job in jobs if job.message.msg_id in owned]
            yield tx, owned_jobs
        if len(owned_jobs) < len(jobs):
            lost = [job.key for job in jobs if job.message.msg_id not in owned]
            events.LEASE_LOST.log(type=jobs[0].type.name, keys=lost)

    @contextmanager
    def settling_messages(
        self, messages: Sequence[Message], *, lock_timeout: timedelta | None = None
    ) -> Iterator[tuple[Connection, frozenset[int]]]:
        """Open a transaction that deletes messages of one queue; yield it and the deleted ids."""
        with self.database.transaction(lock_timeout=lock_timeout) as tx:
            ids = [message.msg_id for message in messages]
            yield tx, self.queues.delete(tx, messages[0].queue, ids) if ids else frozenset()

    def batch(self, tx: Connection, jobs: Sequence[Job[Any]], now: datetime) -> Batch[Any]:
        """Return the batch for the handler of *jobs*, which are all of one type."""
        cutoff = self.cutoff(jobs[0].type, now)
        return Batch(tx, now, cutoff, jobs, self.sections, self._follow_ups)

    def decide(self, job: Job[Any], error: Exception) -> Decision:
        """Return the decision on a job that raised *error*: it is retried or dead."""
        reason = in_one_line(error)
        match judge(job.attempt, error, max_retries=job.max_retries, backoff=self.backoff):
            case Dead(death):
                return Decision(Outcome.DEAD, reason, death=death)
            case Retry(delay):
                return Decision(Outcome.RETRIED, reason, delay)
            case other:
                assert_never(other)

    def complete(self, batch: Batch[Any]) -> Completion:
        """Carry out the batch's decisions in its transaction, with one send for each delay.

        A done or skipped job is written into the ledger, a retried or postponed job is enqueued
        again, and a dead job is sent to the dead-letter queue and written into the ledger.
        """
        jobs: dict[Outcome, list[Job[Any]]] = {outcome: [] for outcome in _DECIDED}
        for job in batch.jobs:
            jobs[batch.decision(job).outcome].append(job)
        again = self._enqueue_again(batch, [*jobs[Outcome.POSTPONED], *jobs[Outcome.RETRIED]])
        letters = [letter_of(job, batch.decision(job), batch.now) for job in jobs[Outcome.DEAD]]
        ids = dead_letter.send(batch.tx, self.queues, letters)
        ended = [
            ending_of(job, batch.decision(job))
            for outcome in (Outcome.DONE, Outcome.SKIPPED)
            for job in jobs[outcome]
        ]
        died = [
            letter.ending(job.message.msg_id)
            for job, letter in zip(jobs[Outcome.DEAD], letters, strict=True)
        ]
        for later in batch.later:
            defer(batch.tx, *later)
        if ended or died:
            defer(batch.tx, *recording([*ended, *died], batch.now))
        for later in batch.at_the_end:
            defer(batch.tx, *later)
        return Completion(batch, jobs, list(zip(ids, letters, strict=True)), again)

    def committed(self, completion: Completion, seconds: float) -> Tally:
        """Log a batch that has committed, call the observers, and return the batch's tally."""
        completion.log(seconds)
        self.observe(completion, seconds)
        for job in completion.jobs[Outcome.POSTPONED]:
            decision = completion.batch.decision(job)
            if decision.delay is None:
                self.patience.tell(job, held(job), decision.reason or "")
        self._report(completion.batch.jobs, completion.batch.decision)
        return completion.tally

    def give_up(self, job: Job[Any], error: Exception, now: datetime, seconds: float) -> Tally:
        """Postpone or fail a job that raised *error* alone, after *seconds*."""
        rest = self.patience.rest(job, error, seconds)
        return self.postpone([job], error, rest) if rest else self.fail(job, error, now)

    def fail(self, job: Job[Any], error: Exception, now: datetime) -> Tally:
        """Retry or dead-letter a job that raised *error*, in a transaction of its own.

        A failure of this is the job's own: the job stays leased, which counts as a crash, unless
        the failure is the database's. It raises only where the connection is lost.
        """
        try:
            with self.settling([job]) as (tx, owned):
                if not owned:
                    return Tally()
                batch = self.batch(tx, owned, now)
                batch.decisions[job.message.msg_id] = self.decide(job, error)
                completion = self.complete(batch)
        except Exception as failure:
            if is_disconnected(failure):
                raise
            if rest := self.patience.rest(job, failure):
                return self.postpone([job], failure, rest)
            log_undecided(job.message, failure)
            return Tally()
        completion.log_failures()
        self._report(completion.batch.jobs, completion.batch.decision)
        return completion.tally

    def postpone(
        self, jobs: Sequence[Job[Any]], error: BaseException, rest: Rest | None = None
    ) -> Tally:
        """Give *jobs* back after a transient database *error*, without counting an attempt.

        rest -- of a single job; None for trouble of the whole database
        """
        rest = rest or Rest()
        self.give_back.give_back((job.message for job in jobs), rest.delay, rest.counts)
        reason = in_one_line(error)
        events.JOB_POSTPONED.log(
            type=jobs[0].type.name,
            keys=[job.key for job in jobs],
            times=rest.times,
            delay_seconds=rest.delay.total_seconds(),
            error=reason,
        )
        if is_locked(error):
            self.patience.tell(jobs[0], rest, reason)
        self._report(jobs, lambda _job: Decision(Outcome.POSTPONED, reason, rest.delay))
        return Tally(postponed=len(jobs))

    def dead_letter(self, dead: Sequence[tuple[Message, DeadLetter]], now: datetime) -> Tally:
        """Dead-letter messages that have no handler, in a transaction of their own."""
        loaded = [pair for pair in dead if pair[0].size <= BODY_BYTES]
        with self.settling_messages([message for message, _ in loaded]) as (tx, deleted):
            owned = [pair for pair in loaded if pair[0].msg_id in deleted]
            ids = dead_letter.send(tx, self.queues, [letter for _, letter in owned])
            for message, letter in dead:
                if message.size > BODY_BYTES and (
                    msg_id := dead_letter.move(tx, self.queues, letter, message.msg_id)
                ):
                    owned.append((message, letter))
                    ids.append(msg_id)
            record(tx, [letter.ending(message.msg_id) for message, letter in owned], now)
        log_dead(zip(ids, [letter for _, letter in owned], strict=True))
        return Tally(dead=len(ids))

    def _enqueue_again(self, batch: Batch[Any], jobs: Iterable[Job[Any]]) -> dict[int, int]:
        by_delay: dict[timedelta, dict[int, Mapping[str, Any]]] = {}
        for job in jobs:
            decision, body, rest = batch.decision(job), job.body, held(job)
            if decision.outcome is Outcome.RETRIED:
                body = retry_body(job, decision.reason or "")
            elif decision.delay is None:
                body = {**body, **rest.counts}
            delay = rest.delay if decision.delay is None else decision.delay or PAUSE
            by_delay.setdefault(delay, {})[job.message.msg_id] = body
        again = dict[int, int]()
        for delay, bodies in by_delay.items():
            queue = batch.jobs[0].message.queue
            ids = self.queues.send(batch.tx, queue, list(bodies.values()), delay)
            again |= dict(zip(bodies, ids, strict=True))
        return again

    def _report(self, jobs: Iterable[Job[Any]], decide: Callable[[Job[Any]], Decision]) -> None:
        if self.decided:
            for job in jobs:
                self.decided(job, decide(job))

    def _follow_ups(
        self, job: JobType[Any], rows: Select[Any], now: datetime
    ) -> tuple[Executable, Mapping[str, Any]]:
        return enqueuing(self.queues, job, rows, self.max_retries), {CREATED_AT.key: iso(now)}


_DECIDED = (Outcome.DONE, Outcome.SKIPPED, Outcome.RETRIED, Outcome.POSTPONED, Outcome.DEAD)
