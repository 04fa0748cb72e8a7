"""The indexes that make scans cheap, on tables that are not ours and so created only on request."""

from collections.abc import Iterable

from sqlalchemy import URL, Connection, Index, text
from sqlalchemy.schema import CreateIndex

from sweeper.postgres.database import Database, schema_of
from sweeper.queue import key_index
from sweeper.queue.pgmq import Queues
from sweeper.rule import Rule

# By the catalogue alone, which a login without a grant on the schema may read too.
_VALID = text(
    "select exists (select from pg_index join pg_class on pg_class.oid = indexrelid"
    " join pg_namespace on pg_namespace.oid = relnamespace"
    " where indisvalid and nspname = :schema and relname = :name)"
)

_DIALECT = URL.create("postgresql+psycopg").get_dialect()()


def missing(tx: Connection, queues: Queues, rules: Iterable[Rule]) -> list[Index]:
    """Return the indexes of *rules* that do not exist, or are invalid after a failed creation.

    They are first those of the platform's tables, then those of the queues, by key.
    """
    chosen = list(rules)
    wanted = [rule.index for rule in chosen if rule.index is not None]
    wanted += key_index.indexes(queues, [rule.job for rule in chosen])
    return [
        index
        for index in wanted
        if not tx.execute(
            _VALID, {"schema": _schema(index, schema_of(tx)), "name": index.name}
        ).scalar()
    ]


def statement(index: Index, schema: str) -> str:
    """Return the SQL that creates *index* in the platform's *schema* without blocking writes."""
    sql = CreateIndex(index).compile(
        dialect=_DIALECT,
        compile_kwargs={"literal_binds": True},
        schema_translate_map={None: schema},
        render_schema_translate=True,
    )
    return " ".join(str(sql).split()).replace("CREATE INDEX", "create index concurrently") + ";"


def create_indexes(database: Database, queues: Queues, rules: Iterable[Rule]) -> list[str]:
    """Create the missing indexes, each outside a transaction; return one line for each."""
    with database.transaction() as tx:
        absent = missing(tx, queues, rules)
    quoted = _DIALECT.identifier_preparer.quote_identifier
    with database.autocommit() as connection:
        for index in absent:
            name = ".".join(map(quoted, (_schema(index, database.schema), str(index.name))))
            connection.execute(text(f"drop index concurrently if exists {name}"))
            connection.execute(text(statement(index, database.schema)))
    return [f"index {index.name}" for index in absent]


def _schema(index: Index, platform: str) -> str:
    """Return the schema of the table of *index*: its own, or the platform's."""
    return index.table.schema or platform if index.table is not None else platform
