"""Charges: the attempts that failed calls have cost, until it is known whether an outage did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection

from sweeper.job import Job
from sweeper.ledger import Outcome
from sweeper.outbound.call_pool import CallResult
from sweeper.outbound.circuit_breaker import Streak
from sweeper.queue.pgmq import Queues
from sweeper.worker.completion import Completion


@dataclass(frozen=True, slots=True)
class Charge:
    """What a streak of failures has cost one job.

    retry_count -- the job's count before the streak
    """

    streak: Streak
    retry_count: int


@dataclass(slots=True)
class Charges:
    """Remembers the attempts that failures cost just before an outage, and takes them back.

    There are never more than the failures that open a circuit breaker. They are forgotten when the
    process ends, and so are charges of messages that another process has read: these stand.
    """

    queues: Queues
    _by_message: dict[int, Charge] = field(default_factory=dict, init=False)

    def without(self, job: Job[Any]) -> Job[Any]:
        """Return *job*, which this process is handling, without what an outage has cost it."""
        charge = self._by_message.get(job.message.msg_id)
        if charge is None or not charge.streak.outage:
            return job
        body = {**job.body, "retryCount": charge.retry_count}
        return replace(job, body=body, retry_count=charge.retry_count)

    def take_back(self, tx: Connection) -> frozenset[int]:
        """Take back what an outage has cost the messages that wait; return their ids."""
        counts = {
            msg_id: charge.retry_count
            for msg_id, charge in self._by_message.items()
            if charge.streak.outage
        }
        self.queues.recount(tx, self.queues.outbound, counts)
        return frozenset(counts)

    def follow(self, completion: Completion, results: Mapping[int, CallResult]) -> None:
        """Remember the charges of a batch that has committed, by the ids of its new messages.

        results -- of the batch's calls, by the ids of the messages that were deleted
        """
        for job in completion.batch.jobs:
            msg_id = job.message.msg_id
            charge, streak = self._by_message.pop(msg_id, None), results[msg_id].streak
            if completion.batch.decision(job).outcome is Outcome.RETRIED and (
                charge is None or charge.streak is not streak
            ):
                charge = Charge(streak, job.retry_count) if streak else None
            if charge and msg_id in completion.sent_again:
                self._by_message[completion.sent_again[msg_id]] = charge

    def forget(self, taken_back: frozenset[int], in_flight: Iterable[int]) -> None:
        """Forget what was taken back of messages not in flight, and what no outage has cost."""
        gone = taken_back.difference(in_flight)
        self._by_message = {
            msg_id: charge
            for msg_id, charge in self._by_message.items()
            if msg_id not in gone and charge.streak.outage is not False
        }
