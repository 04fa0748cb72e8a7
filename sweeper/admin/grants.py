"""The grants that the service's login needs: as SQL statements, and checked against a login."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from psycopg.sql import SQL, Composable, Identifier
from sqlalchemy import Connection, text

from sweeper.exports import Grant
from sweeper.ledger import SCHEMA
from sweeper.queue.pgmq import Queues

_CLOSED = text(
    "select not has_schema_privilege(oid, 'usage') from pg_namespace where nspname = :schema"
)
_EXISTS = text("select to_regclass(:name) is not null")
_ON_TABLE = text("select has_table_privilege(:table, :privilege)")
_ON_COLUMN = text("select has_column_privilege(:table, :column, :privilege)")
_FUNCTION_EXISTS = text("select to_regprocedure(:name) is not null")
_ON_FUNCTION = text("select has_function_privilege(:table, :privilege)")
_DELETABLE = text(
    "select quote_ident(nspname) || '.' || quote_ident(relname) as name,"
    " pg_has_role(relowner, 'usage') as owned"
    " from pg_class join pg_namespace on pg_namespace.oid = relnamespace"
    " where nspname = :schema and relname = any(cast(:tables as text[])) and relkind = 'r'"
    " and has_table_privilege(pg_class.oid, 'delete, truncate') order by relname"
)
_QUEUE = ("select", "insert", "update", "delete")
_EXECUTE = "execute"
# Not its id and its time, so that no act is made older than it is.
_ACT = ("begun", "action", "subject", "actor", "origin", "host", "reason", "outcome", "detail",
        "duration_ms", "keys")  # fmt: skip

ENGINE = (
    *(Grant(SCHEMA, "sweep", privilege) for privilege in ("select", "insert")),
    *(Grant(SCHEMA, "job_log", privilege) for privilege in ("select", "insert")),
    Grant(SCHEMA, "prune(text, timestamptz, integer)", _EXECUTE),
    *(Grant(SCHEMA, "lock", privilege) for privilege in ("select", "insert")),
    Grant(SCHEMA, "lock", "update", ("taken_at",)),
    *(Grant(SCHEMA, "pause", privilege) for privilege in _QUEUE),
    *(Grant(SCHEMA, "read_mark", privilege) for privilege in _QUEUE),
    Grant(SCHEMA, "act", "select"),
    Grant(SCHEMA, "act", "insert", _ACT),
    *(Grant(SCHEMA, "history", privilege) for privilege in _QUEUE),
    Grant(SCHEMA, "alembic_version", "select"),
    Grant("pgmq", "meta", "select"),
)


def needed(queues: Queues, domain: Iterable[Grant], platform: str) -> list[Grant]:
    """Return all grants that the service needs: for its schema, the queues and the job files.

    platform -- the schema of the platform's tables
    """
    tables = [Grant("pgmq", f"q_{queue}", privilege) for queue in queues for privilege in _QUEUE]
    return [
        *ENGINE,
        *tables,
        *(replace(grant, schema=grant.schema or platform) for grant in domain),
    ]


def statements(role: str, grants: Sequence[Grant]) -> list[str]:
    """Return the SQL that gives *role* the grants: schemas first, then one statement per table."""
    to = Identifier(role)
    schemas = dict.fromkeys(grant.schema for grant in grants if grant.schema)
    by_table: dict[str, list[Grant]] = {}
    for grant in grants:
        by_table.setdefault(_name(grant), []).append(grant)
    usage = [
        SQL("grant usage on schema {} to {};").format(Identifier(schema), to) for schema in schemas
    ]
    tables = [
        SQL("grant {} on {}{} to {};").format(
            SQL(", ").join(map(_privilege, given)),
            SQL("function " if given[0].privilege == _EXECUTE else ""),
            SQL(name),
            to,
        )
        for name, given in by_table.items()
    ]
    return [statement.as_string() for statement in (*usage, *tables)]


def lacking(tx: Connection, grants: Sequence[Grant]) -> tuple[list[str], list[Grant]]:
    """Return the tables that do not exist, and the grants that the current login does not have.

    Without usage on a schema, the login has none of the grants on its tables.
    """
    closed = {
        schema
        for schema in {grant.schema for grant in grants if grant.schema}
        if tx.execute(_CLOSED, {"schema": schema}).scalar()
    }
    open_ = [grant for grant in grants if grant.schema not in closed]
    absent = [
        name
        for name, grant in {_name(grant): grant for grant in open_}.items()
        if not tx.execute(
            _FUNCTION_EXISTS if grant.privilege == _EXECUTE else _EXISTS, {"name": name}
        ).scalar()
    ]
    return absent, [
        grant
        for grant in grants
        if grant.schema in closed or (_name(grant) not in absent and not _has(tx, grant))
    ]


def deletable(tx: Connection, domain: Iterable[Grant]) -> tuple[list[str], bool]:
    """Return the ledgers from which the current login may delete, and whether it owns one.

    domain -- the job files' grants; a table in the sweeper's schema is a ledger of theirs
    """
    of_jobs = (grant.table for grant in domain if grant.schema == SCHEMA)
    tables = {"sweep", "job_log", "act", *of_jobs}
    rows = tx.execute(_DELETABLE, {"schema": SCHEMA, "tables": sorted(tables)}).all()
    return [row.name for row in rows], any(row.owned for row in rows)


def _has(tx: Connection, grant: Grant) -> bool:
    parameters = {"table": _name(grant), "privilege": grant.privilege}
    if not grant.columns:
        query = _ON_FUNCTION if grant.privilege == _EXECUTE else _ON_TABLE
        return bool(tx.execute(query, parameters).scalar())
    return all(
        tx.execute(_ON_COLUMN, parameters | {"column": column}).scalar() for column in grant.columns
    )


def _privilege(grant: Grant) -> Composable:
    if not grant.columns:
        return SQL(grant.privilege)
    columns = SQL(", ").join(map(Identifier, grant.columns))
    return SQL("{} ({})").format(SQL(grant.privilege), columns)


def _name(grant: Grant) -> str:
    if grant.privilege == _EXECUTE:
        return f"{grant.schema}.{grant.table}"
    return Identifier(*filter(None, (grant.schema, grant.table))).as_string()
