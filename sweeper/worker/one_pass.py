"""One pass over the queues: what it has postponed, and the queues that it has left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sweeper.batch import Decision, Tally
from sweeper.job import Job
from sweeper.ledger import Outcome


@dataclass(slots=True)
class Pass:
    """A pass of `sweep` or `drain`, which must end even while somebody holds a lock.

    It leaves a queue after a step that gave only jobs which the pass had postponed already.

    stopping -- called between transactions; once true, the pass begins nothing further
    left     -- the queues that the pass reads no more
    """

    stopping: Callable[[], bool]
    left: set[str] = field(default_factory=set)
    _postponed: set[tuple[str, str, str]] = field(default_factory=set, init=False)
    _again: set[str] = field(default_factory=set, init=False)
    _others: set[str] = field(default_factory=set, init=False)

    def decided(self, job: Job[Any], decision: Decision) -> None:
        """Note the decision about one job of the step."""
        queue = job.message.queue
        # By its key: a job that its handler postpones has another message afterwards.
        which = queue, job.type.name, job.key
        postponed = decision.outcome is Outcome.POSTPONED
        (self._again if postponed and which in self._postponed else self._others).add(queue)
        if postponed:
            self._postponed.add(which)

    def stepped(self, tally: Tally) -> None:
        """End the step that had this *tally*, and leave the queue that gave nothing else."""
        if tally == Tally(postponed=tally.postponed):
            self.left |= self._again - self._others
        self._again.clear()
        self._others.clear()
