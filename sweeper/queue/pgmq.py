"""The only file that speaks pgmq: five queues, and the statements that move messages in them.

Nothing here asks for more than pgmq 1.5.1 has. Every function's arguments are cast, because pgmq
overloads by type.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ARRAY,
    TIMESTAMP,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    MetaData,
    Select,
    Table,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from sweeper.job import JobType, Lane, Message, Priority
from sweeper.postgres.clock import iso
from sweeper.queue.wire import allowed
from sweeper.retry import Reason

_CHUNK = 5_000  # bodies that one send_batch call holds in the server's memory
_VOLATILE = re.compile(r"[0-9a-f-]{8,}|\d+|'[^']*'|\"[^\"]*\"")

_NAMES = text("select queue_name from pgmq.meta")
_VERSION = text(
    "select coalesce((select extversion from pg_extension where extname = 'pgmq'),"
    " substring(obj_description(oid, 'pg_namespace') from '^pgmq ([^, ]+)'), 'unknown')"
    " from pg_namespace where nspname = 'pgmq'"
    " and to_regprocedure('pgmq.send_batch(text, jsonb[], integer)') is not null"
)
_OFFERED = text("select exists (select from pg_available_extensions where name = 'pgmq')")
_CREATE = text("select pgmq.create(cast(:queue as text))")
_DELETE = text("select pgmq.delete(cast(:queue as text), cast(:ids as bigint[]))")
_PURGE = text("select pgmq.purge_queue(cast(:queue as text))")
_RENEW = text(
    "select pgmq.set_vt(cast(:queue as text), held.id, cast(:lease as integer))"
    " from unnest(cast(:ids as bigint[])) as held (id)"
)
_SEND = text(
    "select pgmq.send_batch(cast(:queue as text), cast(cast(:bodies as text[]) as jsonb[]),"
    " cast(:delay as integer))"
)
_BURY = text(
    "select pgmq.send_batch(cast(:queue as text), array_agg("
    "   cast(story as jsonb) || case when body is null then '{}'"
    "     else jsonb_build_object('body', cast(body as jsonb)) end order by place"
    " ), cast(0 as integer))"
    " from unnest(cast(:stories as text[]), cast(:bodies as text[]))"
    "   with ordinality as dead (story, body, place)"
)
_READ = (
    "with {reads} select *, clock_timestamp() as read_at from ({found}) as message order by msg_id"
)
_READ_FIRST = (
    "q{n} as materialized (select cast(:queue{n} as text) as queue, msg_id, read_ct, enqueued_at,"
    " cast(message as text) as raw"
    " from pgmq.read(cast(:queue{n} as text), cast(:lease as integer), cast(:quantity as integer),"
    " cast(:which as jsonb)){unless})"
)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that only a person brings back.

    attempts    -- how often it was executed
    fingerprint -- the same for errors that differ in ids and numbers only
    body        -- the JSON text as it came; None where it was SQL NULL
    """

    type: str | None
    key: str | None
    reason: Reason
    error: str
    attempts: int
    died_at: datetime
    queue: str
    fingerprint: str
    body: str | None
    sweep_id: str | None = None
    msg_id: int = 0


@dataclass(frozen=True, slots=True)
class Depth:
    """What one queue holds.

    in_flight            -- invisible and already read
    delayed              -- invisible and never read
    oldest_ready_seconds -- the age of the ready message that was sent first; 0 without one
    """

    ready: int
    in_flight: int
    delayed: int
    oldest_ready_seconds: float
    oldest_ready: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A live message about some key; it can be read from `visible_at` on."""

    queue: str
    msg_id: int
    type: str
    retry_count: str | None
    visible_at: datetime
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the job of some key is: in a live queue, or, with a reason, among the dead."""

    key: str
    msg_id: int
    read_ct: int
    visible_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """Dead letters that died of the same; error, ids and keys are those of the latest."""

    type: str | None
    reason: str
    fingerprint: str
    count: int
    first_at: datetime
    last_at: datetime
    error: str
    ids: Sequence[int]
    keys: Sequence[str | None]


