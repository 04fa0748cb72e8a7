"""The dead-letter queue: operators list dead letters, retry them from the start, or drop them.

There may be very many, so they are filtered by the server and read, retried and dropped in chunks,
each in a transaction of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import Connection, func, select

from sweeper import events
from sweeper.codes import Codes
from sweeper.job import JobType, Priority
from sweeper.ledger import Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.acts import Act
from sweeper.queue.dead_letters.dead_letter import DeadLetter, reopen
from sweeper.queue.dead_letters.dead_letter_filter import (
    LARGEST_ID,
    DeadLetterFilter,
    Seen,
    any_of,
    demand,
    demand_ids,
)
from sweeper.queue.dead_letters.dead_letter_table import (
    MOST_GROUPED,
    DeadLetterGroup,
    dead_letter_groups,
    letters,
    lock,
    page,
    read,
    send_again,
)
from sweeper.queue.pgmq import Queues

_CHUNK = 500  # dead letters that are read, retried or dropped at once
_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # nothing died before


@dataclass(frozen=True, slots=True)
class DeadLetterQueue:
    """Finds dead letters, and retries or drops them."""

    database: Database
    queues: Queues
    types: Mapping[str, JobType[Any]]
    codes: Codes

    def find(self, wanted: DeadLetterFilter) -> list[DeadLetter]:
        """Return the dead letters that *wanted* selects; raises UsageError for an unknown id."""
        return list(self.stream(wanted))

    def stream(self, wanted: DeadLetterFilter) -> Iterator[DeadLetter]:
        """Yield the dead letters that *wanted* selects, oldest first, with one chunk in memory.

        No transaction is open between two of them. Raises UsageError for an unknown id.
        """
        after, last = self._span(wanted)
        while True:
            with self.database.transaction() as tx:
                chunk = self._chunk(tx, wanted, after, last)
                codes = self.codes.of(tx, [letter.key for letter in chunk])
            if not chunk:
                return
            for letter in chunk:
                yield replace(letter, code=codes.get(letter.key or ""))
            after = chunk[-1].msg_id

    def causes(self, wanted: DeadLetterFilter, limit: int) -> tuple[int, list[DeadLetterGroup]]:
        """Return how many *wanted* selects, whatever its limit, and their most frequent causes."""
        found = letters(self.queues)
        conditions = wanted.conditions(found)
        with self.database.transaction() as tx:
            total, groups = dead_letter_groups(tx, found, limit, *conditions)
            if total >= MOST_GROUPED:
                total = self._seen(tx, wanted)[0].count
            return total, groups

    def newest(self, wanted: DeadLetterFilter, limit: int) -> list[DeadLetter]:
        """Return the newest so many of the dead letters that *wanted* selects, newest first."""
        found = letters(self.queues)
        conditions = wanted.conditions(found)
        if wanted.before is not None:
            conditions.append(found.c.msg_id < min(wanted.before, LARGEST_ID))
        with self.database.transaction() as tx:
            newest = select(found.c.msg_id).where(*conditions).order_by(found.c.msg_id.desc())
            ids = tx.execute(newest.limit(limit)).scalars().all()
            rows = read(tx, found, any_of(found.c.msg_id, ids)) if ids else []
            codes = self.codes.of(tx, [letter.key for letter in rows])
        return [replace(letter, code=codes.get(letter.key or "")) for letter in reversed(rows)]

    def seen(self, wanted: DeadLetterFilter) -> Seen:
        """Return what there is to see of the dead letters that *wanted* selects."""
        with self.database.transaction() as tx:
            return self._seen(tx, wanted)[0]

    def retry(
        self,
        wanted: DeadLetterFilter,
        act: Act | None = None,
        *,
        expected: Seen | None = None,
        most: int | None = None,
    ) -> list[int]:
        """Enqueue the jobs of the selected dead letters as new ones; return the letters' ids.

        act      -- the act that this is
        expected -- what was seen of them; ChangedError is raised, and nothing done, where other
                    letters are selected now
        most     -- only the oldest so many of them, in whole chunks
        """
        taken = self._take(wanted, Outcome.REVIVED, act, expected=expected, most=most)
        return list(chain.from_iterable(taken))

    def drop(
        self,
        wanted: DeadLetterFilter,
        act: Act | None = None,
        *,
        expected: Seen | None = None,
        most: int | None = None,
    ) -> list[int]:
        """Delete the selected dead letters, return their ids; a scan finds what is still due.

        act, expected, most -- as for `retry`
        """
        taken = self._take(wanted, Outcome.DROPPED, act, expected=expected, most=most)
        return list(chain.from_iterable(taken))

    def purge(
        self,
        age: timedelta,
        stopping: Callable[[], bool] = lambda: False,
        act: Act | None = None,
    ) -> int:
        """Drop and log the dead letters that are at least this old; return how many there were.

        The database's clock tells their age. It stops between two chunks once *stopping()*.
        """
        with self.database.transaction() as tx:
            now: datetime = tx.execute(select(func.now())).scalar_one()
        if age > now - _FIRST_TIME:
            return 0
        before, count = now - age, 0
        try:
            wanted = DeadLetterFilter(older=before)
            for ids in self._take(wanted, Outcome.DROPPED, act, stopping=stopping):
                count += len(ids)
        finally:
            if count:
                events.DEAD_PURGED.log(before=before.isoformat(), letters=count)
        return count

    def _seen(self, tx: Connection, wanted: DeadLetterFilter) -> tuple[Seen, int]:
        """Return what *wanted* selects, and the smallest id of it."""
        found = letters(self.queues)
        ids = (func.count(), func.max(found.c.msg_id), func.min(found.c.msg_id))
        row = tx.execute(select(*ids).select_from(found).where(*wanted.conditions(found)))
        count, newest, oldest = row.one()
        return Seen(count, newest or 0), oldest or 1

    def _span(self, wanted: DeadLetterFilter, expected: Seen | None = None) -> tuple[int, int]:
        """Return the ids after which to begin and at which to end: what comes later is not ours.

        Raises UsageError for an unknown id, and ChangedError where not *expected* is selected.
        """
        found = letters(self.queues)
        with self.database.transaction() as tx:
            if expected is not None:
                seen, oldest = self._seen(tx, wanted)
                demand(seen, expected)
                return oldest - 1, seen.newest
            demand_ids(tx, found, wanted.ids)
            newest = select(found.c.msg_id)
            if wanted.before is not None:
                newest = newest.where(found.c.msg_id < min(wanted.before, LARGEST_ID))
            if wanted.limit is not None:
                newest = newest.where(*wanted.conditions(found))
                newest = newest.order_by(found.c.msg_id.desc()).limit(wanted.limit)
            ids = newest.subquery("newest").c.msg_id
            first, last = tx.execute(select(func.min(ids), func.max(ids))).one()
        return (first or 1) - 1, last or 0

    def _chunk(
        self, tx: Connection, wanted: DeadLetterFilter, after: int, last: int
    ) -> list[DeadLetter]:
        found = letters(self.queues)
        conditions = (found.c.msg_id <= last, *wanted.conditions(found))
        ids = page(tx, found, *conditions, after=after, size=_CHUNK)
        return read(tx, found, any_of(found.c.msg_id, ids)) if ids else []

    def _take(
        self,
        wanted: DeadLetterFilter,
        outcome: Outcome,
        act: Act | None,
        *,
        expected: Seen | None = None,
        most: int | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[int]]:
        """Retry or drop the selected dead letters; yield the ids of each chunk after its commit.

        act -- is begun, and gets the keys of each chunk in the chunk's transaction
        """
        after, last = self._span(wanted, expected)
        if act:
            act.begin()
        count = 0
        while not stopping() and (most is None or count < most):
            with self.database.transaction() as tx:
                chunk = self._chunk(tx, wanted, after, last)
                if not chunk:
                    return
                taken = self._take_chunk(tx, chunk, outcome)
                if act:
                    act.part(tx, [letter.key for letter in taken])
            yield [letter.msg_id for letter in taken]
            count += len(taken)
            after = chunk[-1].msg_id

    def _take_chunk(
        self, tx: Connection, chunk: Sequence[DeadLetter], outcome: Outcome
    ) -> list[DeadLetter]:
        locked = lock(tx, self.queues, [letter.msg_id for letter in chunk])
        taken = [letter for letter in chunk if letter.msg_id in locked]
        if outcome is Outcome.REVIVED:
            for queue in {self._queue_of(letter) for letter in taken}:
                ids = [letter.msg_id for letter in taken if self._queue_of(letter) == queue]
                send_again(tx, self.queues, ids, queue)
            reopen(tx, self.types, taken)
        self.queues.delete(tx, self.queues.dead, locked)
        record(tx, [letter.ending(letter.msg_id, outcome) for letter in taken], clock.now())
        return taken

    def _queue_of(self, letter: DeadLetter) -> str:
        job = self.types.get(letter.type or "")
        if job:
            return self.queues.home(job)
        normal = self.queues.by_priority[Priority.NORMAL]
        return letter.queue if letter.queue in self.queues.live else normal
