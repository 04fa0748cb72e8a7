"""Transactions bring what they need, whatever the database's or the login's own defaults are."""

from threading import Thread

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
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


def test_a_temporary_table_does_not_replace_the_platforms(app: App, shop: Shop) -> None:
    """L10: another client of the pooler may have left one on the server's connection."""
    order = shop.order(age=HOUR)
    with app.database.autocommit() as connection:
        connection.execute(text('create temporary table "Order" (id text)'))

    sweep(app)

    assert "cancelled" == shop.status(order)