class Queues:
    """The service's queues: one for each priority, one outbound, one for the dead.

    name -- of the queue for normal work; the others have it with a suffix
    """

    def __init__(self, name: str) -> None:
        self.by_priority = {
            Priority.HIGH: f"{name}_high",
            Priority.NORMAL: name,
            Priority.LOW: f"{name}_low",
        }
        self.database = tuple(self.by_priority.values())
        self.outbound = f"{name}_outbound"
        self.dead = f"{name}_dead"
        self.live = (*self.database, self.outbound)
        self._tables = {queue: _queue_table(queue) for queue in (*self.live, self.dead)}

    def home(self, job: JobType[Any], priority: Priority | None = None) -> str:
        """Return the queue that new jobs of this type are sent to."""
        if job.lane is Lane.OUTBOUND:
            return self.outbound
        return self.by_priority[priority or job.priority]

    def missing(self, tx: Connection) -> list[str]:
        """Return the queues that do not exist yet."""
        there = set(tx.execute(_NAMES).scalars())
        return [queue for queue in self._tables if queue not in there]

    def create(self, tx: Connection) -> None:
        """Create the queues that are missing."""
        for queue in self._tables:
            tx.execute(_CREATE, {"queue": queue})

    def read(
        self,
        tx: Connection,
        queues: Sequence[str],
        *,
        lease: timedelta,
        quantity: int,
        only: str | None = None,
    ) -> list[Message]:
        """Return up to *quantity* messages of the first of *queues* that has any, oldest first.

        They are invisible to everybody else for *lease*, rounded up to seconds.

        only -- the sweep that sent them; None for whoever did
        """
        reads, unless = [], ""
        for n in range(len(queues)):
            reads.append(_READ_FIRST.format(n=n, unless=unless))
            unless += f"{' and' if n else ' where'} not exists (select from q{n})"
        found = " union all ".join(f"table q{n}" for n in range(len(queues)))
        names = {f"queue{n}": queue for n, queue in enumerate(queues)}
        which = json.dumps({} if only is None else {"sweepId": only})
        rows = tx.execute(
            text(_READ.format(reads=", ".join(reads), found=found)),
            {**names, "lease": _seconds(lease), "quantity": quantity, "which": which},
        )
        return [Message(*row) for row in rows]

    def ready(self, tx: Connection) -> frozenset[str]:
        """Return the live queues that have a visible message."""
        visible = (
            select(literal(queue).label("queue")).where(
                select(table.c.msg_id).where(table.c.vt <= func.now()).exists()
            )
            for queue, table in self._live_tables()
        )
        return frozenset(tx.execute(union_all(*visible)).scalars())

    def settle(self, tx: Connection, queue: str, ids: Iterable[int]) -> frozenset[int]:
        """Delete messages; only those that are returned were still there, and are now ours."""
        return frozenset(tx.execute(_DELETE, {"queue": queue, "ids": list(ids)}).scalars())

    def send(
        self, tx: Connection, queue: str, bodies: Sequence[Mapping[str, Any]], delay: timedelta
    ) -> list[int]:
        """Send *bodies*, visible after *delay*, rounded up to seconds; return the message ids."""
        if not bodies:
            return []
        wires = [json.dumps(body) for body in bodies]
        parameters = {"queue": queue, "bodies": wires, "delay": _seconds(delay)}
        return list(tx.execute(_SEND, parameters).scalars())

    def sending(
        self,
        job: JobType[Any],
        rows: FromClause,
        *,
        now: datetime,
        max_retries: int,
        **own: str,
    ) -> Select[Any]:
        """Return the statement that sends one *job* for each of *rows* and counts them.

        rows        -- its columns' names are payload fields; others are left out
        max_retries -- where the job type does not say a number
        own         -- keys of our own, which the platform's worker ignores
        """
        fields = [column for column in rows.c if column.name in job.payload.model_fields]
        body = _object(
            type=literal(job.name),
            payload=_object(**{job.wire(column.name): column for column in fields}),
            retryCount=literal(0),
            maxRetries=literal(allowed(job, max_retries)),
            createdAt=literal(iso(now)),
            **{key: literal(value) for key, value in own.items()},
        )
        place = func.row_number().over().label("place")
        bodies = select(body.label("body"), place).select_from(rows).subquery("bodies")
        number = bodies.c.place // _CHUNK
        in_order = aggregate_order_by(bodies.c.body, bodies.c.place)
        chunks = (
            select(func.array_agg(in_order).label("chunk"))
            .group_by(number)
            .order_by(number)
            .subquery("chunks")
        )
        send = func.pgmq.send_batch(
            cast(self.home(job), Text),
            cast(chunks.c.chunk, ARRAY(JSONB)),
            cast(0, Integer),
        )
        sent = select(send.label("msg_id")).select_from(chunks).subquery("sent")
        return select(func.count()).select_from(sent)

    def waiting(self, job: JobType[Any]) -> Select[Any]:
        """Return the statement whose `key` column is every key that waits in a live queue."""
        singles = []
        for _, table in self._live_tables():
            payload = table.c.message["payload"]
            ours = table.c.message["type"].astext == job.name
            singles.append(select(payload[job.wire(job.key)].astext.label("key")).where(ours))
            if job.many:
                several = case(
                    (func.jsonb_typeof(payload[job.many]) == "array", payload[job.many]),
                    else_=cast([], JSONB),
                )
                key = func.jsonb_array_elements_text(several).label("key")
                singles.append(select(key).where(ours))
        return select(union_all(*singles).subquery("waiting").c.key).distinct()

    def buried(self, job: JobType[Any]) -> Select[Any]:
        """Return the statement whose `key` column is every key whose job is dead."""
        message = self._tables[self.dead].c.message
        ours = message["type"].astext == job.name
        return select(message["key"].astext.label("key")).where(ours).distinct()

    def sent_by_sweeps(self, jobs: Sequence[JobType[Any]]) -> Select[Any]:
        """Return the statement that counts live messages by `sweep_id`, `type` and `key`."""
        found = []
        for _, table in self._live_tables():
            body = table.c.message
            kind = body["type"].astext
            keys = [(kind == job.name, body["payload"][job.wire(job.key)].astext) for job in jobs]
            found.append(
                select(
                    body["sweepId"].astext.label("sweep_id"),
                    kind.label("type"),
                    case(*keys).label("key"),
                ).where(body.has_key("sweepId"))
            )
        live = union_all(*found).subquery("messages")
        return select(*live.c, func.count().label("messages")).group_by(*live.c)

    def about(self, tx: Connection, key: str, jobs: Sequence[JobType[Any]]) -> list[Waiting]:
        """Return the live messages whose job is about *key*."""
        found = []
        for queue, table in self._live_tables():
            kind, payload = table.c.message["type"].astext, table.c.message["payload"]
            fields = {job.name: payload[job.wire(job.key)].astext for job in jobs}
            ours = case(*((kind == name, field) for name, field in fields.items()))
            found.append(
                select(
                    literal(queue),
                    table.c.msg_id,
                    kind,
                    table.c.message["retryCount"].astext,
                    table.c.vt,
                    table.c.enqueued_at,
                ).where(ours == key)
            )
        return [Waiting(*row) for row in tx.execute(union_all(*found))]

    def standing(
        self, tx: Connection, job: JobType[Any], keys: Sequence[str]
    ) -> dict[str, Standing]:
        """Return where the jobs of *keys* are, by key; what is live hides what is dead."""
        wanted = func.any(cast(list(keys), ARRAY(Text)))
        found = []
        for queue, table in self._tables.items():
            body, dead = table.c.message, queue == self.dead
            key = body["key"] if dead else body["payload"][job.wire(job.key)]
            found.append(
                select(
                    key.astext,
                    table.c.msg_id,
                    table.c.read_ct,
                    table.c.vt,
                    body["reason"].astext if dead else null(),
                ).where(body["type"].astext == job.name, key.astext == wanted)
            )
        rows = [Standing(*row) for row in tx.execute(union_all(*found))]
        return {one.key: one for one in sorted(rows, key=lambda one: one.reason is None)}

    def causes(self, tx: Connection, limit: int) -> list[Cause]:
        """Return what the dead letters died of, the most frequent cause first."""
        table = self._tables[self.dead]
        story = {
            name: table.c.message[name].astext
            for name in ("type", "reason", "fingerprint", "error", "key")
        }
        alike = (story["type"], story["reason"], story["fingerprint"])

        def latest(column: ColumnElement[Any]) -> ColumnElement[Any]:
            in_order = aggregate_order_by(column, table.c.msg_id.desc())
            return func.array_agg(in_order, type_=ARRAY(column.type))

        query = (
            select(
                *alike,
                func.count(),
                func.min(table.c.enqueued_at),
                func.max(table.c.enqueued_at),
                latest(story["error"])[1],
                latest(table.c.msg_id)[1:5],
                latest(story["key"])[1:5],
            )
            .group_by(*alike)
            .order_by(func.count().desc(), *alike)
            .limit(limit)
        )
        return [Cause(*row) for row in tx.execute(query)]

    def postpone(self, tx: Connection, messages: Sequence[Message], delay: timedelta) -> None:
        """Give back what was read, visible after *delay*, as though it had not been read.

        A message whose lease ran out meanwhile, so that somebody else has read it, is left alone.
        """
        if not messages:
            return
        ids = cast([message.msg_id for message in messages], ARRAY(BigInteger))
        reads = cast([message.read_ct for message in messages], ARRAY(Integer))
        held = select(
            func.unnest(ids).label("msg_id"), func.unnest(reads).label("read_ct")
        ).subquery("held")
        table = self._tables[messages[0].queue]
        tx.execute(
            table.update()
            .values(vt=func.clock_timestamp() + delay, read_ct=table.c.read_ct - 1)
            .where(table.c.msg_id == held.c.msg_id, table.c.read_ct == held.c.read_ct)
        )

    def renew(self, tx: Connection, queue: str, ids: Iterable[int], lease: timedelta) -> None:
        """Let the lease of messages begin anew."""
        tx.execute(_RENEW, {"queue": queue, "ids": list(ids), "lease": _seconds(lease)})

    def bury(self, tx: Connection, letters: Sequence[DeadLetter]) -> list[int]:
        """Send *letters* to the dead, each with its raw body; return their message ids there."""
        if not letters:
            return []
        stories = [json.dumps(_story(letter)) for letter in letters]
        bodies = [letter.body for letter in letters]
        parameters = {"queue": self.dead, "stories": stories, "bodies": bodies}
        return list(tx.execute(_BURY, parameters).scalars())

    def dead_letters(self, tx: Connection, ids: Sequence[int] | None = None) -> list[DeadLetter]:
        """Return the dead letters, all or those with *ids*, the oldest first."""
        table = self._tables[self.dead]
        body = cast(table.c.message["body"], Text).label("body")
        query = select(table.c.msg_id, table.c.message.op("-")("body"), body).order_by(
            table.c.msg_id
        )
        if ids is not None:
            query = query.where(table.c.msg_id == func.any(cast(list(ids), ARRAY(BigInteger))))
        return [_letter(*row) for row in tx.execute(query)]

    def depths(self, tx: Connection) -> dict[str, Depth]:
        """Return what each live queue holds."""
        rows = tx.execute(union_all(*(_depth(*pair) for pair in self._live_tables())))
        return {
            row.queue: Depth(
                row.ready,
                row.in_flight,
                row.delayed,
                round(float(row.oldest_ready_seconds), 3),
                row.oldest_ready,
            )
            for row in rows
        }

    def dead_depth(self, tx: Connection) -> tuple[int, float]:
        """Return how many are dead, and for how many seconds the first of them has been."""
        table = self._tables[self.dead]
        age = func.extract("epoch", func.clock_timestamp() - func.min(table.c.enqueued_at))
        count, seconds = tx.execute(select(func.count(), func.coalesce(age, 0))).one()
        return count, round(float(seconds), 3)

    def purge(self, tx: Connection, queue: str) -> int:
        """Delete every message of *queue* and return how many there were."""
        return int(tx.execute(_PURGE, {"queue": queue}).scalar_one())

    def __contains__(self, queue: str) -> bool:
        return queue in self._tables

    def __iter__(self) -> Iterator[str]:
        return iter(self._tables)

    def _live_tables(self) -> list[tuple[str, Table]]:
        return [(queue, self._tables[queue]) for queue in self.live]


