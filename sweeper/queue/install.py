"""Installation: which version of pgmq a database has, and the creation of pgmq and the queues."""

from sqlalchemy import Connection, text

from sweeper.queue.pgmq import Queues

_NAMES = text("select queue_name from pgmq.meta")
SELECT_VERSION = text(
    "select coalesce((select extversion from pg_extension where extname = 'pgmq'),"
    " substring(obj_description(oid, 'pg_namespace') from '^pgmq ([^, ]+)'), 'unknown')"
    " from pg_namespace where nspname = 'pgmq'"
    " and to_regprocedure('pgmq.send_batch(text, jsonb[], integer)') is not null"
)
"""The version of pgmq, as `pgmq_version` returns it; no row where pgmq is missing."""

_AVAILABLE = text("select exists (select from pg_available_extensions where name = 'pgmq')")
_CREATE = text("select pgmq.create(cast(:queue as text))")


def missing_queues(tx: Connection, queues: Queues) -> list[str]:
    """Return the queues that do not exist yet."""
    existing = set(tx.execute(_NAMES).scalars())
    return [queue for queue in queues if queue not in existing]


def create_queues(tx: Connection, queues: Queues) -> None:
    """Create the queues that are missing."""
    for queue in queues:
        tx.execute(_CREATE, {"queue": queue})


def pgmq_version(tx: Connection) -> str | None:
    """Return the version of pgmq, "unknown" where it has none, None where pgmq is missing."""
    return tx.execute(SELECT_VERSION).scalar()


def install_pgmq(tx: Connection) -> str:
    """Install pgmq as an extension, or from its own SQL, and return its version."""
    from pgmq.install import (  # noqa: PLC0415 -- only a new database needs it
        get_embedded_install_sql,
        get_embedded_sql_version,
    )

    if tx.execute(_AVAILABLE).scalar():
        tx.execute(text("create extension pgmq"))
    else:
        tx.exec_driver_sql(get_embedded_install_sql(), execution_options={"no_parameters": True})
        version = get_embedded_sql_version()
        tx.execute(text(f"comment on schema pgmq is 'pgmq {version}, installed from its SQL'"))
    return pgmq_version(tx) or "unknown"
