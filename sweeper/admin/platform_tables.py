"""The platform's tables, held against the columns that the job files read and write."""

from sqlalchemy import ARRAY, Connection, Table, Text, bindparam, text

from sweeper.catalog import Catalog
from sweeper.errors import DatabaseUnusableError
from sweeper.postgres.clock import now

_COLUMNS = text(
    "select names.name, array_agg(attname) filter (where attname is not null) as columns"
    " from unnest(:names) as names (name) left join pg_attribute"
    " on attrelid = to_regclass(quote_ident(name)) and attnum > 0 and not attisdropped"
    " group by names.name"
).bindparams(bindparam("names", type_=ARRAY(Text)))


def demand(tx: Connection, catalog: Catalog) -> None:
    """Raise DatabaseUnusableError if a table or a column that the job files use is missing."""
    if fault := misfit(tx, catalog):
        raise DatabaseUnusableError("\n".join(fault))


def misfit(tx: Connection, catalog: Catalog) -> tuple[str, str] | None:
    """Return which tables or columns are missing, and what to do; None if none is."""
    used = _used(catalog)
    found = {row.name: row.columns or () for row in tx.execute(_COLUMNS, {"names": [*used]})}
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


def _used(catalog: Catalog) -> dict[str, list[str]]:
    """Return the columns that the rules and the job files use, by table of the platform."""
    tables = (
        table
        for rule in catalog.rules.values()
        for table in rule.due(now()).get_final_froms()
        if isinstance(table, Table)
    )
    return {
        table.name: [column.name for column in table.columns]
        for table in (*tables, *catalog.tables)
        if table.schema is None
    }