def pgmq_version(tx: Connection) -> str | None:
    """Return the version of pgmq, "unknown" where it does not say, None where it is missing."""
    return tx.execute(_VERSION).scalar()


def install_pgmq(tx: Connection) -> str:
    """Install pgmq, as an extension where the server offers it, else from its own SQL."""
    from pgmq.install import (  # noqa: PLC0415 -- only a new database needs it
        get_embedded_install_sql,
        get_embedded_sql_version,
    )

    if tx.execute(_OFFERED).scalar():
        tx.execute(text("create extension pgmq"))
    else:
        tx.exec_driver_sql(get_embedded_install_sql(), execution_options={"no_parameters": True})
        version = get_embedded_sql_version()
        tx.execute(text(f"comment on schema pgmq is 'pgmq {version}, installed from its SQL'"))
    return pgmq_version(tx) or "unknown"


def fingerprint(type_name: str | None, error: str) -> str:
    """Return what errors have in common that differ only in ids, numbers and quoted names."""
    common = f"{type_name} {_VOLATILE.sub('?', error)}"
    return hashlib.sha256(common.encode()).hexdigest()[:12]


def _queue_table(queue: str) -> Table:
    """Return pgmq's table behind *queue*; its columns are the same since pgmq 1.5."""
    return Table(
        f"q_{queue}",
        MetaData(schema="pgmq"),
        Column("msg_id", BigInteger, primary_key=True),
        Column("read_ct", Integer),
        Column("enqueued_at", TIMESTAMP(timezone=True)),
        Column("vt", TIMESTAMP(timezone=True)),
        Column("message", JSONB),
    )


