"""Migrations: bring pgmq, the schema and the queues of a database to this version."""

from collections.abc import Sequence
from datetime import timedelta
from importlib import resources
from pathlib import Path

from sqlalchemy import Connection, text

from sweeper.admin import platform_tables
from sweeper.catalog import Catalog
from sweeper.errors import DatabaseUnusableError
from sweeper.ledger import SCHEMA
from sweeper.postgres.database import Database
from sweeper.queue.install import create_queues, install_pgmq, missing_queues, pgmq_version
from sweeper.queue.notify import enable
from sweeper.queue.pgmq import Queues

_LOCK = text("select pg_advisory_xact_lock(hashtextextended('sweeper.migrate', 0))")
_LOCK_TIMEOUT = timedelta(minutes=1)  # how long to wait for another migration


def migrate(database: Database, queues: Queues, catalog: Catalog, *, install: bool) -> list[str]:
    """Create or upgrade everything in one transaction; return what was done, one line for each.

    catalog -- of the job packages, which may have migrations of their own
    install -- whether to install pgmq if it is missing

    Raises DatabaseUnusableError if pgmq is missing and *install* is false, if the database is not
    the platform's, and if a newer program has migrated it.
    """
    done, packages = [], catalog.packages
    with database.transaction(lock_timeout=_LOCK_TIMEOUT) as tx:
        tx.execute(_LOCK)
        version = pgmq_version(tx)
        if version is None and not install:
            message = "pgmq is not installed in this database\nrun: sweeper migrate --install-pgmq"
            raise DatabaseUnusableError(message)
        platform_tables.demand(tx, catalog)
        if version is None:
            version = install_pgmq(tx)
            done.append(f"installed pgmq {version}")
        if fault := too_new(tx, packages):
            raise DatabaseUnusableError("\n".join(fault))
        tx.execute(text(f"create schema if not exists {SCHEMA}"))
        before = current_revisions(tx)
        if before != heads(packages):
            _upgrade(tx, packages)
            done.append(f"schema {SCHEMA}: {', '.join(sorted(heads(packages) - before))}")
        missing = missing_queues(tx, queues)
        if missing:
            create_queues(tx, queues)
            done.append(f"queues: {', '.join(missing)}")
    return done


def notify(database: Database, queues: Queues) -> list[str]:
    """Have pgmq notify of new messages; return one line for each queue of which it did not before.

    Raises DatabaseUnusableError where it cannot, or where a role could not send any more.
    """
    with database.transaction(lock_timeout=_LOCK_TIMEOUT) as tx:
        tx.execute(_LOCK)
        return [f"notifications of {queue}" for queue in enable(tx, queues)]


def heads(packages: Sequence[str]) -> frozenset[str]:
    """Return the revisions that a migrated database has: the last of each history."""
    return frozenset(max(_revisions(history)) for history in _histories(packages))


def current_revisions(tx: Connection) -> frozenset[str]:
    """Return the revisions that the database has now; empty if it was never migrated."""
    table = f"{SCHEMA}.alembic_version"
    if tx.execute(text("select to_regclass(:table)"), {"table": table}).scalar() is None:
        return frozenset()
    return frozenset(tx.execute(text(f"select version_num from {table}")).scalars())  # noqa: S608 -- a constant


def too_new(tx: Connection, packages: Sequence[str]) -> tuple[str, str] | None:
    """Return what a newer program did to the schema, and how to go on; None if none did."""
    known = {name for history in _histories(packages) for name in _revisions(history)}
    if unknown := current_revisions(tx) - known:
        return (
            f"schema {SCHEMA} is newer than this program: it has {', '.join(sorted(unknown))}",
            (
                "upgrade sweeper on this host to the version that migrated it, or name with --jobs"
                " the job package that the rest is of; the schema stays"
            ),
        )
    return None


def _upgrade(tx: Connection, packages: Sequence[str]) -> None:
    from alembic import command  # noqa: PLC0415 -- takes half a second, and few commands need it
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    folders = [str(history) for history in _histories(packages)]
    config.set_main_option("script_location", str(_history("sweeper").parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(folders).replace("%", "%%"))
    config.attributes["connection"] = tx
    command.upgrade(config, "heads")


def _history(package: str) -> Path:
    return Path(str(resources.files(package).joinpath("migrations", "versions")))


def _histories(packages: Sequence[str]) -> list[Path]:
    return [history for history in map(_history, ("sweeper", *packages)) if history.is_dir()]


def _revisions(history: Path) -> list[str]:
    return [file.stem for file in history.glob("*_[0-9][0-9][0-9][0-9].py")]
