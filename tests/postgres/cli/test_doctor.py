"""`sweeper doctor`: everything at once, each finding with its remedy."""

import psycopg
import pytest
from sqlalchemy import Connection, text

from sweeper import catalog
from sweeper.app import App
from sweeper.cli.doctor import Finding, Level, examine
from tests.support.verbs import OpenApp


def ill(findings: list[Finding]) -> dict[str, str]:
    """Return what is wrong, by what it is about."""
    return {one.about: one.what for one in findings if one.level is Level.ERROR}


def warned(findings: list[Finding]) -> list[str]:
    """Return what could be better."""
    return [one.about for one in findings if one.level is Level.WARNING]


def test_a_database_in_order_has_only_the_indexes_to_wish_for(app: App) -> None:
    findings = examine(app)

    assert ({}, ["indexes", "indexes"]) == (ill(findings), warned(findings))


def test_the_indexes_are_proposed_and_made_by_a_person(app: App, connection: Connection) -> None:
    """Printed as SQL that runs as it stands; `migrate --with-indexes` does the same."""
    proposed = [one.remedy for one in examine(app) if one.about == "indexes"]
    for remedy in proposed:
        connection.execute(text(remedy.partition(" or: ")[2]))

    assert [] == warned(examine(app))
    assert [] == app.migrate(with_indexes=True)


def test_migrate_makes_the_indexes(app: App) -> None:
    made = app.migrate(with_indexes=True)

    assert ["index sweeper_auto_refund", "index sweeper_expire_dp"] == made
    assert [] == warned(examine(app))


def test_an_index_whose_making_broke_off_is_made_again(app: App, connection: Connection) -> None:
    app.migrate(with_indexes=True)
    broken = "update pg_index set indisvalid = false where indexrelid = cast(:name as regclass)"
    connection.execute(text(broken), {"name": "sweeper_expire_dp"})

    assert ["index sweeper_expire_dp"] == app.migrate(with_indexes=True)


def test_several_faults_are_told_at_once(open_app: OpenApp, connection: Connection) -> None:
    connection.execute(text('drop table "OrderItem" cascade'))
    connection.execute(text("drop schema sweeper cascade"))
    app = open_app(stock__taken_at=None, queue__visibility="1s")

    findings = examine(app)

    assert {"settings", "schema", "tables"} == ill(findings).keys()
    assert "settings" in warned(findings)


def test_a_database_without_pgmq_is_told(open_app: OpenApp, bare_database_url: str) -> None:
    told = ill(examine(open_app(url=bare_database_url)))

    assert "it is not installed" == told["pgmq"]


def test_a_server_that_is_not_there_is_one_finding(open_app: OpenApp) -> None:
    app = open_app(url="postgresql://nobody@127.0.0.1:1/nothing")

    assert ["connection"] == list(ill(examine(app)))


def test_a_missing_url_is_one_finding() -> None:
    app = App.load(catalog.load("jobs"), flags={"stock.taken_at": "never"})

    assert "database.url is not set" == ill(examine(app))["connection"]


def test_clocks_that_disagree_are_told(open_app: OpenApp, frozen: object) -> None:
    """L4: no order is touched until they agree."""
    del frozen
    app = open_app(safety__max_clock_skew="5s")

    assert ["clock"] == list(ill(examine(app)))


def test_a_pooler_without_a_direct_url_is_warned_of(open_app: OpenApp, database_url: str) -> None:
    app = open_app(url=f"{database_url}&pgbouncer=true", database__direct_url=None)

    assert "connection" in warned(examine(app))


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "America/New_York"])
def test_the_zone_of_the_server_is_told_and_harmless(
    app: App, admin: psycopg.Connection, connection: Connection, zone: str
) -> None:
    """L4: every transaction is UTC."""
    database = connection.execute(text("select current_database()")).scalar_one()
    admin.execute(f"alter database {database} set timezone = '{zone}'")
    app.database.close()

    told = [one.what for one in examine(app) if one.about == "time zone"]

    assert [f"the server's is {zone}; every transaction is UTC"] == told