def _depth(queue: str, table: Table) -> Select[Any]:
    now = func.now()  # unlike clock_timestamp(), it lets an index answer
    ready, read = table.c.vt <= now, table.c.read_ct > 0
    oldest = func.min(table.c.enqueued_at).filter(ready)
    first = (
        select(
            _object(
                msg_id=table.c.msg_id,
                type=table.c.message["type"].astext,
                retry_count=table.c.message["retryCount"],
            )
        )
        .where(ready)
        .order_by(table.c.msg_id)
        .limit(1)
        .scalar_subquery()
    )
    return select(
        literal(queue).label("queue"),
        func.count().filter(ready).label("ready"),
        func.count().filter(~ready, read).label("in_flight"),
        func.count().filter(~ready, ~read).label("delayed"),
        func.coalesce(func.extract("epoch", now - oldest), 0).label("oldest_ready_seconds"),
        first.label("oldest_ready"),
    ).select_from(table)


def _story(letter: DeadLetter) -> dict[str, Any]:
    story = asdict(letter) | {"died_at": iso(letter.died_at)}
    del story["body"], story["msg_id"]
    return story


def _letter(msg_id: int, story: dict[str, Any], body: str | None) -> DeadLetter:
    died_at = datetime.fromisoformat(story.pop("died_at"))
    reason = Reason(story.pop("reason"))
    return DeadLetter(**story, reason=reason, died_at=died_at, body=body, msg_id=msg_id)


def _object(**members: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the JSON object with these members."""
    pairs = (part for name, value in members.items() for part in (literal(name, Text), value))
    return func.jsonb_build_object(*pairs, type_=JSONB)


def _seconds(length: timedelta) -> int:
    """Return *length* in the whole seconds that pgmq wants, never too short."""
    return math.ceil(length.total_seconds())
