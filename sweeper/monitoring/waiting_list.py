"""The list of the messages in the live queues, by queue, type, key and age."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Subquery,
    Table,
    Text,
    case,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)

from sweeper.catalog import Catalog
from sweeper.errors import UsageError
from sweeper.exports import ColumnKind, ListColumn
from sweeper.monitoring.list_page import MOST_COUNTED, MOST_SEARCHED, Page, Wanted, split
from sweeper.postgres.database import Database
from sweeper.postgres.deferred import avoid
from sweeper.queue.body import finite, key_of, number_in, opened, sent_at, shown
from sweeper.queue.dead_letters.dead_letter_filter import LARGEST_ID, WITHOUT, any_of, moment
from sweeper.queue.hidden import is_hidden
from sweeper.queue.inspect import has_more
from sweeper.queue.pgmq import Queues


def state_in_words(state: str) -> str:
    """Return a message's state as people are shown it; the documents keep their older words."""
    return {"in work": "in flight", "later": "delayed"}.get(state, state)


COLUMNS = (
    ListColumn("msg_id", "id", ColumnKind.NUMBER, str),
    ListColumn("queue", "queue"),
    ListColumn("type", "type"),
    ListColumn("key", "key", ColumnKind.KEY),
    ListColumn("state", "state", ColumnKind.TAG, state_in_words),
    ListColumn("retries", "retries", ColumnKind.NUMBER),
    ListColumn("enqueued_at", "sent", ColumnKind.TIME),
    ListColumn("visible_at", "to be read from", ColumnKind.TIME),
)


