"""`sweeper doctor`: it reports all findings at once, each with its remedy."""

from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper import catalog
from sweeper.app import App
from sweeper.cli.checks import lock_checks
from sweeper.cli.checks.finding import Finding, Level
from sweeper.cli.doctor import examine
from tests.support.verbs import OpenApp


def errors(findings: list[Finding]) -> dict[str, str]:
    """Return the text of each error, by its subject."""
    return {one.about: one.what for one in findings if one.level is Level.ERROR}


def warnings(findings: list[Finding]) -> list[str]:
    """Return the subjects of the warnings."""
    return [one.about for one in findings if one.level is Level.WARNING]


def test_a_complete_database_has_only_the_warnings_about_indexes_and_the_owners_login(
    app: App,
) -> None:
    findings = examine(app)

    assert ({}, ["ledger", *["indexes"] * 7]) == (errors(findings), warnings(findings))


def test_the_doctor_proposes_the_indexes_as_sql(app: App, connection: Connection) -> None:
    """The SQL can be run as it is printed, and has the same effect as `migrate --with-indexes`."""
    proposed = [one.remedy for one in examine(app) if one.about == "indexes"]
    for remedy in proposed:
        connection.execute(text(remedy.partition(" or: ")[2]))

    assert ["ledger"] == warnings(examine(app))
    assert [] == app.migrate(with_indexes=True)


def test_migrate_creates_the_indexes(app: App) -> None:
    made = app.migrate(with_indexes=True)

    indexes = (rule.index for rule in app.rules.values())
    of_rules = sorted(f"index {index.name}" for index in indexes if index is not None)
    by_key = [one for one in made if "sweeper_key_" in one]
    assert of_rules == sorted(made[: len(of_rules)])
    assert len(by_key) >= 5, "one for each queue; jobs with keys of another form have their own"
    assert ["ledger"] == warnings(examine(app))


def test_an_invalid_index_is_created_again(app: App, connection: Connection) -> None:
    app.migrate(with_indexes=True)
    broken = "update pg_index set indisvalid = false where indexrelid = cast(:name as regclass)"
    connection.execute(text(broken), {"name": "sweeper_expire_dp"})

    assert ["index sweeper_expire_dp"] == app.migrate(with_indexes=True)


def test_several_faults_are_reported_at_once(open_app: OpenApp, connection: Connection) -> None:
    connection.execute(text('drop table "OrderItem" cascade'))
    connection.execute(text("drop schema sweeper cascade"))
    app = open_app(stock__taken_at=None, queue__visibility="1s")

    findings = examine(app)

    assert {"settings", "schema", "tables"} == errors(findings).keys()
    assert "settings" in warnings(findings)


def test_every_missing_column_of_the_platform_is_told_in_one_error(
    app: App, connection: Connection
) -> None:
    """No other check adds an error of its own about the same change."""
    connection.execute(text('alter table "Order" drop column "dpProofUrl", drop column "dpAmount"'))
    connection.execute(text('alter table "User" drop column "profileName"'))

    found = errors(examine(app))

    changed = "Order lacks dpAmount, dpProofUrl; User lacks profileName"
    assert {"tables": f"{changed}: the platform's schema has changed"} == found


def test_a_database_without_pgmq_is_an_error(open_app: OpenApp, bare_database_url: str) -> None:
    found = errors(examine(open_app(url=bare_database_url)))

    assert "it is not installed" == found["pgmq"]


def test_an_unreachable_server_is_one_error(open_app: OpenApp) -> None:
    app = open_app(url="postgresql://nobody@127.0.0.1:1/nothing")

    assert ["connection"] == list(errors(examine(app)))


def test_a_missing_url_is_one_error() -> None:
    app = App.load(catalog.load("jobs"), flags={"stock.taken_at": "never"})

    assert "database.url is not set" == errors(examine(app))["settings"]


def test_a_clock_skew_is_an_error(open_app: OpenApp, frozen: object) -> None:
    """L4: no order is changed while the clocks differ too much."""
    del frozen
    app = open_app(safety__max_clock_skew="5s")

    assert ["clock"] == list(errors(examine(app)))


def test_a_pooler_without_a_direct_url_is_a_warning(open_app: OpenApp, database_url: str) -> None:
    app = open_app(url=f"{database_url}&pgbouncer=true", database__direct_url=None)

    assert "connection" in warnings(examine(app))


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/New_York"])
def test_the_time_zone_of_the_server_is_reported_and_harmless(
    app: App, admin: psycopg.Connection, connection: Connection, zone: str
) -> None:
    """L4: every transaction runs in UTC."""
    database = connection.execute(text("select current_database()")).scalar_one()
    admin.execute(f"alter database {database} set timezone = '{zone}'")
    app.database.close()

    found = [one.what for one in examine(app) if one.about == "time zone"]

    assert [f"the server's is {zone}; every transaction is UTC"] == found


def test_a_session_that_holds_a_lock_for_long_is_named(
    app: App, connection: Connection, shop: Shop, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `job.blocked` tells of can be found without a look into the server's own tables."""
    product = shop.product()
    connection.commit()
    quick = lock_checks._HOLDERS.bindparams(long=timedelta(0))
    monkeypatch.setattr(lock_checks, "_HOLDERS", quick)
    with psycopg.connect(database_url, application_name="a console\x1b[2J") as other:
        other.execute('select from "Product" where id = %s for update', [product])
        pid = other.info.backend_pid

        (found,) = [one for one in examine(app) if one.about == "locks"]

    assert found.what.startswith(f"session {pid} (a console")
    assert "has held locks on Product for " in found.what
    assert "\x1b" not in found.what
    assert f"pg_terminate_backend({pid})" in found.remedy


def test_a_session_that_holds_a_lock_of_ours_for_long_is_named(
    app: App, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that waited for it in vain says that the doctor does so."""
    quick = lock_checks._HOLDERS.bindparams(long=timedelta(0))
    monkeypatch.setattr(lock_checks, "_HOLDERS", quick)
    with psycopg.connect(database_url) as other:
        other.execute("insert into sweeper.lock values ('a scan', now())")
        pid = other.info.backend_pid

        (found,) = [one for one in examine(app) if one.about == "locks"]

    assert found.what.startswith(f"session {pid} ")
    assert "has held locks on sweeper.lock for " in found.what
    assert f"pg_terminate_backend({pid})" in found.remedy


def test_a_lock_that_was_just_taken_is_not_told(
    app: App, connection: Connection, shop: Shop, database_url: str
) -> None:
    product = shop.product()
    connection.commit()
    with psycopg.connect(database_url) as other:
        other.execute('select from "Product" where id = %s for update', [product])

        (found,) = [one for one in examine(app) if one.about == "locks"]

    assert Level.OK is found.level


def test_the_holder_of_a_lock_is_named_to_a_login_that_may_not_see_its_age(
    app: App, shop: Shop, connection: Connection, database_url: str
) -> None:
    """What holds its lock in two looks is told: the age is hidden from other roles' logins."""
    product = shop.product()
    connection.execute(text("create role doctor"))
    connection.commit()
    try:
        with psycopg.connect(database_url) as other:
            other.execute('select from "Product" where id = %s for update', [product])
            with app.database.transaction() as tx:
                tx.execute(text("set local role doctor"))
                (found,) = lock_checks.locks(app, tx)
    finally:
        connection.execute(text("drop role doctor"))
        connection.commit()

    assert found.what.endswith("has held locks on Product for at least 2 s")
