"""The check before any job runs: pgmq, the schema, the queues and the platform's tables exist."""

from sqlalchemy import Connection, Table, text

from sweeper.admin.migrate import current_revisions, heads
from sweeper.catalog import Catalog
from sweeper.errors import DatabaseUnusableError
from sweeper.postgres.clock import now
from sweeper.postgres.database import Database
from sweeper.queue.install import missing_queues, pgmq_version
from sweeper.queue.pgmq import Queues

_EXISTS = text("select to_regclass(:name) is not null")


def check(database: Database, queues: Queues, catalog: Catalog) -> None:
    """Raise DatabaseUnusableError, with what to do, if the commands cannot use the database."""
    with database.transaction() as tx:
        if pgmq_version(tx) is None:
            message = "pgmq is not installed in this database\nrun: sweeper migrate --install-pgmq"
            raise DatabaseUnusableError(message)
        if missing := unmigrated(tx, queues, catalog):
            message = f"{missing}\nrun: sweeper migrate"
            raise DatabaseUnusableError(message)
        if absent := _absent(tx, catalog):
            message = (
                f"tables are missing: {', '.join(absent)}\n"
                "is this the platform's database, and its schema the right one?"
            )
            raise DatabaseUnusableError(message)


def unmigrated(tx: Connection, queues: Queues, catalog: Catalog) -> str | None:
    """Return what `sweeper migrate` still has to do; None if the database is up to date."""
    if current_revisions(tx) != heads(catalog.package):
        return "schema sweeper is missing, or of another version"
    if missing := missing_queues(tx, queues):
        return f"queues are missing: {', '.join(missing)}"
    return None


def _absent(tx: Connection, catalog: Catalog) -> list[str]:
    """Return the names of the tables that rules read and that do not exist."""
    tables = {
        table.name
        for rule in catalog.rules.values()
        for table in rule.due(now()).get_final_froms()
        if isinstance(table, Table)
    }
    return [
        name
        for name in sorted(tables)
        if not tx.execute(_EXISTS, {"name": '"' + name.replace('"', '""') + '"'}).scalar()
    ]
