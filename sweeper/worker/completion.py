"""A completion: the outcomes of one batch, which are counted and logged after its commit."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sweeper import events
from sweeper.batch import Batch, Decision, Tally
from sweeper.job import Job, Message
from sweeper.ledger import Ending, Outcome
from sweeper.postgres.errors import in_one_line
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter import DeadLetter
from sweeper.retry import DeadReason
from sweeper.worker.rest import PAUSE

_FLOOD = 10  # dead letters of one cause in a batch that are logged one by one


@dataclass(frozen=True, slots=True)
class Completion:
    """The outcomes of one batch of jobs.

    jobs       -- by outcome
    dead       -- the dead letters, each with its id in the dead-letter queue
    sent_again -- the id of a retried or postponed job's new message, by that of its old one
    """

    batch: Batch[Any]
    jobs: Mapping[Outcome, Sequence[Job[Any]]]
    dead: Sequence[tuple[int, DeadLetter]]
    sent_again: Mapping[int, int]

    @property
    def tally(self) -> Tally:
        """The number of jobs with each outcome."""
        return Tally(**{outcome: len(jobs) for outcome, jobs in self.jobs.items()})

    def log(self, seconds: float) -> None:
        """Log the batch, each failed job, and the events that the handler held until the commit."""
        keys = {outcome: [job.key for job in jobs] for outcome, jobs in self.jobs.items()}
        events.BATCH_DONE.log(
            type=self.batch.jobs[0].type.name,
            done=keys[Outcome.DONE],
            skipped=keys[Outcome.SKIPPED],
            postponed=keys[Outcome.POSTPONED],
            duration_ms=round(seconds * 1000, 1),
        )
        self.log_failures()
        self.batch.committed()

    def log_failures(self) -> None:
        """Log each job that was retried or dead-lettered."""
        for job in self.jobs[Outcome.RETRIED]:
            decision = self.batch.decision(job)
            events.JOB_RETRIED.log(
                type=job.type.name,
                key=job.key,
                attempt=job.attempt,
                delay_seconds=(decision.delay or PAUSE).total_seconds(),
                error=decision.reason or "",
            )
        log_dead(self.dead)


def log_dead(dead: Iterable[tuple[int, DeadLetter]]) -> None:
    """Log each dead letter with its id in the dead-letter queue, and a flood of one cause once."""
    by_cause: dict[tuple[str | None, str, str], list[tuple[int, DeadLetter]]] = {}
    for msg_id, letter in dead:
        cause = (letter.type, letter.reason, letter.fingerprint)
        by_cause.setdefault(cause, []).append((msg_id, letter))
    for alike in by_cause.values():
        if len(alike) > _FLOOD:
            _log_dead(*alike[0], alike=len(alike) - 1)
        else:
            for msg_id, letter in alike:
                _log_dead(msg_id, letter, alike=0)


def _log_dead(msg_id: int, letter: DeadLetter, *, alike: int) -> None:
    events.JOB_DEAD.log(
        type=letter.type,
        key=letter.key,
        msg_id=msg_id,
        reason=letter.reason,
        attempts=letter.attempts,
        error=letter.error,
        alike=alike,
    )


def log_undecided(message: Message, error: Exception) -> None:
    """Log that the decision about a message raised, so that it counts as a crash."""
    events.JOB_UNDECIDED.log(queue=message.queue, msg_id=message.msg_id, error=in_one_line(error))


def letter_of(job: Job[Any], decision: Decision, now: datetime) -> DeadLetter:
    """Return the dead letter of a job that *decision* ends."""
    death = decision.death or DeadReason.REJECTED
    if death is DeadReason.CRASHED:
        return dead_letter.of_crashed(job, now)
    return dead_letter.of_job(job, death, decision.reason or "", now)


def ending_of(job: Job[Any], decision: Decision) -> Ending:
    """Return the ledger's entry on a job that *decision* ends."""
    return Ending(
        job_type=job.type.name,
        key=job.key,
        msg_id=job.message.msg_id,
        sweep_id=job.sweep_id,
        outcome=decision.outcome,
        reason=decision.reason,
        attempt=job.attempt,
    )