@dataclass(frozen=True, slots=True)
class WaitingList:
    """Reads the list: the queues in their order, each one's newest message first."""

    database: Database
    queues: Queues
    catalog: Catalog

    def read(self, wanted: Wanted) -> Page:
        """Return a page; `equal` may hold `queue` and `type`.

        Raises UsageError for an unknown queue.
        """
        chosen = self._chosen(wanted)
        with self.database.transaction() as tx:
            avoid(tx, "sort")
            found = self._ids(tx, wanted, chosen)
            rows = self._rows(tx, found[: wanted.limit])
            total = self._total(tx, wanted)
            codes = self.catalog.codes.of(tx, [row["key"] for row in rows])
            is_cut = self._is_searched(wanted) and has_more(tx, self.queues, MOST_SEARCHED)
        following = ",".join(map(str, found[wanted.limit - 1])) if found[wanted.limit :] else None
        left_out = f"messages behind the newest {MOST_SEARCHED:,} of each queue" if is_cut else ""
        return Page(COLUMNS, rows, total, following, "key", codes, left_out)

    def _chosen(self, wanted: Wanted) -> list[tuple[str, int]]:
        """Return the queues to read, each with the id before which its messages are wanted."""
        queue = wanted.equal.get("queue")
        if queue is not None and queue not in self.queues.live:
            message = f"there is no queue {queue!r}; there are {', '.join(self.queues.live)}"
            raise UsageError(message)
        live = [name for name in self.queues.live if queue in {None, name}]
        if wanted.before is None:
            return [(name, LARGEST_ID) for name in live]
        last, number = split(wanted.before, 2)
        if last not in live or not number.isdecimal():
            message = "that is no place in this list: give QUEUE,ID"
            raise UsageError(message)
        behind = live[live.index(last) + 1 :]
        return [(last, min(int(number), LARGEST_ID)), *((name, LARGEST_ID) for name in behind)]

    def _ids(
        self, tx: Connection, wanted: Wanted, chosen: Sequence[tuple[str, int]]
    ) -> list[tuple[str, int]]:
        """Return the places of the page's messages, and of one more."""
        queries = []
        for queue, before in chosen:
            some = self._matching(queue, wanted, before)
            newest = select(some.c.msg_id).order_by(some.c.msg_id.desc()).limit(wanted.limit + 1)
            ids = newest.subquery(f"ids_{queue}")
            queries.append(select(literal(queue).label("queue"), ids.c.msg_id))
        rank = {queue: place for place, queue in enumerate(self.queues.live)}
        rows = [(row.queue, row.msg_id) for row in tx.execute(union_all(*queries))]
        return sorted(rows, key=lambda row: (rank[row[0]], -row[1]))[: wanted.limit + 1]

    def _total(self, tx: Connection, wanted: Wanted) -> int:
        queue = wanted.equal.get("queue")
        counts = [
            select(func.count()).select_from(
                select(self._matching(name, wanted, LARGEST_ID).c.msg_id)
                .limit(MOST_COUNTED)
                .subquery(f"counted_{name}")
            )
            for name in self.queues.live
            if queue in {None, name}
        ]
        return min(MOST_COUNTED, sum(tx.execute(union_all(*counts)).scalars()))

    def _rows(self, tx: Connection, places: Sequence[tuple[str, int]]) -> list[Mapping[str, Any]]:
        """Return the messages at *places*, in their order; some may have gone meanwhile."""
        queries = []
        for queue in dict.fromkeys(queue for queue, _ in places):
            table = self.queues.tables[queue]
            ids = [msg_id for name, msg_id in places if name == queue]
            queries.append(self._shown(queue, table).where(any_of(table.c.msg_id, ids)))
        if not queries:
            return []
        rows = [dict(row) for row in tx.execute(union_all(*queries)).mappings()]
        numbers = {place: number for number, place in enumerate(places)}
        return sorted(rows, key=lambda row: numbers[row["queue"], row["msg_id"]])

    def _shown(self, queue: str, table: Table) -> Select[Any]:
        body, is_ready = opened(table.c.message), table.c.vt <= func.now()
        state = case(
            (is_ready, "ready"),
            (is_hidden(table, self.queues.horizon), "hidden"),
            (table.c.read_ct > 0, "in work"),
            else_="later",
        )
        return select(
            literal(queue).label("queue"),
            table.c.msg_id,
            shown(body["type"].astext).label("type"),
            shown(self._key(body)).label("key"),
            state.label("state"),
            number_in(body, "retryCount").label("retries"),
            sent_at(table).label("enqueued_at"),
            finite(table.c.vt).label("visible_at"),
        )

    def _key(self, body: ColumnElement[Any]) -> ColumnElement[Any]:
        kind = body["type"].astext
        keys = [(kind == job.name, key_of(job, body)) for job in self.catalog.jobs.values()]
        return case(*keys) if keys else cast(null(), Text)

    def _is_searched(self, wanted: Wanted) -> bool:
        """Return whether there is a filter that messages must be looked through for."""
        filters = (wanted.equal.get("type"), wanted.key, wanted.older, wanted.newer)
        return any(one is not None for one in filters)

    def _matching(self, queue: str, wanted: Wanted, before: int) -> Subquery:
        """Return the messages of *queue* that meet the filters, of those that are searched."""
        table = self.queues.tables[queue]
        rows = select(table).where(table.c.msg_id < before)
        if self._is_searched(wanted):
            rows = rows.order_by(table.c.msg_id.desc()).limit(MOST_SEARCHED)
        some = rows.subquery(f"some_of_{queue}")
        body = opened(some.c.message)
        sent = func.least(finite(some.c.enqueued_at), func.now())
        conditions = []
        if (kind := wanted.equal.get("type")) is not None:
            column = body["type"].astext
            conditions.append(column.is_(None) if kind == WITHOUT else column == kind)
        if wanted.key is not None:
            key = self._key(body)
            conditions.append(key.is_(None) if wanted.key == WITHOUT else key == wanted.key)
        if wanted.older is not None:
            conditions.append(sent <= moment(wanted.older))
        if wanted.newer is not None:
            conditions.append(sent > moment(wanted.newer))
        return select(some).where(*conditions).subquery(f"matching_{queue}")
