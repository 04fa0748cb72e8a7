"""The checks of `sweeper doctor`: every problem at once, each with its remedy."""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from sweeper import remedies
from sweeper.admin import indexes, platform_tables
from sweeper.admin.preflight import unmigrated
from sweeper.app import App
from sweeper.cli.checks import lock_checks, login_checks
from sweeper.cli.checks.finding import Finding, Findings, Level, split
from sweeper.errors import SettingsError, SweeperError
from sweeper.humanize import clocks
from sweeper.postgres import clock
from sweeper.postgres.errors import in_one_line, is_disconnected, is_refused, unusable
from sweeper.queue import notify
from sweeper.queue.install import pgmq_version
from sweeper.service.hint import NoHintError, listening

_SERVER = text("select current_setting('server_version_num')::int / 10000")
_ZONES = text(
    "select current_setting('server_version') as version, current_user as login,"
    " (select reset_val from pg_settings where name = 'TimeZone') as zone"
)
_RECOVERY = text("select pg_is_in_recovery()")
_SUPPORTED = range(14, 19)
_LACKED, _AWAY = remedies.SETTINGS_LACKED.here, remedies.DATABASE_AWAY.here
_OLDEST_PGMQ = (1, 5, 1)


def examine(app: App) -> list[Finding]:
    """Run every check and return all findings, good ones too; changes nothing."""
    findings = [*_settings(app)]
    try:
        database = app.database
    except SweeperError as error:
        if isinstance(error, SettingsError):
            return [*findings, Finding(Level.ERROR, "settings", *split(error), _LACKED)]
        return [*findings, Finding(Level.ERROR, "connection", *split(error), _AWAY)]
    incomplete = False
    for about, check in _CHECKS.items():
        if incomplete and about in _OF_A_COMPLETE_SCHEMA:
            continue
        try:
            with database.transaction() as tx:
                found = [*check(app, tx)]
        except (DBAPIError, PoolTimeoutError) as error:
            if not (about == "schema" and is_refused(error)):  # `grants` names what is lacking
                fault = split(unusable(error, database.url))
                page = _AWAY if is_disconnected(error) else ""
                findings.append(Finding(Level.ERROR, about, *fault, page))
            if is_disconnected(error):
                break
        else:
            findings += found
            incomplete |= about in _SCHEMA and any(one.level is Level.ERROR for one in found)
    else:
        findings += [] if incomplete else _hint(app)
    return findings


def _settings(app: App) -> Findings:
    try:
        app.settings.demand()
    except SettingsError as error:
        yield Finding(Level.ERROR, "settings", *split(error), _LACKED)
    else:
        yield Finding(Level.OK, "settings", "valid and complete")
    for section in app.settings.sections.values():
        yield from (Finding(Level.OK, section.name, note) for note in section.notes())
        for problem in section.faults():
            remedy = "set it; until then its jobs wait, and none is lost"
            yield Finding(Level.WARNING, section.name, problem, remedy, _LACKED)
    visibility, timeout = app.settings.queue.visibility, app.settings.database.statement_timeout
    if visibility < timedelta(seconds=5):
        yield Finding(
            Level.WARNING,
            "settings",
            f"queue.visibility is {visibility.total_seconds():g} s",
            "leases this short run out in the middle of a batch; 30s is a good value",
        )
    if timeout > visibility * 4:
        yield Finding(
            Level.WARNING,
            "settings",
            "database.statement_timeout is much longer than queue.visibility",
            "a hanging statement then holds its batch far beyond the lease",
        )


def _connection(app: App, tx: Connection) -> Findings:
    started = time.monotonic()
    tx.execute(text("select"))
    took = f"{(time.monotonic() - started) * 1000:.1f} ms a round trip"
    kind = "through a pooler" if app.database.pooled else "directly"
    yield Finding(Level.OK, "connection", f"reached {kind}, {took}")
    if app.database.pooled and app.settings.database.direct_url is None:
        yield Finding(
            Level.WARNING,
            "connection",
            "the database is behind a pooler, and there is no direct URL",
            "set DIRECT_URL, so that migrations and index builds go past the pooler",
        )


def _server(_app: App, tx: Connection) -> Findings:
    major = tx.execute(_SERVER).scalar_one()
    row = tx.execute(_ZONES).one()
    if major in _SUPPORTED:
        yield Finding(Level.OK, "server", f"Postgres {row.version}, logged in as {row.login}")
    else:
        yield Finding(
            Level.WARNING, "server", f"Postgres {row.version} is untested", "14 to 18 are supported"
        )
    yield Finding(Level.OK, "time zone", f"the server's is {row.zone}; every transaction is UTC")
    if tx.execute(_RECOVERY).scalar_one():
        yield Finding(
            Level.ERROR, "server", "it is a standby and only reads", "connect to the primary"
        )


