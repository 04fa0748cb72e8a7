"""The dead-letter queue: operators list dead letters, retry them from the start, or drop them.

There may be very many, so they are filtered by the server and read, retried and dropped in chunks,
each in a transaction of its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Subquery,
    any_,
    cast,
    func,
    select,
)

from sweeper import events
from sweeper.codes import Codes
from sweeper.errors import UsageError
from sweeper.job import JobType, Priority
from sweeper.ledger import Outcome, record
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.acts import Act
from sweeper.queue.dead_letter import DeadLetter, reopen
from sweeper.queue.dead_letter_table import (
    DeadLetterGroup,
    about,
    dead_letter_groups,
    letters,
    lock,
    page,
    read,
    send_again,
)
from sweeper.queue.pgmq import Queues

_CHUNK = 500  # dead letters that are read, retried or dropped at once
_LARGEST_ID = 2**63 - 1
_FIRST_TIME = datetime(1970, 1, 1, tzinfo=UTC)  # nothing died before


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters; without any criterion it selects all of them.

    before -- only those with smaller ids
    limit  -- the newest so many of those that meet all the rest
    older  -- only those that died before this time, by the database's clock
    """

    ids: Sequence[int] = ()
    type: str | None = None
    reason: str | None = None
    fingerprint: str | None = None
    before: int | None = None
    limit: int | None = None
    key: str | None = None
    older: datetime | None = None

    def __str__(self) -> str:
        """Describe the choice in the words of the command line."""
        ids = [f"ids {', '.join(map(str, self.ids))}"] if self.ids else []
        named = {name: getattr(self, name) for name in ("type", "reason", "fingerprint", "key")}
        chosen = [f"{name} {value}" for name, value in named.items() if value is not None]
        return ", ".join([*ids, *chosen]) or "all"

    def conditions(self, found: Subquery) -> list[ColumnElement[bool]]:
        """Return what the rows of *found* must meet, apart from `before` and `limit`."""
        wanted = {
            "type": self.type,
            "reason": self.reason,
            "fingerprint": self.fingerprint,
        }
        equal = [found.c[name] == value for name, value in wanted.items() if value is not None]
        ids = [_any_of(found.c.msg_id, self.ids)] if self.ids else []
        died = [found.c.enqueued_at <= self.older] if self.older else []
        key = [about(found, self.key)] if self.key is not None else []
        return [*ids, *equal, *key, *died]


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
            total = tx.execute(select(func.count()).select_from(found).where(*conditions))
            return total.scalar_one(), dead_letter_groups(tx, found, limit, *conditions)

    def retry(self, wanted: DeadLetterFilter, act: Act | None = None) -> list[int]:
        """Enqueue the jobs of the selected dead letters as new ones; return the letters' ids."""
        return list(chain.from_iterable(self._take(wanted, Outcome.REVIVED, act)))

    def drop(self, wanted: DeadLetterFilter, act: Act | None = None) -> list[int]:
        """Delete the selected dead letters, return their ids; a scan finds what is still due."""
        return list(chain.from_iterable(self._take(wanted, Outcome.DROPPED, act)))

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
            for ids in self._take(DeadLetterFilter(older=before), Outcome.DROPPED, act, stopping):
                count += len(ids)
        finally:
            if count:
                events.DEAD_PURGED.log(before=before.isoformat(), letters=count)
        return count

    def _span(self, wanted: DeadLetterFilter) -> tuple[int, int]:
        """Return the ids after which to begin and at which to end: what comes later is not ours.

        Raises UsageError for an unknown id.
        """
        found = letters(self.queues)
        with self.database.transaction() as tx:
            if wanted.ids:
                there = select(found.c.msg_id).where(_any_of(found.c.msg_id, wanted.ids))
                unknown = set(wanted.ids) - set(tx.execute(there).scalars())
                if unknown:
                    message = f"there is no dead letter {', '.join(map(str, sorted(unknown)))}"
                    raise UsageError(message)
            newest = select(found.c.msg_id)
            if wanted.before is not None:
                newest = newest.where(found.c.msg_id < min(wanted.before, _LARGEST_ID))
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
        return read(tx, found, _any_of(found.c.msg_id, ids)) if ids else []

    def _take(
        self,
        wanted: DeadLetterFilter,
        outcome: Outcome,
        act: Act | None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Iterator[list[int]]:
        """Retry or drop the selected dead letters; yield the ids of each chunk after its commit.

        act -- is begun, and gets the keys of each chunk in the chunk's transaction
        """
        after, last = self._span(wanted)
        if act:
            act.begin()
        while not stopping():
            with self.database.transaction() as tx:
                chunk = self._chunk(tx, wanted, after, last)
                if not chunk:
                    return
                taken = self._take_chunk(tx, chunk, outcome)
                if act:
                    act.part(tx, [letter.key for letter in taken])
            yield [letter.msg_id for letter in taken]
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


def _any_of(column: ColumnElement[int], ids: Sequence[int]) -> ColumnElement[bool]:
    """Return whether *column* has one of *ids*; a number that is none of the server's has none."""
    possible = [one for one in ids if 0 < one <= _LARGEST_ID]
    return column == any_(cast(possible, ARRAY(BigInteger)))
