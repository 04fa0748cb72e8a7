"""Reads whose answer was lost: nobody knows what they took, until the database is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock

from sqlalchemy.exc import DBAPIError

from sweeper.postgres.database import Database
from sweeper.postgres.errors import is_disconnected, is_locked
from sweeper.queue.lost_read import undo
from sweeper.queue.pgmq import Queues
from sweeper.queue.read import ReadMark

_MOST_READS = 1000  # by one mark: while the server cannot vacuum, each is slower than the last
_PATIENCE = timedelta(milliseconds=100)


class LostReads:
    """Marks the reads of one process, and undoes those whose answer was lost.

    A read that is under way still, because only its connection is gone, is asked for again later.
    """

    def __init__(self, database: Database, queues: Queues) -> None:
        self._database = database
        self._queues = queues
        self._free = list[ReadMark]()
        self._lost = list[ReadMark]()
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._lost)

    @contextmanager
    def marked(self) -> Iterator[ReadMark]:
        """Yield the mark of one read, which is lost unless it ends or the server refuses it."""
        with self._lock:
            mark = self._free.pop() if self._free else ReadMark()
        mark.number += 1
        try:
            yield mark
        except BaseException as error:
            refused = isinstance(error, DBAPIError) and not is_disconnected(error)
            self._put(mark, lost=not refused)
            raise
        self._put(mark, lost=False)

    def undo(self) -> None:
        """Give back what lost reads took; those that cannot be asked for now are kept."""
        with self._lock:
            lost, self._lost = self._lost, []
        while lost:
            try:
                with self._database.transaction(lock_timeout=_PATIENCE) as tx:
                    undo(tx, self._queues, lost[-1])
            except BaseException as error:
                if isinstance(error, Exception) and is_locked(error):
                    self._put(lost.pop(), lost=True)
                    continue
                with self._lock:
                    self._lost += lost
                raise
            self._put(lost.pop(), lost=False)

    def _put(self, mark: ReadMark, *, lost: bool) -> None:
        with self._lock:
            if lost:
                self._lost.append(mark)
            elif mark.number < _MOST_READS:
                self._free.append(mark)
