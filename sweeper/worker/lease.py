"""The lease: renews the visibility timeout of waiting messages, and gives unhandled ones back."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from operator import itemgetter
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Any, Self, TypeAlias

from sqlalchemy import ARRAY, Connection, Text, case, cast, func, select, text

from sweeper import events
from sweeper.job import Message
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import ask
from sweeper.postgres.errors import in_one_line
from sweeper.queue.body import count
from sweeper.queue.pgmq import Queues
from sweeper.worker.lost_reads import LostReads
from sweeper.worker.rest import Rest

_Read: TypeAlias = tuple[
    str, int, datetime
]  # of a message: its queue, its id, and when it was read


class GiveBack:
    """Gives leased messages back to the queue as though they had not been read.

    It is shared by all workers of the process. What could not be given back, because the database
    could not be reached, is remembered with its rest, and given back by the next call. That first
    asks which of the earlier transactions were committed although no reply came: another worker may
    have read their messages since, and the count of reads would be the same.
    """

    def __init__(self, database: Database, queues: Queues) -> None:
        self._database = database
        self._queues = queues
        self.reads = LostReads(database, queues)
        self._owed = dict[_Read, tuple[Message, Rest]]()
        self._in_doubt = dict[str, frozenset[_Read]]()  # by the id of the transaction
        self._lock = Lock()

    def give_back(
        self,
        messages: Iterable[Message],
        delay: timedelta = timedelta(),
        counts: Mapping[str, int] | None = None,
    ) -> None:
        """Make *messages* visible again after *delay*, and do not count that they were read.

        counts -- keys that are set in their bodies, to count that they were postponed
        """
        self._remember(messages, Rest(delay, counts or {}))
        self.retry()

    def after_error(self, messages: Iterable[Message]) -> None:
        """Give *messages* back, or remember them where that fails: an error is being handled."""
        self._remember(messages, Rest(timedelta()))
        with suppress(Exception):  # the error that is being handled came first
            self.retry()

    def retry(self) -> None:
        """Give back all that is remembered; what cannot be given back is remembered again.

        What a read took whose answer was lost is given back, too.
        """
        self.reads.undo()
        with self._lock:
            owed, self._owed = self._owed, {}
            in_doubt, self._in_doubt = self._in_doubt, {}
        if not owed:
            return
        transaction = list[tuple[Any, ...]]()
        try:
            with self._database.transaction() as tx:
                for one in self._committed(tx, in_doubt) if in_doubt else ():
                    owed = {read: left for read, left in owed.items() if read not in in_doubt[one]}
                transaction = ask(tx, select(cast(func.pg_current_xact_id(), Text)))
                self._postpone(tx, owed.values())
        except BaseException:
            with self._lock:
                self._owed = owed | self._owed
                self._in_doubt |= in_doubt | {one: frozenset(owed) for (one,) in transaction}
            raise

    def _committed(self, tx: Connection, transactions: Iterable[str]) -> list[str]:
        """Return which *transactions* were committed; one in progress still locks its messages."""
        ids = func.unnest(cast(list(transactions), ARRAY(Text))).column_valued("id")
        number = ids.op("::")(text("xid8"))
        # A server that has taken another's place may not have come so far: it would raise.
        known = number < func.pg_snapshot_xmax(func.pg_current_snapshot())
        status = case((known, func.pg_xact_status(number)))
        return list(tx.execute(select(ids).where(status == "committed")).scalars())

    def _postpone(self, tx: Connection, owed: Iterable[tuple[Message, Rest]]) -> None:
        groups = dict[tuple[str, timedelta], list[Message]]()
        for message, rest in owed:
            groups.setdefault((message.queue, rest.delay), []).append(message)
            if rest.counts:
                count(tx, self._queues, message, rest.counts)
        for (_, delay), group in sorted(groups.items(), key=itemgetter(0)):
            self._queues.postpone(tx, group, delay)

    def _remember(self, messages: Iterable[Message], rest: Rest) -> None:
        """Have the next call give *messages* back; what is remembered already keeps its rest."""
        owed = {(m.queue, m.msg_id, m.read_at): (m, rest) for m in messages}
        with self._lock:
            self._owed = owed | self._owed


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
        self._renewed = dict.fromkeys(self._left, time.monotonic())
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
        added = {message.msg_id: message for message in messages}
        with self._lock:
            self._left |= added
            self._renewed |= dict.fromkeys(added, time.monotonic())

    def keep_only(self, messages: Iterable[Message]) -> None:
        """Stop renewing all messages but these, because the others have been completed."""
        with self._lock:
            self._left = {message.msg_id: message for message in messages}

    def held(self, message: Message) -> bool:
        """Return whether this lease still held *message* when somebody read it once more."""
        held = self._left.get(message.msg_id)
        return held is not None and (held.queue, held.read_ct + 1) == (
            message.queue,
            message.read_ct,
        )

    @property
    def is_overdue(self) -> bool:
        """Whether a message may soon be visible, because its transaction lasts so long."""
        latest = time.monotonic() - self._length.total_seconds() / 2
        renewed = self._renewed
        return any(renewed.get(msg_id, latest) < latest for msg_id in list(self._left))

    @contextmanager
    def settling(
        self, messages: Iterable[Message], longer: timedelta | None = None
    ) -> Iterator[None]:
        """Pause the renewal during these messages' transaction; stop it unless that raises.

        longer -- renews them for so much more than the lease, before a transaction that is slow
        """
        queues = {message.msg_id: message.queue for message in messages}
        ids = queues.keys()
        with self._lock:
            self._busy = set(ids)
        try:
            if longer is not None:
                with self._database.transaction() as tx:
                    for msg_id, queue in queues.items():
                        self._queues.renew(tx, queue, [msg_id], self._length + longer)
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
                    self._renewed |= dict.fromkeys(ids, time.monotonic())
                except Exception as error:  # noqa: BLE001 -- the deletion notices a lost lease
                    events.LEASE_NOT_RENEWED.log(count=len(waiting), error=in_one_line(error))


class Leases:
    """The leases of one process, by which each of its workers knows what the others hold.

    A transaction that outlasts its messages' lease hides them only until it is rolled back. Another
    worker of the process that reads them then gives them back to the one that still holds them.
    """

    def __init__(self) -> None:
        self._active = frozenset[Lease]()
        self._lock = Lock()

    @contextmanager
    def including(self, lease: Lease) -> Iterator[None]:
        """Count *lease* among the active ones for as long as the context lasts."""
        with self._lock:
            self._active |= {lease}
        try:
            yield
        finally:
            with self._lock:
                self._active -= {lease}

    @property
    def are_overdue(self) -> bool:
        """Whether a message that a worker holds may be visible now."""
        return any(lease.is_overdue for lease in self._active)

    def held(self, messages: Iterable[Message]) -> list[Message]:
        """Return those of *messages* that were read while a lease still held them."""
        leases = self._active
        return [message for message in messages if any(lease.held(message) for lease in leases)]
