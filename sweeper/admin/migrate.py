"""Brings a database to where this version needs it: pgmq, our own schema, the queues."""

from datetime import timedelta
from importlib import resources
from pathlib import Path

from sqlalchemy import Connection, text

from sweeper.errors import DatabaseUnusableError
from sweeper.ledger import SCHEMA
from sweeper.postgres.database import Database
from sweeper.queue.install import create_queues, install_pgmq, missing_queues, pgmq_version
from sweeper.queue.pgmq import Queues

_ALONE = text("select pg_advisory_xact_lock(hashtextextended('sweeper.migrate', 0))")
_PATIENCE = timedelta(minutes=1)  # for another migration to end


def migrate(database: Database, queues: Queues, package: str, *, install: bool) -> list[str]:
    """Create or upgrade everything in one transaction; return what was done, for people.

    package -- the job package, which may bring migrations of its own
    install -- install pgmq where it is missing

    Raises DatabaseUnusableError where it is missing and *install* is false.
    """
    done = []
    with database.transaction(lock_timeout=_PATIENCE) as tx:
        tx.execute(_ALONE)
        version = pgmq_version(tx)
        if version is None:
            if not install:
                message = (
                    "pgmq is not installed in this database\nrun: sweeper migrate --install-pgmq"
                )
                raise DatabaseUnusableError(message)
            version = install_pgmq(tx)
            done.append(f"installed pgmq {version}")
        tx.execute(text(f"create schema if not exists {SCHEMA}"))
        before = stands_at(tx)
        if before != heads(package):
            _upgrade(tx, package)
            done.append(f"schema {SCHEMA}: {', '.join(sorted(heads(package) - before))}")
        missing = missing_queues(tx, queues)
        if missing:
            create_queues(tx, queues)
            done.append(f"queues: {', '.join(missing)}")
    return done


def heads(package: str) -> frozenset[str]:
    """Return the migrations that a database must stand at: the last of each history."""
    histories = (_history(name) for name in ("sweeper", package))
    return frozenset(max(_revisions(history)) for history in histories if history.is_dir())


def stands_at(tx: Connection) -> frozenset[str]:
    """Return the migrations that the database stands at; none where it was never migrated."""
    table = f"{SCHEMA}.alembic_version"
    if tx.execute(text("select to_regclass(:table)"), {"table": table}).scalar() is None:
        return frozenset()
    return frozenset(tx.execute(text(f"select version_num from {table}")).scalars())  # noqa: S608 -- a constant


def _upgrade(tx: Connection, package: str) -> None:
    from alembic import command  # noqa: PLC0415 -- half a second that other commands need not pay
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    places = [str(history) for history in map(_history, ("sweeper", package)) if history.is_dir()]
    config.set_main_option("script_location", str(_history("sweeper").parent).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join(places).replace("%", "%%"))
    config.attributes["connection"] = tx
    command.upgrade(config, "heads")


def _history(package: str) -> Path:
    return Path(str(resources.files(package).joinpath("migrations", "versions")))


def _revisions(history: Path) -> list[str]:
    return [file.stem for file in history.glob("*_[0-9][0-9][0-9][0-9].py")]
