"""`sweeper grants`: the printed grants are sufficient, and a missing one is reported."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import ProgrammingError
from structlog.testing import capture_logs

import jobs
from jobs.demo.shop import Shop
from jobs.refund_ledger import mark_settled, refund_rows
from jobs.tables import TABLES
from sweeper.admin import grants
from sweeper.app import App
from sweeper.cli.checks.finding import Level
from sweeper.cli.doctor import examine
from sweeper.migrations.versions import engine_0008, engine_0009, engine_0010
from sweeper.monitoring.acts import ActFilter
from sweeper.monitoring.history import Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.monitoring.sign import last_sign
from sweeper.postgres.clock import now
from sweeper.queue.acts import Action, By, Origin
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.queue.look import look
from tests.support.verbs import (
    DEAD,
    HOUR,
    QUEUE,
    Connect,
    OpenApp,
    broken,
    dead_letters,
    make_visible,
    rows,
    scan,
    send,
    sweep,
)

ROLE = 'sweeper "least" login'


@pytest.fixture
def role(admin: psycopg.Connection, connection: Connection) -> Iterator[str]:
    """Create a login without any grant on the tables."""
    admin.execute(SQL("create role {} login").format(Identifier(ROLE)))
    yield ROLE
    connection.execute(text(f"drop owned by {Identifier(ROLE).as_string()}"))
    admin.execute(SQL("drop role {}").format(Identifier(ROLE)))


def run_grants(app: App, connection: Connection) -> None:
    """Run the grants that the command prints, as the owner of the tables."""
    for statement in grants.statements(
        ROLE, grants.needed(app.queues, app.catalog.grants, "public")
    ):
        connection.execute(text(statement))


def as_role(url: str) -> str:
    """Return *url* with the role as the login."""
    return make_url(url).set(username=ROLE, password=None).render_as_string(hide_password=False)


@pytest.mark.usefixtures("role")
def test_every_step_works_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, shop: Shop, database_url: str
) -> None:
    """A dry run, a scan, all job types, a dead letter and its retry need no other grant."""
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url), retry__max_retries=0)
    product = shop.product(stock=0)
    unpaid = shop.order(age=HOUR, items=[(product, 2)])
    unanswered = shop.order(status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR)
    send(app, "STOCK_RELEASE", {"productId": product, "quantity": 3})

    plan = app.plan(json.dumps(sweep(app, dry_run=True).as_json()))
    with broken(open_app(), "Order", f"old.id = '{unpaid}'"):
        first = sweep(app, planned=plan.planned)
    revived = app.dead_letter_queue.retry(DeadLetterFilter())
    second = sweep(app)

    assert (1, 1) == (first.jobs.dead, len(revived))
    assert (0, 0) == (second.jobs.dead, second.jobs.retried)
    assert ["cancelled", "rejected"] == [shop.status(unpaid), shop.status(unanswered)]
    assert 5 == shop.stock(product)
    assert () == app.auditor.audit().gaps
    assert app.explainer.explain(unpaid).facts
    make_visible(app)
    assert 0 == app.status_reader.read().rules["expire_dp"].overdue
    assert not last_sign(app.database, HOUR).runs


@pytest.mark.usefixtures("role")
def test_notices_refunds_and_stock_work_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, shop: Shop, database_url: str
) -> None:
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url))
    product = shop.product(stock=0)
    order = shop.order(
        status="awaiting_validation",
        age=30 * HOUR,
        paid_ago=25 * HOUR,
        items=[(product, 2)],
        dp_amount=50_000,
    )
    ended = shop.order(status="cancelled", items=[(product, 3)])
    send(app, "STOCK_RELEASE", {"orderId": ended, "shouldRefund": True})
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"recipientPhone": "0812 3456 7890", "message": "Halo"})

    report = sweep(app)
    with app.database.transaction() as tx:
        paid = mark_settled(tx, order, "BCA 1", shop.now)
        refunds = refund_rows(tx, everything=True)

    assert (0, 0) == (report.jobs.dead, report.jobs.retried)
    assert 5 == shop.stock(product)
    assert {"sent"} == {notice["status"] for notice in rows(connection, '"NotificationLog"')}
    assert (50_000, ["settled"]) == (paid, [refund["state"] for refund in refunds])


@pytest.mark.usefixtures("role")
def test_what_an_operator_reads_and_empties_works_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, shop: Shop, database_url: str
) -> None:
    """The page, `explain`, `dead list` and `dead drop`, and `purge` need no other grant."""
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url))
    order = shop.order(age=HOUR)
    send(app, "NO_SUCH_TYPE", {})
    scan(app)
    late = app.backlog_reader.read().late["expire_dp"]
    facts = app.explainer.explain(order).facts
    with app.database.glance() as glance:
        ready = look(glance, app.queues).ready
    sweep(app)
    letters = dead_letters(app)
    dropped = app.dead_letter_queue.drop(DeadLetterFilter())
    send(app, "NO_SUCH_TYPE", {})
    with app.database.transaction() as tx:
        purged = [app.queues.purge(tx, queue) for queue in (QUEUE, DEAD)]

    assert ([order], True) == ([one.key for one in late], bool(facts))
    assert {QUEUE} == ready
    assert (1, 1) == (len(letters), len(dropped))
    assert [1, 0] == purged


@pytest.mark.usefixtures("role")
def test_acts_are_written_read_and_pruned_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, database_url: str
) -> None:
    run_grants(open_app(), connection)
    app, by = open_app(url=as_role(database_url)), By("ratih", Origin.UNIT)
    send(app, "NO_SUCH_TYPE", {})
    sweep(app)

    with capture_logs() as lines:
        with app.acts.recording(Action.RETRY, "all", by) as act:
            app.dead_letter_queue.retry(DeadLetterFilter(), act)
        with app.acts.recording(Action.PAUSE, "expire_dp", by) as act:
            app.pauses.pause("expire_dp", None, "ratih", "why", act)

    assert ["act.finished", "act.finished"] == [line["event"] for line in lines]
    assert ["pause", "retry"] == [act.action for act in app.act_reader.read(ActFilter()).acts]
    connection.execute(
        text("update sweeper.act set at = at - interval '99 d' where outcome <> 'done'")
    )
    app.pruner.prune(now())
    assert ["done", "done"] == [act["outcome"] for act in rows(connection, "sweeper.act")]


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    "statement",
    [
        'select "totalPrice" from "Order"',
        'select password from "User"',
        'select email from "Guest"',
        'select * from "Participant"',
        'select * from "BankAccount"',
        'update "Order" set "totalPrice" = 1',
        'update "Order" set "dpPaidAt" = null',
        'update "Product" set price = 1',
        'update "NotificationLog" set "eventType" = \'x\'',
        'delete from "Order"',
        "insert into \"Order\" (id) values ('x')",
        "delete from sweeper.stock_release",
        "delete from sweeper.refund",
        "delete from sweeper.job_log",
        "delete from sweeper.sweep",
        "delete from sweeper.act",
        "truncate sweeper.act",
        "update sweeper.act set actor = 'somebody else'",
        "insert into sweeper.act (id, action) overriding system value values (1, 'drop')",
        "insert into sweeper.act (at, action) values (now(), 'drop')",
        "truncate sweeper.job_log",
        "update sweeper.stock_release set quantity = 1",
        "update sweeper.refund set amount = 1",
        "update sweeper.job_log set outcome = 'done'",
        "update sweeper.sweep set found = 0",
        "truncate pgmq.q_jastipin_jobs",
        "update sweeper.alembic_version set version_num = 'x'",
    ],
)
def test_the_printed_grants_allow_nothing_else(
    open_app: OpenApp, connection: Connection, shop: Shop, database_url: str, statement: str
) -> None:
    """L1: what was once given back, or owed, stays so, whoever takes over the login."""
    shop.order()
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url))

    with (
        pytest.raises(ProgrammingError, match="permission denied"),
        app.database.transaction(schema_in_path=True) as tx,
    ):
        tx.execute(text(statement))


@pytest.mark.usefixtures("role")
def test_pruning_works_with_only_the_printed_grants_and_keeps_the_last_day(
    open_app: OpenApp, connection: Connection, shop: Shop, database_url: str
) -> None:
    """L8: whoever takes over the login cannot delete what was just done."""
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url), history__keep="1s")
    for age in (timedelta(days=2), timedelta()):
        shop.order(age=HOUR)
        sweep(app)
        for table in ("sweep", "job_log"):
            older = text(f"update sweeper.{table} set at = at - :age")
            connection.execute(older, {"age": age})

    app.pruner.prune(now())

    ledger = (rows(connection, "sweeper.sweep"), rows(connection, "sweeper.job_log"))
    assert (2, 2) == tuple(map(len, ledger))


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("migration", [engine_0008, engine_0009, engine_0010])
def test_a_login_of_the_version_before_needs_no_grant_for_a_new_table(
    open_app: OpenApp,
    connection: Connection,
    database_url: str,
    shop: Shop,
    migration: ModuleType,
) -> None:
    """An upgrade must not stop the work, nor who looks, until somebody grants that."""
    table = {engine_0008: "read_mark", engine_0009: "history", engine_0010: "act"}[migration]
    run_grants(open_app(), connection)
    who = Identifier(ROLE).as_string()
    connection.execute(text(f"revoke all on sweeper.{table} from {who}"))

    connection.execute(text(migration.GRANT))

    order = shop.order(age=HOUR)
    app = open_app(url=as_role(database_url))
    assert 2 == sweep(app).jobs.done
    with app.acts.recording(Action.SWEEP, "all", By("ratih", Origin.COMMAND)) as act:
        act.finish("done")
    assert 1 == len(app.act_reader.read(ActFilter()).acts)
    assert app.explainer.explain(order).facts
    HistoryWriter(app.database, [], timedelta(days=90)).record(now())
    assert 1 == len(rows(connection, "sweeper.read_mark"))


@pytest.mark.usefixtures("role")
def test_the_history_is_written_and_read_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, database_url: str
) -> None:
    run_grants(open_app(), connection)
    app = open_app(url=as_role(database_url))
    writer = HistoryWriter(app.database, [], timedelta(days=90))
    writer.saw(app.status_reader.read())

    writer.record(now() - timedelta(hours=2))
    writer.record(now())

    assert not app.history.read(Period.HOUR, now()).is_empty
    assert {60, 3600} == {row["seconds"] for row in rows(connection, "sweeper.history")}


@pytest.mark.usefixtures("role")
def test_only_a_login_with_the_grant_may_prune(
    open_app: OpenApp, connection: Connection, database_url: str
) -> None:
    run_grants(open_app(), connection)
    who = Identifier(ROLE).as_string()
    connection.execute(
        text(f"revoke execute on function sweeper.prune(text, timestamptz, integer) from {who}")
    )
    app = open_app(url=as_role(database_url))

    with pytest.raises(ProgrammingError, match="permission denied"):
        app.pruner.prune(now())

    (error,) = [one for one in examine(app) if one.level is Level.ERROR]
    signature = "function sweeper.prune(text, timestamptz, integer)"
    assert f"grant execute on {signature} to {who};" in error.remedy


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize("table", ["act", "job_log", "sweep", "stock_release", "refund"])
def test_the_doctor_warns_of_a_login_that_may_delete_from_the_ledger(
    open_app: OpenApp, connection: Connection, database_url: str, table: str
) -> None:
    run_grants(open_app(), connection)
    who = Identifier(ROLE).as_string()
    app = open_app(url=as_role(database_url))
    before = [one.level for one in examine(app) if one.about == "ledger"]
    connection.execute(text(f"grant delete on sweeper.{table} to {who}"))

    (finding,) = [one for one in examine(app) if one.about == "ledger"]

    assert ([Level.OK], Level.WARNING) == (before, finding.level)
    assert f"may delete rows of sweeper.{table}, " in finding.what
    assert f"revoke delete, truncate on sweeper.{table} from {who};" in finding.remedy


def test_the_doctor_warns_of_the_tables_owner_as_the_services_login(app: App) -> None:
    (finding,) = [one for one in examine(app) if one.about == "ledger"]

    assert Level.WARNING is finding.level
    assert "sweeper grants ROLE" in finding.remedy


def test_a_column_is_declared_only_if_a_job_file_uses_it() -> None:
    """What is declared is what may be read, so that the grants are the least."""
    folder = Path(str(jobs.__file__)).parent
    files = [*folder.glob("*.py"), *folder.glob("whatsapp/*.py")]
    own = {"tables.py", "grants.py"}
    code = "\n".join(file.read_text("utf-8") for file in files if file.name not in own)

    unused = [
        f"{table.name}.{column.name}"
        for table in TABLES
        for column in table.columns
        if not re.search(rf"\b{column.name}\b", code)
    ]

    assert [] == unused


@pytest.mark.usefixtures("role")
def test_the_doctor_finds_no_error_with_only_the_printed_grants(
    open_app: OpenApp, connection: Connection, database_url: str
) -> None:
    run_grants(open_app(), connection)

    findings = examine(open_app(url=as_role(database_url)))

    assert [] == [finding for finding in findings if finding.level is Level.ERROR]


@pytest.mark.usefixtures("role")
@pytest.mark.parametrize(
    ("revoked", "remedy"),
    [
        ('update on "Product"', 'grant update ("stock", "updatedAt") on "public"."Product"'),
        (
            'select on "Guest"',
            'grant select ("id", "name", "phone", "notifyWhatsapp") on "public"."Guest"',
        ),
        ("delete on pgmq.q_jastipin_jobs", 'grant delete on "pgmq"."q_jastipin_jobs"'),
        ("insert on sweeper.refund", 'grant insert on "sweeper"."refund"'),
        ("insert on sweeper.act", 'grant insert ("begun", "action", "subject", "actor", "origin"'),
    ],
)
def test_the_doctor_reports_each_missing_grant(
    open_app: OpenApp, connection: Connection, database_url: str, revoked: str, remedy: str
) -> None:
    run_grants(open_app(), connection)
    who = Identifier(ROLE).as_string()
    connection.execute(text(f"revoke {revoked} from {who}"))

    findings = examine(open_app(url=as_role(database_url)))

    errors = [finding for finding in findings if finding.level is Level.ERROR]
    assert ["grants"] == [finding.about for finding in errors]
    assert remedy in errors[0].remedy


@pytest.mark.usefixtures("role")
def test_the_doctor_reports_rows_hidden_by_row_level_security(
    open_app: OpenApp, connection: Connection, connect: Connect, database_url: str
) -> None:
    """A login without BYPASSRLS sees no rows, which must not be reported as "nothing due"."""
    del connect
    run_grants(open_app(), connection)
    connection.execute(text('alter table "Order" enable row level security'))

    findings = examine(open_app(url=as_role(database_url)))

    (finding,) = [finding for finding in findings if finding.level is Level.ERROR]
    assert "it hides rows of Order from this login" == finding.what
    assert "bypassrls" in finding.remedy


@pytest.mark.usefixtures("role")
def test_the_doctor_lists_every_grant_for_a_login_without_any(
    open_app: OpenApp, database_url: str
) -> None:
    findings = examine(open_app(url=as_role(database_url)))

    (grant,) = [finding for finding in findings if finding.about == "grants"]
    to = Identifier(ROLE).as_string()
    assert f'grant usage on schema "pgmq" to {to};' in grant.remedy
    columns = '"id", "orderId", "productId", "quantity"'
    assert f'grant select ({columns}) on "public"."OrderItem" to {to};' in grant.remedy
