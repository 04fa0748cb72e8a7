"""The check before any job runs: pgmq, schema, queues and the platform's tables are as needed."""

from sqlalchemy import Connection

from sweeper.admin import platform_tables
from sweeper.admin.migrate import current_revisions, heads, too_new
from sweeper.catalog import Catalog
from sweeper.errors import DatabaseUnusableError
from sweeper.postgres.database import Database
from sweeper.queue.install import missing_queues, pgmq_version
from sweeper.queue.pgmq import Queues


def check(database: Database, queues: Queues, catalog: Catalog) -> None:
    """Raise DatabaseUnusableError, with what to do, if the commands cannot use the database."""
    with database.transaction() as tx:
        if pgmq_version(tx) is None:
            message = "pgmq is not installed in this database\nrun: sweeper migrate --install-pgmq"
            raise DatabaseUnusableError(message)
        if missing := unmigrated(tx, queues, catalog):
            raise DatabaseUnusableError("\n".join(missing))
        platform_tables.demand(tx, catalog)
        # The platform's own triggers go on working; `doctor` says how to do without this.
        database.schema_in_path = bool(platform_tables.triggers_without_path(tx, catalog))


def unmigrated(tx: Connection, queues: Queues, catalog: Catalog) -> tuple[str, str] | None:
    """Return what keeps the schema from being up to date, and what to do; None if nothing does."""
    if fault := too_new(tx, catalog.packages):
        return fault
    if current_revisions(tx) != heads(catalog.packages):
        return "schema sweeper is missing, or of another version", "run: sweeper migrate"
    if missing := missing_queues(tx, queues):
        return f"queues are missing: {', '.join(missing)}", "run: sweeper migrate"
    return None
