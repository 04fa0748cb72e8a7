"""The five queues, and the pgmq statements that move messages in them.

All statements work with pgmq 1.5.1. Every function's arguments are cast, because pgmq overloads
functions by type.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    Table,
    cast,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from sweeper.job import JobType, Lane, Message, Priority
from sweeper.postgres.deferred import last
from sweeper.queue.read import ReadMark, reading

_DELETE = text("select pgmq.delete(cast(:queue as text), cast(:ids as bigint[]))")
_RENEW = text(
    "select pgmq.set_vt(cast(:queue as text), held.id, cast(:lease as integer))"
    " from unnest(cast(:ids as bigint[])) as held (id)"
)
_SEND = text(
    "select pgmq.send_batch(cast(:queue as text), cast(cast(:bodies as text[]) as jsonb[]),"
    " cast(:delay as integer))"
)

BODY_BYTES = 1 << 20
"""The largest body that is loaded; a message with a larger one is dead-lettered as invalid."""

READ_BYTES = 4 << 20
"""A read ends with the message that reaches this size, and gives the messages behind it back."""


_MOST_READS = 1_000_000  # far beyond any crash limit

HORIZON = timedelta(hours=2)
"""How far ahead a message may become visible, where the settings do not say it."""


class Queues:
    """The sweeper's queues: one for each priority, one outbound, one for dead letters.

    name    -- the queue of normal priority; the others add a suffix to it
    horizon -- longer than any delay or lease of ours: a message that becomes visible later is
               hidden, and does not count as waiting
    pausing -- whether nothing is read from a queue while it is paused
    """

    def __init__(self, name: str, horizon: timedelta = HORIZON, *, pausing: bool = True) -> None:
        self.horizon = horizon
        self._pausing = pausing
        self.by_priority = {
            Priority.HIGH: f"{name}_high",
            Priority.NORMAL: name,
            Priority.LOW: f"{name}_low",
        }
        self.database = tuple(self.by_priority.values())
        self.outbound = f"{name}_outbound"
        self.dead = f"{name}_dead"
        self.live = (*self.database, self.outbound)
        self.tables = {queue: _queue_table(queue) for queue in (*self.live, self.dead)}

    def home(self, job: JobType[Any], priority: Priority | None = None) -> str:
        """Return the queue in which new jobs of this type are enqueued."""
        if job.lane is Lane.OUTBOUND:
            return self.outbound
        return self.by_priority[priority or job.priority]

    @property
    def live_tables(self) -> list[tuple[str, Table]]:
        """Pairs of a queue's name and its table, without the dead-letter queue."""
        return [(queue, self.tables[queue]) for queue in self.live]

    def ignoring_pauses(self) -> "Queues":
        """Return the same queues, from which messages are read also while they are paused."""
        return Queues(self.by_priority[Priority.NORMAL], self.horizon, pausing=False)

    def read(
        self,
        tx: Connection,
        queues: Sequence[str],
        *,
        lease: timedelta,
        quantity: int,
        only: str | None = None,
        commit: bool = False,
        mark: ReadMark | None = None,
    ) -> tuple[list[Message], list[Message]]:
        """Read up to *quantity* messages of the first of *queues* that has any, oldest first.

        They are invisible to other workers for *lease*, rounded up to seconds. Only READ_BYTES are
        loaded, and no body above BODY_BYTES, so that no message can exhaust this process's memory
        before its read is counted.

        Returns the messages, and those behind READ_BYTES, which the caller gives back.

        only   -- the sweep whose messages are read; None for all messages
        commit -- whether *tx* is committed in the same round trip
        mark   -- is written where any message is read, for `lost_read.undo`
        """
        names = {f"queue{n}": queue for n, queue in enumerate(queues)}
        which = json.dumps({} if only is None else {"sweepId": only})
        rows = tx.execute(
            reading(len(queues), pausing=self._pausing, marked=mark is not None),
            {
                **names,
                "lease": _seconds(lease),
                "quantity": quantity,
                "which": which,
                "body": BODY_BYTES,
                "bytes": READ_BYTES,
                **({"reader": mark.reader, "number": mark.number} if mark else {}),
            },
            execution_options=last(tx) if commit else {},
        ).all()
        fit, beyond = list[Message](), list[Message]()
        for *message, fits in rows:
            (fit if fits else beyond).append(Message(*message))
        return fit, beyond

    def delete(self, tx: Connection, queue: str, ids: Iterable[int]) -> frozenset[int]:
        """Delete messages and return the ids of those that existed; the caller now owns these."""
        return frozenset(tx.execute(_DELETE, {"queue": queue, "ids": list(ids)}).scalars())

    def send(
        self, tx: Connection, queue: str, bodies: Sequence[Mapping[str, Any]], delay: timedelta
    ) -> list[int]:
        """Send *bodies*, visible after *delay*, rounded up to seconds; return the message ids."""
        if not bodies:
            return []
        encoded = [json.dumps(body) for body in bodies]
        parameters = {"queue": queue, "bodies": encoded, "delay": _seconds(delay)}
        return list(tx.execute(_SEND, parameters).scalars())

    def postpone(self, tx: Connection, messages: Sequence[Message], delay: timedelta) -> None:
        """Give back read messages of one queue: visible after *delay*, and the read not counted.

        A message that another worker has read meanwhile, because the lease ran out, is not changed.
        """
        if not messages:
            return
        ids = cast([message.msg_id for message in messages], ARRAY(BigInteger))
        reads = cast([message.read_ct for message in messages], ARRAY(Integer))
        held = select(
            func.unnest(ids).label("msg_id"), func.unnest(reads).label("read_ct")
        ).subquery("held")
        table = self.tables[messages[0].queue]
        tx.execute(
            table.update()
            .values(vt=func.clock_timestamp() + delay, read_ct=table.c.read_ct - 1)
            .where(table.c.msg_id == held.c.msg_id, table.c.read_ct == held.c.read_ct)
        )

    def recount(self, tx: Connection, queue: str, retry_counts: Mapping[int, int]) -> None:
        """Set the retry counts of messages, by id; a message that has been read is not changed."""
        if not retry_counts:
            return
        ids, counts = list(retry_counts), list(retry_counts.values())
        wanted = select(
            func.unnest(cast(ids, ARRAY(BigInteger))).label("msg_id"),
            func.unnest(cast(counts, ARRAY(Integer))).label("retry_count"),
        ).subquery("wanted")
        table = self.tables[queue]
        recounted = func.jsonb_build_object("retryCount", wanted.c.retry_count, type_=JSONB)
        tx.execute(
            table.update()
            .values(message=table.c.message.concat(recounted))
            .where(table.c.msg_id == wanted.c.msg_id, table.c.read_ct == 0)
        )

    def bring_forward(self, tx: Connection, queue: str, delays: Mapping[int, timedelta]) -> None:
        """Let messages wait no longer than *delays* since they were sent, by id.

        A message that has been read is not changed.
        """
        if not delays:
            return
        lengths = [delay.total_seconds() for delay in delays.values()]
        wanted = select(
            func.unnest(cast(list(delays), ARRAY(BigInteger))).label("msg_id"),
            func.unnest(cast(lengths, ARRAY(Double))).label("seconds"),
        ).subquery("wanted")
        table = self.tables[queue]
        seconds = wanted.c.seconds * text("interval '1 second'")
        visible = func.least(table.c.vt, table.c.enqueued_at + seconds)
        tx.execute(
            table.update()
            .values(vt=visible)
            .where(table.c.read_ct == 0, table.c.msg_id == wanted.c.msg_id)
        )

    def renew(self, tx: Connection, queue: str, ids: Iterable[int], lease: timedelta) -> None:
        """Extend the messages' visibility timeout to *lease* from now, rounded up to seconds."""
        tx.execute(_RENEW, {"queue": queue, "ids": list(ids), "lease": _seconds(lease)})

    def cap_reads(self, tx: Connection) -> None:
        """Lower counts of reads that no worker of ours can have reached, and pgmq not raise."""
        for _, table in self.live_tables:
            too_many = table.c.read_ct > _MOST_READS
            tx.execute(table.update().values(read_ct=_MOST_READS).where(too_many))

    def purge(self, tx: Connection, queue: str) -> int:
        """Delete every message of *queue* and return how many there were."""
        # pgmq's own function truncates, which needs a grant of its own, and waits for all readers.
        return tx.execute(self.tables[queue].delete()).rowcount

    def __contains__(self, queue: str) -> bool:
        return queue in self.tables

    def __iter__(self) -> Iterator[str]:
        return iter(self.tables)


def _queue_table(queue: str) -> Table:
    """Return pgmq's table of *queue*, whose columns have not changed since pgmq 1.5."""
    return Table(
        f"q_{queue}",
        MetaData(schema="pgmq"),
        Column("msg_id", BigInteger, primary_key=True),
        Column("read_ct", Integer),
        Column("enqueued_at", TIMESTAMP(timezone=True)),
        Column("vt", TIMESTAMP(timezone=True)),
        Column("message", JSONB),
    )


def _seconds(length: timedelta) -> int:
    """Return *length* in whole seconds, rounded up, as pgmq requires."""
    return math.ceil(length.total_seconds())
