"""`sweeper grants`: the printed grants are sufficient, and a missing one is reported."""

import json
from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, make_url, text

from jobs.demo.shop import Shop
from sweeper.admin import grants
from sweeper.app import App
from sweeper.cli.doctor import Level, examine
from sweeper.queue.dead_letter_queue import DeadLetterFilter
from tests.support.verbs import HOUR, Connect, OpenApp, broken, make_visible, send, sweep

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
    for statement in grants.statements(ROLE, grants.needed(app.queues, app.catalog.grants)):
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
        ('update on "Product"', 'grant update ("stock", "updatedAt") on "Product"'),
        ('select on "Guest"', 'grant select on "Guest"'),
        ("delete on pgmq.q_jastipin_jobs", 'grant delete on "pgmq"."q_jastipin_jobs"'),
        ("insert on sweeper.refund", 'grant insert on "sweeper"."refund"'),
    ],
)
def test_the_doctor_reports_each_missing_grant(
    open_app: OpenApp, connection: Connection, database_url: str, revoked: str, remedy: str
) -> None:
    run_grants(open_app(), connection)
    columns = ' ("stock", "updatedAt")' if "Product" in revoked else ""
    privilege, rest = revoked.split(" ", 1)
    who = Identifier(ROLE).as_string()
    connection.execute(text(f"revoke {privilege}{columns} {rest} from {who}"))

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
    assert f'grant select on "OrderItem" to {to};' in grant.remedy
