"""Second calls: a job whose reply was lost is called for again once the provider answers.

Its first call may have been carried out, and the second one may be its last. So it is not spent
into the outage that has cost the first one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sqlalchemy import Connection

from sweeper.batch import Decision
from sweeper.errors import LostReplyError
from sweeper.ledger import Outcome
from sweeper.outbound.call_pool import CallResult
from sweeper.outbound.circuit_breaker import Streak
from sweeper.queue.pgmq import Queues
from sweeper.retry import LONGEST_REST, Backoff
from sweeper.worker.completion import Completion

_AGAIN = (Outcome.RETRIED, Outcome.POSTPONED)


@dataclass(slots=True)
class SecondCalls:
    """Lets messages whose reply was lost wait, until a call of this process has succeeded since.

    They wait for LONGEST_REST where none succeeds, and where this process ends meanwhile.
    """

    queues: Queues
    backoff: Backoff
    _waiting: dict[int, tuple[Streak, timedelta]] = field(default_factory=dict, init=False)

    def held(self, decision: Decision, result: CallResult) -> Decision:
        """Return *decision* with the wait for a second call, where the reply was lost."""
        if decision.outcome not in _AGAIN or not isinstance(result.answer.error, LostReplyError):
            return decision
        return replace(decision, delay=LONGEST_REST)

    def follow(self, completion: Completion, results: Mapping[int, CallResult]) -> None:
        """Remember the waiting messages of a batch that has committed.

        results -- of the batch's calls, by the ids of the messages that were deleted
        """
        for job in completion.batch.jobs:
            result = results[job.message.msg_id]
            again = completion.sent_again.get(job.message.msg_id)
            if again is None or result.streak is None:
                continue
            if isinstance(result.answer.error, LostReplyError):
                retried = completion.batch.decision(job).outcome is Outcome.RETRIED
                delay = self.backoff.after(job.attempt) if retried else timedelta()
                self._waiting[again] = result.streak, delay

    def bring_forward(self, tx: Connection) -> frozenset[int]:
        """End the wait of the messages for which the provider answers again; return their ids."""
        ready = {again: delay for again, (streak, delay) in self._waiting.items() if streak.over}
        self.queues.bring_forward(tx, self.queues.outbound, ready)
        return frozenset(ready)

    def forget(self, ready: frozenset[int]) -> None:
        """Forget the messages whose wait was ended by a transaction that has committed."""
        for again in ready:
            del self._waiting[again]
