"""The platform's tables, held against the columns that the job files read and write."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Connection, Table, Text, bindparam, text

from sweeper.catalog import Catalog
from sweeper.errors import DatabaseUnusableError
from sweeper.postgres.clock import now
from sweeper.postgres.database import schema_of

_COLUMNS = text(
    "select names.name, array_agg(attname) filter (where attname is not null) as columns"
    " from unnest(:names) as names (name) left join pg_attribute"
    " on attrelid = to_regclass(format('%I.%I', cast(:schema as text), name))"
    " and attnum > 0 and not attisdropped"
    " group by names.name"
).bindparams(bindparam("names", type_=ARRAY(Text)))

_TRIGGERS = text(
    "select tgname || ' on ' || relname from pg_trigger join pg_class on pg_class.oid = tgrelid"
    " join pg_proc on pg_proc.oid = tgfoid join pg_language on pg_language.oid = prolang"
    " where relnamespace = (select oid from pg_namespace where nspname = cast(:schema as text))"
    " and relname = any(:names) and not tgisinternal and lanname not in ('c', 'internal')"
    " and not coalesce(array_to_string(proconfig, ','), '') like '%search_path=%' order by 1"
).bindparams(bindparam("names", type_=ARRAY(Text)))


def demand(tx: Connection, catalog: Catalog) -> None:
    """Raise DatabaseUnusableError if a table or a column that the job files use is missing."""
    if fault := misfit(tx, catalog):
        raise DatabaseUnusableError("\n".join(fault))


def misfit(tx: Connection, catalog: Catalog) -> tuple[str, str] | None:
    """Return which tables or columns are missing, and what to do; None if none is."""
    used = _used(catalog)
    found = {row.name: row.columns or () for row in tx.execute(_COLUMNS, _names(tx, used))}
    if absent := [name for name in used if not found[name]]:
        return (
            f"tables are missing: {', '.join(absent)}",
            "is this the platform's database, and its schema the right one?",
        )
    lacking = [
        f"{name} lacks {', '.join(missing)}"
        for name, columns in used.items()
        if (missing := [column for column in columns if column not in found[name]])
    ]
    if lacking:
        return (
            f"{'; '.join(lacking)}: the platform's schema has changed",
            "no job runs before both fit again: upgrade sweeper, or restore the columns",
        )
    return None


def triggers_without_path(tx: Connection, catalog: Catalog) -> list[str]:
    """Return the triggers on the platform's tables whose functions have no search path of theirs.

    They use the path of the transaction that changes a row, and may name tables without a schema.
    """
    return list(tx.execute(_TRIGGERS, _names(tx, _used(catalog))).scalars())


def _names(tx: Connection, tables: Iterable[str]) -> dict[str, Any]:
    return {"schema": schema_of(tx), "names": list(tables)}


def _used(catalog: Catalog) -> dict[str, list[str]]:
    """Return the columns that the rules and the job files use, by table of the platform."""
    tables = (
        table
        for rule in catalog.rules.values()
        for table in rule.due(now()).get_final_froms()
        if isinstance(table, Table)
    )
    used: dict[str, dict[str, None]] = {}
    for table in (*tables, *catalog.tables):
        if table.schema is None:
            used.setdefault(table.name, {}).update(dict.fromkeys(table.columns.keys()))
    return {name: list(columns) for name, columns in used.items()}
