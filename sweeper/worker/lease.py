"""Keeps messages ours while they wait: their lease is renewed at a third of its length."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from sweeper import events
from sweeper.job import Message
from sweeper.postgres.database import Database, in_one_line
from sweeper.queue.pgmq import Queues


class Lease:
    """The lease on one read's messages; a context, which must be left before the next read.

    What is being settled is held by its own row lock, and must not be touched from here.
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
        self._thread = Thread(target=self._keep, name="lease", daemon=True)

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
        """What has not come to an end yet."""
        return list(self._left.values())

    def add(self, messages: Iterable[Message]) -> None:
        """Keep these as well."""
        with self._lock:
            self._left |= {message.msg_id: message for message in messages}

    def keep_only(self, messages: Iterable[Message]) -> None:
        """Forget all but these; the others have come to an end."""
        with self._lock:
            self._left = {message.msg_id: message for message in messages}

    @contextmanager
    def settling(self, messages: Iterable[Message]) -> Iterator[None]:
        """Keep off these during their own transaction; they have ended, unless it raises."""
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

    def _keep(self) -> None:
        while not self._over.wait(self._length.total_seconds() / 3):
            with self._lock:
                waiting = [left for left in self._left.values() if left.msg_id not in self._busy]
                if not waiting:
                    continue
                try:
                    with self._database.transaction() as tx:
                        ids = [message.msg_id for message in waiting]
                        self._queues.renew(tx, waiting[0].queue, ids, self._length)
                except Exception as error:  # noqa: BLE001 -- settling will tell who owns them
                    events.LEASE_NOT_RENEWED.tell(count=len(waiting), error=in_one_line(error))
