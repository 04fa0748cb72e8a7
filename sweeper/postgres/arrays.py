"""Lists of plain texts and whole numbers, written as arrays in one pass instead of item by item."""

from typing import Any

import psycopg
from psycopg.abc import Buffer
from psycopg.types.array import ListDumper
from sqlalchemy import Engine, event


class FlatListDumper(ListDumper):
    """Writes a list as psycopg does, and one of nothing but texts, or numbers, much faster."""

    def dump(self, obj: list[Any]) -> Buffer | None:
        """Return the array's text; each text is quoted, whether it has to be or not."""
        kinds = set(map(type, obj))
        if kinds == {int}:
            return f"{{{','.join(map(str, obj))}}}".encode()
        if kinds != {str}:
            return super().dump(obj)
        quoted = '","'.join(obj)
        if "\\" in quoted or quoted.count('"') != 2 * len(obj) - 2:
            return super().dump(obj)
        return f'{{"{quoted}"}}'.encode()


def listen(engine: Engine) -> None:
    """Let the connections of *engine* write lists so."""

    def connected(connection: psycopg.Connection, _entry: object) -> None:
        connection.adapters.register_dumper(list, FlatListDumper)

    event.listen(engine, "connect", connected)
