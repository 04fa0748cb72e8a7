"""The indexes on the queues by key: with them, a scan costs what is due, not what is queued."""

import hashlib
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ARRAY,
    URL,
    ColumnElement,
    Index,
    MetaData,
    Table,
    Text,
    cast,
    column,
    func,
    literal,
    null,
    select,
    table,
)

from sweeper.job import JobType
from sweeper.queue.body import body_of, names_of_key
from sweeper.queue.pgmq import Queues

SEVERAL = "*"
"""What `sweeper.message_key` returns in place of a key for a message that lists several."""

_DIALECT = URL.create("postgresql+psycopg").get_dialect()()
_CLASS = table(
    "pg_class", column("oid"), column("relname"), column("relnamespace"), schema="pg_catalog"
)
_INDEX = table("pg_index", column("indexrelid"), column("indisvalid"), schema="pg_catalog")


def live_key(job: JobType[Any], queue: Table) -> ColumnElement[Any]:
    """Return what the index of a live queue holds: the key of a message, or SEVERAL."""
    many = literal(job.many, Text) if job.many else cast(null(), Text)
    return func.sweeper.message_key(queue.c.message, many, *names_of_key(job), type_=Text)


def dead_key(queue: Table) -> ColumnElement[Any]:
    """Return what the index of the dead-letter queue holds: the key that a letter is about."""
    key: ColumnElement[Any] = body_of(queue)["key"].astext
    return key


def live_indexes(queues: Queues, job: JobType[Any]) -> list[Index]:
    """Return the indexes of the live queues by the key of *job*."""
    return [_index(queue, live_key(job, queue)) for queue in _copies(queues, queues.live)]


def dead_indexes(queues: Queues) -> list[Index]:
    """Return the index of the dead-letter queue, in a list of its own."""
    return [_index(queue, dead_key(queue)) for queue in _copies(queues, [queues.dead])]


def indexes(queues: Queues, jobs: Iterable[JobType[Any]]) -> list[Index]:
    """Return the indexes that scans for *jobs* use; types whose payloads agree share theirs."""
    every = [index for job in jobs for index in live_indexes(queues, job)]
    return list({index.name: index for index in [*every, *dead_indexes(queues)]}.values())


def are_there(wanted: Iterable[Index]) -> ColumnElement[bool]:
    """Return whether all of these indexes exist, and none is left of a failed creation."""
    names = [str(index.name) for index in wanted]
    found = (
        select(func.count() == len(names))
        .select_from(_CLASS.join(_INDEX, _INDEX.c.indexrelid == _CLASS.c.oid))
        .where(
            _CLASS.c.relname == func.any(cast(names, ARRAY(Text))),
            _CLASS.c.relnamespace == func.to_regnamespace("pgmq"),
            _INDEX.c.indisvalid,
        )
    )
    return found.scalar_subquery()


def _copies(queues: Queues, names: Iterable[str]) -> list[Table]:
    """Return copies of the tables, because SQLAlchemy keeps in each the indexes made on it."""
    return [queues.tables[name].to_metadata(MetaData(schema="pgmq")) for name in names]


def _index(queue: Table, key: ColumnElement[Any]) -> Index:
    sql = str(key.compile(dialect=_DIALECT, compile_kwargs={"literal_binds": True}))
    digest = hashlib.sha256(f"{queue.name} {sql}".encode()).hexdigest()[:12]
    # A hash takes a key of any length, where a B-tree would refuse a sender's message.
    return Index(f"sweeper_key_{digest}", key, postgresql_using="hash")
