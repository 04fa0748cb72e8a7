"""The lease on messages that were read: renewed while they wait, and given back unused."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from sweeper import events
from sweeper.job import Message
from sweeper.postgres.database import Database
from sweeper.postgres.errors import in_one_line
from sweeper.queue.pgmq import Queues


class GiveBack:
    """Gives leased messages back to the queue as though they had not been read.

    While the database is away they are remembered, and given back at the next opportunity.
    """

    def __init__(self, database: Database, queues: Queues) -> None:
        self._database = database
        self._queues = queues
        self._to_give_back = deque[Message]()

    def give_back(self, messages: Iterable[Message], delay: timedelta = timedelta()) -> None:
        """Make *messages* visible again after *delay*, and take back the count of their read."""
        self._to_give_back.extend(messages)
        self.retry(delay)

    def retry(self, delay: timedelta = timedelta()) -> None:
        """Give back what could not be given back before."""
        messages = list(self._to_give_back)
        if not messages:
            return
        with self._database.transaction() as tx:
            by_queue = attrgetter("queue")
            for _, group in groupby(sorted(messages, key=by_queue), by_queue):
                self._queues.postpone(tx, list(group), delay)
        for message in messages:
            self._to_give_back.remove(message)


class Lease:
    """The lease on one read's messages; a context, which must be left before the next read.

    It renews at a third of its length what waits to be begun. A message whose transaction is under
    way is held by its own row lock, and must not be renewed.
    """

    def __init__(
        self, database: Database, queues: Queues, length: timedelta, messages: Iterable[Message]
    ) -> None:
        self._database = database
        self._queues = queues
        self._length = length
        self._left = {message.msg_id: message for message in messages}
        self._busy: set[int] = set()
        self._lock = Lock()
        self._over = Event()
        self._thread = Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def left(self) -> list[Message]:
        """The messages that have not been completed yet."""
        return list(self._left.values())

    def add(self, messages: Iterable[Message]) -> None:
        """Renew these messages as well."""
        with self._lock:
            self._left |= {message.msg_id: message for message in messages}

    def keep_only(self, messages: Iterable[Message]) -> None:
        """Forget all messages but these; the others have been completed."""
        with self._lock:
            self._left = {message.msg_id: message for message in messages}

    @contextmanager
    def settling(self, messages: Iterable[Message]) -> Iterator[None]:
        """Do not renew these messages during their transaction; unless it raises, forget them."""
        ids = {message.msg_id for message in messages}
        with self._lock:
            self._busy = ids
        try:
            yield
            with self._lock:
                self._left = {i: left for i, left in self._left.items() if i not in ids}
        finally:
            with self._lock:
                self._busy = set()

    def _renew(self) -> None:
        while not self._over.wait(self._length.total_seconds() / 3):
            with self._lock:
                waiting = [left for left in self._left.values() if left.msg_id not in self._busy]
                if not waiting:
                    continue
                try:
                    with self._database.transaction() as tx:
                        ids = [message.msg_id for message in waiting]
                        self._queues.renew(tx, waiting[0].queue, ids, self._length)
                except Exception as error:  # noqa: BLE001 -- the deletion shows who owns them
                    events.LEASE_NOT_RENEWED.log(count=len(waiting), error=in_one_line(error))
