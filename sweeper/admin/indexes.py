"""The indexes that make scans cheap, on the platform's tables and so created only on request."""

from collections.abc import Iterable

from sqlalchemy import URL, Connection, Index, text
from sqlalchemy.schema import CreateIndex

from sweeper.postgres.database import Database
from sweeper.rule import Rule

_VALID = text(
    "select exists (select from pg_index where indexrelid = to_regclass(:name) and indisvalid)"
)


def missing(tx: Connection, rules: Iterable[Rule]) -> list[Index]:
    """Return the indexes of *rules* that do not exist, or are invalid after a failed creation."""
    wanted = [rule.index for rule in rules if rule.index is not None]
    return [
        index for index in wanted if not tx.execute(_VALID, {"name": f'"{index.name}"'}).scalar()
    ]


def statement(index: Index) -> str:
    """Return the SQL that creates *index* without blocking writes."""
    dialect = URL.create("postgresql+psycopg").get_dialect()()
    sql = CreateIndex(index).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return " ".join(str(sql).split()).replace("CREATE INDEX", "create index concurrently") + ";"


def create(database: Database, rules: Iterable[Rule]) -> list[str]:
    """Create the missing indexes, each outside a transaction; return their names."""
    with database.transaction() as tx:
        absent = missing(tx, rules)
    with database.autocommit() as connection:
        for index in absent:
            connection.execute(text(f'drop index concurrently if exists "{index.name}"'))
            connection.execute(text(statement(index)))
    return [str(index.name) for index in absent]
