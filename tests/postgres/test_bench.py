"""The benchmark measures what it says: the same effects, and every statement and round trip."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime

import psycopg
import pytest
from sqlalchemy import make_url

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.bench.counting_proxy import CountingProxy
from tests.bench.engine import Engine
from tests.bench.floor import Floor
from tests.bench.same_effects import differences
from tests.bench.server import fill
from tests.support.verbs import HOUR, OpenApp

ORDERS = 20
PAID = """update "Order" set "dpPaidAt" = now() where id = %s"""


@pytest.fixture
def other_url(database_url: str, admin: psycopg.Connection, template: str) -> Iterator[str]:
    """Create a second migrated database with the platform's empty tables; yield its URL."""
    name = f"{make_url(database_url).database}_other"
    admin.execute(f'create database "{name}" template "{template}"')
    yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
    admin.execute(f'drop database "{name}" with (force)')


def write_orders(app: App, now: datetime) -> str:
    """Write orders of all kinds, the same in each database; return the id of the last."""
    fill(app, ORDERS, products=3, now=now)
    with app.database.transaction(schema_in_path=True) as tx:
        shop = Shop(tx, now, seed=1)
        limited, unlimited = shop.product(stock=5), shop.product(unlimited=True)
        shop.order(age=HOUR, items=[(limited, 2), (limited, 1), (unlimited, 1)])
        shop.order(age=HOUR, product=limited, quantity=4, code=None, guest=None)
        shop.order(age=HOUR, guest=shop.guest(notify_whatsapp=False))
        shop.order(guest="nobody")
        return shop.order(age=HOUR, items=[(limited, 1)])


def test_the_floor_leaves_the_rows_that_the_engine_leaves(
    open_app: OpenApp, database_url: str, other_url: str, now: datetime
) -> None:
    """Also for an order that is paid between scan and drain, which L3 leaves alone."""
    for url, contender in ((database_url, Engine), (other_url, Floor)):
        paid = write_orders(open_app(url=url), now)
        with closing(contender(url)) as worker, psycopg.connect(url, autocommit=True) as buyer:
            worker.enqueue()
            buyer.execute(PAID, [paid])
            worker.work()
            cancelled = buyer.execute("""select from "Order" where status = 'cancelled'""")
            assert ORDERS + 3 == cancelled.rowcount

    assert [] == differences(database_url, other_url)


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("public.Product", """update "Product" set stock = stock + 1"""),
        ("sweeper.job_log", "delete from sweeper.job_log"),
        ("public.NotificationLog", """update "NotificationLog" set metadata = '{}'"""),
    ],
)
def test_an_effect_that_differs_is_named(
    *, open_app: OpenApp, database_url: str, other_url: str, now: datetime, table: str, change: str
) -> None:
    for url in (database_url, other_url):
        write_orders(open_app(url=url), now)
        with closing(Floor(url)) as worker:
            worker.enqueue()
            worker.work()
    with psycopg.connect(other_url, autocommit=True) as session:
        session.execute(change)

    (line,) = differences(database_url, other_url)
    assert line.startswith(f"{table}: ")


def test_the_proxy_counts_statements_and_round_trips(server_url: str, database_url: str) -> None:
    proxy = CountingProxy(server_url)
    try:
        with psycopg.connect(proxy.url(database_url), autocommit=True) as session:
            proxy.reset()
            session.execute("select 1; select 2; select generate_series(1, 10000)")
            session.execute("select %s::text", ["x" * 100_000])

            assert (4, 2) == (proxy.statements, proxy.round_trips)
    finally:
        proxy.disconnect()
