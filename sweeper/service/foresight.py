"""Foresight: tells of a backlog that grows and of a message that waits, before rows are overdue."""

from collections import deque
from datetime import datetime, timedelta
from itertools import pairwise

from sweeper import events
from sweeper.monitoring.status import Status
from sweeper.queue.inspect import Depth

WINDOW = timedelta(minutes=5)
WINDOWS = 3
FEW = 100
"""A backlog of no more messages is never told."""

LONG = timedelta(minutes=15)
"""How long a message may wait, which is thrice the longest rest between two retries."""


class Foresight:
    """Remembers the queues' depths, and logs what will be trouble, with the limits of `alerts.yml`.

    A backlog grows that is larger after each of three windows than before it. That is told again
    after as long a time, and a message that waits only once, until its queue is read again. What is
    paused waits because somebody wants it to, and is left out.
    """

    def __init__(self) -> None:
        self._seen: dict[str, deque[tuple[datetime, int]]] = {}
        self._waits: set[str] = set()

    def saw(self, status: Status) -> None:
        """Take note of *status*, and log what it foretells."""
        queues, at = status.open_queues, datetime.fromisoformat(status.at)
        self._seen = {queue: seen for queue, seen in self._seen.items() if queue in queues}
        self._waits &= queues.keys()
        for queue, depth in queues.items():
            self._see_backlog(queue, depth.ready + depth.delayed, at)
            self._see_oldest(queue, depth)

    def _see_backlog(self, queue: str, messages: int, at: datetime) -> None:
        seen = self._seen.setdefault(queue, deque())
        if seen and at <= seen[-1][0]:
            seen.clear()  # the clock was set back
        seen.append((at, messages))
        # The last one before the first window is where that begins.
        while len(seen) > 1 and seen[1][0] <= at - WINDOWS * WINDOW:
            seen.popleft()
        if seen[0][0] > at - WINDOWS * WINDOW:
            return
        begins = [at - windows * WINDOW for windows in range(WINDOWS, -1, -1)]
        sizes = [[size for when, size in seen if when <= begin][-1] for begin in begins]
        if messages > FEW and all(a < b for a, b in pairwise(sizes)):
            events.BACKLOG_INCREASED.log(queue=queue, waiting=messages, waited=sizes[0])
            self._seen[queue] = deque(((at, messages),))

    def _see_oldest(self, queue: str, depth: Depth) -> None:
        if depth.oldest_ready_seconds <= LONG.total_seconds():
            self._waits.discard(queue)
        elif queue not in self._waits:
            self._waits.add(queue)
            events.MESSAGE_WAITED.log(queue=queue, seconds=round(depth.oldest_ready_seconds))