def _clock(app: App, tx: Connection) -> Findings:
    skew, allowed = clock.skew(tx), app.settings.safety.max_clock_skew
    what = clocks(skew.total_seconds() * 1000)
    if abs(skew) <= allowed:
        yield Finding(Level.OK, "clock", what)
    else:
        command, page = remedies.CLOCK_SKEWED.command, remedies.CLOCK_SKEWED.here
        remedy = f"set both clocks right ({command}, chronyc); until then no order is touched"
        yield Finding(Level.ERROR, "clock", what, remedy, page)


def _tables(app: App, tx: Connection) -> Findings:
    if fault := platform_tables.misfit(tx, app.catalog):
        yield Finding(Level.ERROR, "tables", *fault)
    else:
        yield Finding(Level.OK, "tables", "the platform's have every column that is used")
    if triggers := platform_tables.triggers_without_path(tx, app.catalog):
        schema = app.database.schema
        yield Finding(
            Level.WARNING,
            "search path",
            f"functions of triggers have none of their own: {', '.join(triggers)}",
            f"alter function ... set search_path = {schema}; until then each transaction has it in"
            " its path, and who may create functions there can have them called by this login",
        )


def _schema(app: App, tx: Connection) -> Findings:
    version = pgmq_version(tx)
    if version is None:
        yield Finding(
            Level.ERROR, "pgmq", "it is not installed", "run: sweeper migrate --install-pgmq"
        )
        return
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if version != "unknown" and numbers < _OLDEST_PGMQ:
        yield Finding(Level.ERROR, "pgmq", f"version {version} is too old", "1.5.1 is needed")
    else:
        yield Finding(Level.OK, "pgmq", f"version {version}")
    if missing := unmigrated(tx, app.queues, app.catalog):
        yield Finding(Level.ERROR, "schema", *missing)
        return
    yield Finding(Level.OK, "schema", "up to date, and all queues are there")


def _indexes(app: App, tx: Connection) -> Findings:
    absent = indexes.missing(tx, app.queues, app.rules.values())
    for index in absent:
        table = getattr(index.table, "name", "")
        costs = "queued" if table.startswith("q_") else "in the table"
        yield Finding(
            Level.WARNING,
            "indexes",
            f"{index.name} is missing on {table}: a scan costs what is {costs}, not what is due",
            "run: sweeper migrate --with-indexes, or: "
            + indexes.statement(index, app.database.schema),
        )
    if not absent:
        what = "scans cost what is due, however long tables and queues are"
        yield Finding(Level.OK, "indexes", what)


def _hint(app: App) -> Findings:
    """Check whether notifications can come, while no other transaction is open."""
    queue = app.settings.queue
    rare = queue.poll_hint.total_seconds()
    polled = f"an idle service polls every {queue.poll_max.total_seconds():g} s"
    try:
        with app.database.transaction() as tx:
            notifies = notify.has_trigger(tx, app.queues)
            roles = ", ".join(notify.hindered(tx, app.queues)) if notifies else ""
        if roles:
            what = f"{roles} may insert messages, but not into queues that notify"
            yield Finding(Level.WARNING, "hint", what, notify.GRANT.format(roles=roles))
        with listening(app):
            what = f"new messages wake the service, which polls every {rare:g} s"
            yield Finding(Level.OK, "hint", what)
    except NoHintError as error:
        yield Finding(Level.OK, "hint", f"none, and {polled}: {error}", error.remedy)
    except (ConnectionError, DBAPIError, PoolTimeoutError) as error:
        if not is_refused(error):  # else `grants`, or the finding above, names what is lacking
            what = f"none, and {polled}: {in_one_line(error)}"
            yield Finding(Level.WARNING, "hint", what, "does DIRECT_URL lead to this database?")


_CHECKS: Mapping[str, Callable[[App, Connection], Findings]] = {
    "connection": _connection,
    "server": _server,
    "clock": _clock,
    "tables": _tables,
    "schema": _schema,
    "grants": login_checks.grants,
    "row-level security": login_checks.row_security,
    "ledger": login_checks.ledger,
    "locks": lock_checks.locks,
    "indexes": _indexes,
}

_SCHEMA = {"tables", "schema"}
# Else each of these repeats the fault.
_OF_A_COMPLETE_SCHEMA = {"grants", "row-level security", "ledger", "indexes"}
