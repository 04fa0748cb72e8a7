"""Which keys have a job already: a message on its way, or a dead letter.

With the indexes by key, each key is looked up, so that the cost follows the keys. Without them, and
for very many keys, the queues are read once in whole.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    Select,
    Table,
    case,
    cast,
    func,
    or_,
    select,
    union,
    union_all,
)
from sqlalchemy.dialects.postgresql import JSONB

from sweeper.job import JobType
from sweeper.queue.body import body_of, key_of, member, payload_of
from sweeper.queue.hidden import is_hidden
from sweeper.queue.key_index import (
    SEVERAL,
    are_there,
    dead_indexes,
    dead_key,
    live_indexes,
    live_key,
)
from sweeper.queue.pgmq import Queues

LOOKED_UP = 10_000
"""The most keys that are looked up one by one; a read of the whole queues serves more of them."""


def waiting_keys(queues: Queues, job: JobType[Any]) -> Select[Any]:
    """Return a statement whose column `key` has every key with a message that is on its way.

    It lies in a live queue, and is not hidden: whoever may insert messages chooses when one becomes
    visible, and that it was read before, so neither a far date nor a read keeps a row out of scans.
    """
    queries = []
    for _, table in queues.live_tables:
        key = key_of(job, body_of(table)).label("key")
        queries.append(select(key).where(_on_its_way(queues, job, table)))
        if job.many:
            queries.append(_listed(queues, job, table))
    return select(union_all(*queries).subquery("waiting").c.key).distinct()


def dead_keys(queues: Queues, job: JobType[Any]) -> Select[Any]:
    """Return a statement whose column `key` has every key with a dead letter."""
    table = queues.tables[queues.dead]
    ours = body_of(table)["type"].astext == job.name
    return select(dead_key(table).label("key")).where(ours).distinct()


def waiting_among(queues: Queues, job: JobType[Any], keys: CTE) -> CTE:
    """Return the keys with a message on its way: those of *keys*, and maybe others.

    keys -- one column, `key`
    """
    lookups, lists = [], []
    for _, table in queues.live_tables:
        key, on_its_way = key_of(job, body_of(table)), _on_its_way(queues, job, table)
        # Somebody's key may be what stands for a list, so the key itself is compared too.
        same = (live_key(job, table) == keys.c.key) & (key == keys.c.key)
        lookups.append(select(func.count()).where(same, on_its_way))
        if job.many:
            in_list = live_key(job, table) == SEVERAL
            lists.append(_listed(queues, job, table).where(in_list))
            lists.append(select(key.label("key")).where(in_list, on_its_way))
    whole, needed = waiting_keys(queues, job), live_indexes(queues, job)
    return _among(keys, lookups, lists, whole, are_there(needed)).cte("waiting")


def dead_among(queues: Queues, job: JobType[Any], keys: CTE) -> CTE:
    """Return the keys of dead letters: all those of *keys*, and maybe others."""
    table = queues.tables[queues.dead]
    ours = body_of(table)["type"].astext == job.name
    lookup = select(func.count()).where(dead_key(table) == keys.c.key, ours)
    needed = are_there(dead_indexes(queues))
    return _among(keys, [lookup], [], dead_keys(queues, job), needed).cte("dead")


def _among(
    keys: CTE,
    lookups: Sequence[Select[Any]],
    lists: Sequence[Select[Any]],
    whole: Select[Any],
    indexed: ColumnElement[bool],
) -> CompoundSelect[Any]:
    """Return the union of both ways to find keys; the server takes one, and skips the other.

    lookups -- the numbers of messages about a key of *keys*
    lists   -- keys that are found by no lookup
    whole   -- every key
    indexed -- whether the lookups have their indexes
    """
    is_few = ((func.count() <= LOOKED_UP) & indexed).label("is_few")
    few = select(select(is_few).select_from(keys).cte()).scalar_subquery()
    # A count for each key is never a join, whatever the server believes about numbers of rows.
    found = or_(*(query.correlate(keys).scalar_subquery() > 0 for query in lookups))
    by_key = select(keys.c.key).where(few, found)
    return union(by_key, *(query.where(few) for query in lists), whole.where(~few))


def _on_its_way(queues: Queues, job: JobType[Any], table: Table) -> ColumnElement[bool]:
    is_ours: ColumnElement[bool] = body_of(table)["type"].astext == job.name
    return is_ours & ~is_hidden(table, queues.horizon)


def _listed(queues: Queues, job: JobType[Any], table: Table) -> Select[Any]:
    """Return a statement whose column `key` has the keys in the lists of *table*'s messages."""
    listed = member(payload_of(body_of(table)), str(job.many))
    several = case((func.jsonb_typeof(listed) == "array", listed), else_=cast([], JSONB))
    key = func.jsonb_array_elements_text(several).label("key")
    return select(key).where(_on_its_way(queues, job, table))
