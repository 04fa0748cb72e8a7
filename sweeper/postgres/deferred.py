"""Deferred statements: they need no answer, so they are sent with the next one of the transaction.

Values are put into the text by the client, so that several statements are one message to the
server: one round trip, and nothing that a transaction pooler would have to remember.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import psycopg
from sqlalchemy import Connection, Engine, Executable, event, func, literal, select

Rows: TypeAlias = Sequence[tuple[Any, ...]]

CURSOR = psycopg.ClientCursor
"""The cursor that puts values into the text."""

_KEY = "sweeper.deferred"  # in Connection.info


@dataclass(slots=True)
class _Deferred:
    """What waits for the next statement of a connection.

    first      -- sent before everything else: once, or with every statement if `repeated`
    statements -- the deferred statements, each with the function that is called with its rows
    over       -- whether the commit has been sent
    """

    first: Sequence[str]
    repeated: bool = False
    statements: list[tuple[str, Callable[[Rows], object]]] = field(default_factory=list)
    over: bool = False


def defer(
    tx: Connection,
    statement: Executable,
    values: Mapping[str, Any] | None = None,
    then: Callable[[Rows], object] = lambda _rows: None,
) -> None:
    """Send *statement* with the next one of *tx*, or with its commit.

    An error of it is raised by the statement that it is sent with.

    values -- of its parameters, by name
    then   -- called with its rows when they have come; the commit may have been sent with them, so
              it must not raise
    """
    tx.execute(statement, values, execution_options={"deferred": then})


def ask(tx: Connection, statement: Executable) -> list[tuple[Any, ...]]:
    """Send *statement* as `defer` does; the list that is returned is filled when its rows come.

    They are as the driver gives them, without the conversions of SQLAlchemy's types.
    """
    rows = list[tuple[Any, ...]]()
    defer(tx, statement, then=rows.extend)
    return rows


def avoid(tx: Connection, *steps: str) -> None:
    """Have the server avoid *steps* of a plan, as "sort", for the rest of *tx*, where it can.

    A table that grows from nothing is read by its index then, although its statistics may be old.
    """
    off = (func.set_config(f"enable_{step}", "off", literal(value=True)) for step in steps)
    defer(tx, select(*off))


def send(tx: Connection) -> None:
    """Send what is deferred at once, and do not end *tx*."""
    tx.exec_driver_sql("select")


def last(tx: Connection) -> dict[str, bool]:
    """Return the execution options of the last statement of *tx*: the commit is sent with it.

    In a savepoint it is a statement like others.
    """
    return {"commit": not tx.in_nested_transaction()}


def forget(tx: Connection) -> None:
    """Forget what is deferred, because an error rolls *tx* back to its savepoint."""
    if not tx.invalidated:  # a connection that is lost has forgotten it
        tx.info[_KEY].statements.clear()


def begin(tx: Connection, statements: Sequence[str], *, repeated: bool = False) -> None:
    """Send *statements* with the first statement of *tx*, or with each if they are *repeated*."""
    tx.info[_KEY] = _Deferred(statements, repeated=repeated)


def flush(tx: Connection) -> None:
    """Send what is deferred, if anything is, before the end of *tx*: with the commit, if it is one.

    SQLAlchemy's own commit, which follows, finds nothing left to do then.
    """
    if tx.info[_KEY].statements:
        tx.exec_driver_sql("select" if tx.in_nested_transaction() else "commit")


def listen(engine: Engine) -> None:
    """Keep the deferred statements of the connections of *engine*, and send them."""
    event.listen(engine, "do_execute", _execute)
    event.listen(engine, "do_execute_no_params", _execute_script)
    event.listen(engine, "do_executemany", _before_many)


def _execute(cursor: psycopg.ClientCursor, statement: str, parameters: Any, context: Any) -> bool:
    """Send a statement with what waits for it; False where it is alone, and sent as it is."""
    options, deferred = context.execution_options, _of(context)
    if "deferred" in options:
        text = cursor.mogrify(statement, parameters)
        deferred.statements.append((text, options["deferred"]))
        return True
    if not (deferred.first or deferred.statements or options.get("commit")):
        return False
    text = cursor.mogrify(statement, parameters)
    _send(cursor, deferred, text, commit=options.get("commit", False))
    return True


def _execute_script(cursor: psycopg.ClientCursor, script: str, context: Any) -> bool:
    """Send a script, which may have several statements, with what waits for it."""
    _send(cursor, _of(context), script)
    return True


def _before_many(
    cursor: psycopg.ClientCursor, _statement: str, _parameters: Any, context: Any
) -> bool:
    """Send what waits before a statement that is executed for each of several values."""
    deferred = _of(context)
    if deferred.first or deferred.statements:
        _send(cursor, deferred, "select")
    return False


def _of(context: Any) -> _Deferred:
    """Return what waits on the connection; nothing while SQLAlchemy itself opens it."""
    connection = context.root_connection
    if not connection.in_transaction():
        return _Deferred(())
    deferred: _Deferred = connection.info[_KEY]
    if deferred.over:
        message = "the commit has been sent: this would be a transaction of its own"
        raise RuntimeError(message)
    return deferred


def _send(
    cursor: psycopg.ClientCursor, deferred: _Deferred, statement: str, *, commit: bool = False
) -> None:
    """Send *statement* behind what waits for it, and leave *cursor* at its result."""
    first, statements = deferred.first, deferred.statements
    deferred.statements, deferred.over = [], commit
    if not deferred.repeated:
        deferred.first = ()
    texts = [*first, *(text for text, _ in statements), statement]
    cursor.execute("; ".join([*texts, "commit"] if commit else texts))
    for _ in first:
        cursor.nextset()
    for _, then in statements:
        then(cursor.fetchall() if cursor.description else ())
        cursor.nextset()
