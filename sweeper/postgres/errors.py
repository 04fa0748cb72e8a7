"""What a database error means: whose fault it is, whether it passes, and how people read it."""

from psycopg import errors as pg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import redact
from sweeper.errors import DatabaseUnusableError, SweeperError

# What passes by itself, by SQLSTATE: connections, rollbacks (deadlock, serialization), resources,
# an operator's or a standby's doing; a lock held by somebody else; a server that only reads.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57"})
_TRANSIENT_STATES = frozenset({"55P03", "25006"})


def is_transient(error: BaseException) -> bool:
    """Return whether *error* is the database's trouble, not the job's: it costs no attempt."""
    state = _state(error)
    return is_disconnected(error) or (
        state is not None and (state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES)
    )


def is_disconnected(error: BaseException) -> bool:
    """Return whether the connection is lost, or none can be had."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    told = isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or (told and _state(error) is None)


def _state(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def in_one_line(error: BaseException) -> str:
    """Return what went wrong, without the statement, its values or a row's contents."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    first = (diagnosis or str(cause) or type(cause).__name__).strip().splitlines()[0]
    return redact.text(f"{type(cause).__name__}: {first}")[:500]


def unusable(error: DBAPIError | PoolTimeoutError, url: URL) -> SweeperError:
    """Return *error* as an operator should read it: what cannot be used, and what to do."""
    where = str(url.host or url.query.get("host", "localhost"))
    where += f":{url.port}" if url.port else ""
    why = in_one_line(error).partition(": ")[2]
    remedy = _remedy(error)
    if remedy is None:
        return SweeperError(f"the database refused a statement: {in_one_line(error)}")
    return DatabaseUnusableError(f"database at {where}: {why}\n{remedy}")


def _remedy(error: DBAPIError | PoolTimeoutError) -> str | None:
    match getattr(error, "orig", None):
        case pg.InsufficientPrivilege() as orig if "row-level security" in str(orig):
            return (
                "row-level security hides rows from this login: "
                "use the tables' owner, or alter role ... bypassrls"
            )
        case pg.InsufficientPrivilege():
            return "the login lacks a grant on it"
        case pg.UndefinedTable() | pg.UndefinedFunction() | pg.InvalidSchemaName():
            return "is this the platform's database, and was `sweeper migrate` run on it?"
    if is_transient(error):
        return "check DATABASE_URL, and that the server runs and lets this host in"
    return None
