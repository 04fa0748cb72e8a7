"""The doctor's check of locks: who has held one on a table that the jobs use, and for how long."""

from collections.abc import Sequence
from datetime import timedelta
from threading import Event
from typing import Any

from sqlalchemy import ARRAY, Connection, Row, Text, bindparam, text

from sweeper import remedies
from sweeper.app import App
from sweeper.cli.checks.finding import Finding, Findings, Level
from sweeper.humanize import age, in_line

LONG = timedelta(seconds=30)
"""How long a transaction may hold a lock on a row, unremarked."""

BETWEEN_LOOKS = timedelta(seconds=2)
_MOST = 10

# What changes rows, or locks them, leaves a lock on their table; plain reading takes the weakest.
# A login sees the ages of its own role's transactions only, but all locks, pids and role names.
_HOLDERS = text(
    "select pid, virtualtransaction, usename as login, application_name as program,"
    " extract(epoch from clock_timestamp() - xact_start)::float8 as seconds,"
    " string_agg(distinct case nspname when 'sweeper' then 'sweeper.' || relname"
    " else relname end, ', ') as tables"
    " from pg_locks join pg_class on pg_class.oid = relation"
    " join pg_namespace on pg_namespace.oid = relnamespace"
    " join pg_stat_activity using (pid)"
    " where locktype = 'relation' and granted and mode <> 'AccessShareLock'"
    " and database = (select oid from pg_database where datname = current_database())"
    " and pid <> pg_backend_pid()"
    " and (nspname = cast(:schema as text) and relname = any(:names)"
    " or nspname = 'sweeper' and relname = 'lock')"
    " and coalesce(clock_timestamp() - xact_start >= :long, true)"
    " group by pid, virtualtransaction, usename, application_name, xact_start"
    " order by xact_start, pid limit :most"
).bindparams(bindparam("names", type_=ARRAY(Text)), long=LONG, most=_MOST)


def locks(app: App, tx: Connection) -> Findings:
    """Name the sessions that have held locks on the platform's tables, or ours, for long."""
    found = _holders(app, tx)
    if any(one.seconds is None for one in found):
        Event().wait(BETWEEN_LOOKS.total_seconds())
        still = {(one.pid, one.virtualtransaction) for one in _holders(app, tx)}
        found = [one for one in found if (one.pid, one.virtualtransaction) in still]
    for one in found:
        yield Finding(
            Level.WARNING,
            "locks",
            _told(one),
            "what needs the same rows waits; have its owner end it, or the owner of the"
            f" database: select pg_terminate_backend({one.pid});",
            remedies.ROW_LOCKED.here,
        )
    if not found:
        yield Finding(Level.OK, "locks", "nobody has held one on the platform's tables for long")


def _holders(app: App, tx: Connection) -> Sequence[Row[Any]]:
    names = sorted({grant.table for grant in app.catalog.grants if grant.schema is None})
    return tx.execute(_HOLDERS, {"schema": app.database.schema, "names": names}).all()


def _told(one: Row[Any]) -> str:
    since = "at least 2 s" if one.seconds is None else age(one.seconds)
    program = f"{in_line(one.program)}, " if one.program else ""
    who = f"session {one.pid} ({program}login {in_line(one.login)})"
    return f"{who} has held locks on {one.tables} for {since}"
