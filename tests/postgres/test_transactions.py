"""Transactions bring what they need, whatever the database's or the login's own defaults are."""

import json
from threading import Thread

import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop, create_platform
from sweeper.admin.grants import needed
from sweeper.app import App
from sweeper.cli.checks.finding import Level
from sweeper.cli.doctor import examine
from sweeper.postgres import clock
from sweeper.sweep.scan import ScanResult
from tests.support.verbs import (
    HOUR,
    Connect,
    OpenApp,
    messages,
    scan,
    sweep,
    wait_for_a_blocked_session,
)


def by_default(connection: Connection, setting: str) -> None:
    """Change a default of the test's database, for all sessions that begin afterwards."""
    name = connection.execute(text("select current_database()")).scalar_one()
    connection.execute(text(f'alter database "{name}" set {setting}'))


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_two_scans_enqueue_an_order_once_whatever_isolation_is_the_default(
    level: str, open_app: OpenApp, shop: Shop, connect: Connect, connection: Connection
) -> None:
    """L1, L8: a scan that waited for another one sees the messages that it sent."""
    by_default(connection, f"default_transaction_isolation = '{level}'")
    app = open_app()
    for _ in range(10):
        shop.order(age=HOUR)
    holder = connect()
    holder.execute(text("lock table sweeper.sweep in access exclusive mode"))
    found: list[ScanResult] = []
    scans = [Thread(target=lambda: found.append(scan(app))) for _ in range(2)]
    for each in scans:
        each.start()
    wait_for_a_blocked_session(connection, 2)
    holder.commit()
    for each in scans:
        each.join()

    assert [0, 10] == sorted(one.enqueued for one in found)
    assert 10 == len(messages(app))


@pytest.mark.parametrize("path", ["public, pg_catalog", "elsewhere, public, pg_catalog"])
def test_a_function_of_a_strangers_schema_does_not_replace_the_servers(
    path: str, open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    """L4: what `search_path` a login has by default decides nothing."""
    connection.execute(text("create schema elsewhere"))
    for schema in ("public", "elsewhere"):
        for name in ("clock_timestamp", "now"):
            connection.execute(
                text(
                    f"create function {schema}.{name}() returns timestamptz language plpgsql"
                    " as $$ begin raise exception 'planted'; end $$"
                )
            )
    connection.execute(text('create table elsewhere."Order" (id text)'))
    by_default(connection, f"search_path = {path}")
    order = shop.order(age=HOUR)

    sweep(open_app())

    assert "cancelled" == shop.status(order)


def audited(connection: Connection, own: str = "") -> None:
    """Add a trigger of the platform's that names another table of it without a schema."""
    connection.execute(text("create table changed (id text)"))
    connection.execute(
        text(
            f"create function remember() returns trigger language plpgsql {own} as"
            " $$ begin insert into changed values (new.id); return new; end $$"
        )
    )
    connection.execute(
        text(
            'create trigger remember after update on "Order" for each row'
            " execute function remember()"
        )
    )


@pytest.mark.parametrize("own", ["", "set search_path = public"])
def test_a_trigger_of_the_platforms_may_name_its_tables_without_a_schema(
    app: App, shop: Shop, connection: Connection, own: str
) -> None:
    audited(connection, own)
    order = shop.order(age=HOUR)

    sweep(app)

    assert "cancelled" == shop.status(order)
    assert [order] == list(connection.execute(text("select id from changed")).scalars())


def search_path_of(app: App) -> str:
    """Return the path of the app's transactions, once it has checked the database."""
    app.check()
    with app.database.transaction() as tx:
        return str(tx.execute(text("show search_path")).scalar_one())


def test_only_a_trigger_on_the_platforms_tables_without_a_path_puts_its_schema_into_the_path(
    app: App, connection: Connection
) -> None:
    """Whoever may only create tables of their own cannot bring it about."""
    connection.execute(text("create table theirs (id text)"))
    audited(connection, "set search_path = public")
    connection.execute(
        text(
            "create function theirs() returns trigger language plpgsql as"
            " $$ begin return new; end $$"
        )
    )
    connection.execute(
        text("create trigger theirs before update on theirs execute function theirs()")
    )
    sealed = search_path_of(app)
    warned = [one for one in examine(app) if one.about == "search path"]
    connection.execute(text("alter function remember() reset search_path"))

    open_ = search_path_of(app)
    (warning,) = [one for one in examine(app) if one.about == "search path"]

    assert (["pg_catalog", "pg_temp"], []) == (sealed.replace('"', "").split(", "), warned)
    assert ["public", "pg_temp"] == open_.split(", ")
    assert (Level.WARNING, True) == (warning.level, "remember on Order" in warning.what)
    assert "set search_path = public" in warning.remedy


def test_the_platforms_tables_may_be_in_another_schema(
    open_app: OpenApp, bare_database_url: str
) -> None:
    """It is the one that the URL names, as Prisma has it; equal names in public mean nothing."""
    url = f"{bare_database_url}&schema=shop"
    engine = create_engine(
        make_url(bare_database_url).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        poolclass=NullPool,
    )
    with engine.connect() as connection:
        connection.execute(text("create schema shop"))
        connection.execute(text('create table public."Order" (id text)'))
        connection.execute(text("set search_path = shop"))
        create_platform(connection)
        shop = Shop(connection, clock.now())
        order = shop.order(age=HOUR)
        app = open_app(url=url)
        app.migrate(install_pgmq=True, with_indexes=True)

        sweep(app)

        assert "cancelled" == shop.status(order)
    assert [] == [
        one
        for one in examine(app)
        if one.level is Level.ERROR or (one.about, one.level) == ("indexes", Level.WARNING)
    ]
    assert {"shop"} == {
        grant.schema
        for grant in needed(app.queues, app.catalog.grants, app.platform_schema)
        if grant.table == "Order"
    }


def test_a_temporary_table_replaces_neither_the_platforms_nor_the_servers(
    app: App, shop: Shop
) -> None:
    """L10: another client of the pooler may have left one on the server's connection."""
    order = shop.order(age=HOUR)
    with app.database.autocommit() as connection:
        connection.execute(text('create temporary table "Order" (id text)'))
        connection.execute(text("create temporary table pg_database (datname text, oid text)"))

    plan = app.plan(json.dumps(sweep(app, dry_run=True).as_json()))
    sweep(app, planned=plan.planned)

    assert "cancelled" == shop.status(order)


def test_an_error_does_not_hold_the_values_of_its_statement(app: App) -> None:
    """L11: a traceback in a log shows the error's text, and the values may name people."""
    named = text("select 1 / 0 where :name <> ''")

    with pytest.raises(DBAPIError) as caught, app.database.transaction() as tx:
        tx.execute(named, {"name": "Sari"})

    assert "Sari" not in str(caught.value)
