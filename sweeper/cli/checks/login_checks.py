"""The doctor's checks of the login: its grants, hidden rows, and whether it may delete history."""

import shlex

from sqlalchemy import Connection, text

from sweeper.admin import grants as privileges
from sweeper.app import App
from sweeper.cli.checks.finding import Finding, Findings, Level

_LOGIN = text("select current_user as name, quote_ident(current_user) as quoted")
_HIDDEN = text(
    "select row_security_active("
    "to_regclass(format('%I.%I', cast(:schema as text), cast(:name as text))))"
)


def grants(app: App, tx: Connection) -> Findings:
    """Check that the login has every grant that a statement needs."""
    needed = privileges.needed(app.queues, app.catalog.grants, app.platform_schema)
    absent, lacking = privileges.lacking(tx, needed)
    if absent:
        yield Finding(
            Level.ERROR, "tables", f"there is no {', '.join(absent)}", "restore it from a backup"
        )
    if lacking:
        tables = ", ".join(dict.fromkeys(grant.table for grant in lacking))
        login = tx.execute(_LOGIN).one().name
        remedy = (
            "as the tables' owner, run what this prints:"
            f" sweeper grants {shlex.quote(login)}; that is at least:"
            f" {' '.join(privileges.statements(login, lacking))}"
        )
        yield Finding(Level.ERROR, "grants", f"the login lacks grants on {tables}", remedy)
    if not lacking and not absent:
        yield Finding(Level.OK, "grants", "every statement that will run is allowed")


def row_security(app: App, tx: Connection) -> Findings:
    """Check that no row of the platform's tables is hidden from the login."""
    tables = {grant.table for grant in app.catalog.grants if grant.schema is None}
    schema = app.database.schema
    hidden = [
        table
        for table in sorted(tables)
        if tx.execute(_HIDDEN, {"schema": schema, "name": table}).scalar()
    ]
    if hidden:
        yield Finding(
            Level.ERROR,
            "row-level security",
            f"it hides rows of {', '.join(hidden)} from this login",
            "log in as the tables' owner, or:"
            f" alter role {tx.execute(_LOGIN).one().quoted} bypassrls;",
        )
    else:
        yield Finding(Level.OK, "row-level security", "no row is hidden from this login")


def ledger(app: App, tx: Connection) -> Findings:
    """Check that the login cannot delete what was done once, which would let it be done again."""
    deletable, is_owner = privileges.deletable(tx, app.catalog.grants)
    if not deletable:
        yield Finding(Level.OK, "ledger", "this login cannot delete from it")
        return
    tables, login = ", ".join(deletable), tx.execute(_LOGIN).one().quoted
    yield Finding(
        Level.WARNING,
        "ledger",
        f"this login may delete rows of {tables}, so that what was done once is done again",
        "let the service log in as another role than the tables' owner: sweeper grants ROLE"
        if is_owner
        else f"as the tables' owner: revoke delete, truncate on {tables} from {login};",
    )
