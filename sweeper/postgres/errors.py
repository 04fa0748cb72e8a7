"""Database errors: which are transient, which lose the connection, and their text for operators."""

import re

from psycopg import errors as pg
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import redact
from sweeper.errors import DatabaseUnusableError, SweeperError

# Transient by SQLSTATE: connections, rollbacks (deadlock, serialization), lack of resources,
# operator intervention; a lock that is not available; a server that is read-only.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = frozenset({"08", "40", "53", "57"})
_TRANSIENT_STATES = frozenset({"55P03", "25006"})
_REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|not permitted to log in"
    r"|(?:database|role) \".*\" does not exist|no such (?:database|user)|Tenant or user not found"
)


def is_transient(error: BaseException) -> bool:
    """Return whether *error* is the database's, not the job's, so that no attempt is counted."""
    state = _state(error)
    return is_disconnected(error) or (
        state is not None and (state[:2] in _TRANSIENT_CLASSES or state in _TRANSIENT_STATES)
    )


def is_locked(error: BaseException) -> bool:
    """Return whether *error* means that another transaction's lock was waited for in vain."""
    return _state(error) == "55P03"


def is_cancelled(error: BaseException) -> bool:
    """Return whether a statement was cancelled: by its timeout, by a stop of ours, or by others."""
    return _state(error) == "57014"


def is_disconnected(error: BaseException) -> bool:
    """Return whether *error* means that the connection is lost or cannot be opened."""
    if isinstance(error, PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    may_be_connection = isinstance(error, OperationalError | InterfaceError)
    return error.connection_invalidated or (may_be_connection and _state(error) is None)


def is_away(error: BaseException) -> bool:
    """Return whether *error* means that the server cannot be reached now, and may be later.

    A login that is refused, or a database that does not exist, is not away. The driver gives no
    SQLSTATE for a connection that was refused, so that these are known by the server's words; a
    server of another language is waited for.
    """
    return is_disconnected(error) and not _REFUSED.search(str(error))


def is_out_of_range(error: BaseException) -> bool:
    """Return whether *error* means that a number is too large for its column."""
    return _state(error) == "22003"


def is_refused(error: BaseException) -> bool:
    """Return whether *error* means that the login lacks a grant."""
    return _state(error) == "42501"  # insufficient_privilege


def _state(error: BaseException) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def in_one_line(error: BaseException) -> str:
    """Return *error* in one redacted line, without the statement, its values or a row's data."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    diagnosis = getattr(getattr(cause, "diag", None), "message_primary", None)
    name = type(cause).__name__
    return redact.one_line(f"{name}: {(diagnosis or _text(cause)).strip() or name}")


def _text(error: BaseException) -> str:
    """Return the error's own text; none where even that raises."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 -- a handler may raise anything, and it must be told
        return ""


def unusable(error: DBAPIError | PoolTimeoutError, url: URL) -> SweeperError:
    """Return an error whose message tells an operator what cannot be used and what to do."""
    where = str(url.host or url.query.get("host", "localhost"))
    port = url.port or url.query.get("port")
    where += f":{port}" if port else ""
    reason = in_one_line(error).partition(": ")[2]
    remedy = _remedy(error)
    if remedy is None:
        return SweeperError(f"the database refused a statement: {in_one_line(error)}")
    return DatabaseUnusableError(f"database at {where}: {reason}\n{remedy}")


def _remedy(error: DBAPIError | PoolTimeoutError) -> str | None:
    match getattr(error, "orig", None):
        case pg.InsufficientPrivilege() as orig if "row-level security" in str(orig):
            return (
                "row-level security hides rows from this login: "
                "use the tables' owner, or alter role ... bypassrls"
            )
        case pg.InsufficientPrivilege():
            return (
                "the login lacks a grant on it, which `sweeper doctor` names, for the tables' owner"
                " to give; to migrate, set DIRECT_URL to the owner's own login"
            )
        case pg.UndefinedTable() | pg.UndefinedFunction() | pg.InvalidSchemaName():
            return "is this the platform's database, and was `sweeper migrate` run on it?"
    if is_transient(error):
        return "check DATABASE_URL, and that the server runs and lets this host in"
    return None
