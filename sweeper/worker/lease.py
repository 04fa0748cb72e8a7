"""The lease: renews the visibility timeout of waiting messages, and gives unhandled ones back."""

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

    While the database cannot be reached they are remembered, and given back by the next call.
    """

    def __init__(self, database: Database, queues: Queues) -> None:
        self._database = database
        self._queues = queues
        self._to_give_back = deque[Message]()

    def give_back(self, messages: Iterable[Message], delay: timedelta = timedelta()) -> None:
        """Make *messages* visible again after *delay*, and do not count that they were read."""
        self._to_give_back.extend(messages)
        self.retry(delay)

    def retry(self, delay: timedelta = timedelta()) -> None:
        """Give back the messages that an earlier call failed to give back, after *delay*."""
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
    """Keeps messages that were read invisible; a context manager, to be left before the next read.

    After each third of its length it renews the messages that wait for their transaction. A message
    whose transaction is open is protected by a row lock, and renewing it would wait for that lock.
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
        """Extend the lease to further messages."""
        with self._lock:
            self._left |= {message.msg_id: message for message in messages}

    def keep_only(self, messages: Iterable[Message]) -> None:
        """Stop renewing all messages but these, because the others have been completed."""
        with self._lock:
            self._left = {message.msg_id: message for message in messages}

    @contextmanager
    def settling(self, messages: Iterable[Message]) -> Iterator[None]:
        """Pause the renewal during these messages' transaction; stop it unless that raises."""
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
                except Exception as error:  # noqa: BLE001 -- the deletion notices a lost lease
                    events.LEASE_NOT_RENEWED.log(count=len(waiting), error=in_one_line(error))
