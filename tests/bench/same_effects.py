"""Whether two databases have the same rows in every table, but for ids, nonces, times and hosts."""

import json
from collections import Counter
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from sweeper.redact import shortened

# Both write sweeper.read_mark, with a row for each reader that they need.
_TABLES = """
    select schemaname, tablename from pg_tables
    where schemaname in ('public', 'sweeper', 'pgmq') and tablename <> 'read_mark' order by 1, 2
"""
_COLUMNS = """
    select attname::text from pg_attribute
    where attrelid = %s::regclass and attnum > 0 and not attisdropped and attname <> 'msg_id'
      and atttypid not in ('timestamptz'::regtype, 'timestamp'::regtype, 'uuid'::regtype)
      and attname not in ('sweep_id', 'host') and attidentity = ''
"""
_OF_ONE_RUN = frozenset({"nonce", "sweepId", "createdAt"})  # keys in documents
_SHOWN = 200  # characters of a row


def differences(url: str, other: str) -> list[str]:
    """Return one line for each table whose rows differ, with the first of them."""
    first, second = _rows(url), _rows(other)
    found = []
    for table in sorted(first | second):
        here, there = first.get(table, Counter()), second.get(table, Counter())
        if here != there:
            only_here, only_there = _first(here - there), _first(there - here)
            found.append(f"{table}: {only_here} only in the first, {only_there} in the other")
    return found


def _first(rows: Counter[str]) -> str:
    """Return how many rows there are, and the first of them."""
    return f"{rows.total()} rows ({shortened(next(iter(rows), ''), _SHOWN)})"


def _rows(url: str) -> dict[str, Counter[str]]:
    rows = dict[str, Counter[str]]()
    with psycopg.connect(url) as session:
        for schema, table in session.execute(_TABLES).fetchall():
            name = Identifier(schema, table)
            of_it = session.execute(_COLUMNS, [name.as_string(session)]).fetchall()
            columns = SQL(", ").join(Identifier(column) for (column,) in of_it)
            found = session.execute(SQL("select {} from {}").format(columns, name))
            rows[f"{schema}.{table}"] = Counter(json.dumps(_lasting(list(row))) for row in found)
    return rows


def _lasting(value: Any) -> Any:
    """Return *value* without what differs between any two runs."""
    match value:
        case dict():
            return {
                key: _lasting(each) for key, each in sorted(value.items()) if key not in _OF_ONE_RUN
            }
        case list():
            return [_lasting(each) for each in value]
        case bool() | int() | None:
            return value
        case _:
            return str(value)
