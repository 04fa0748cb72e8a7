"""L10: everything works through PgBouncer in transaction mode."""

import time
from threading import Timer

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import OperationalError

from jobs.demo.shop import Shop
from sweeper.batch import Tally
from sweeper.postgres.errors import is_transient
from tests.support.pooler import PGBOUNCER, pgbouncer
from tests.support.verbs import HOUR, OpenApp, sweep

needs_pgbouncer = pytest.mark.skipif(
    PGBOUNCER is None, reason="pgbouncer is not installed: apt-get install pgbouncer, or .ci/run"
)


@needs_pgbouncer
def test_sweeps_work_through_pgbouncer(
    open_app: OpenApp, shop: Shop, database_url: str, server_url: str
) -> None:
    """The sweeper uses no session state, no named prepared statements and no session locks."""
    orders = [shop.order(age=HOUR) for _ in range(20)]
    with pgbouncer(server_url) as pooler:
        url = pooler.set(database=make_url(database_url).database, query={"pgbouncer": "true"})
        app = open_app(url=url.render_as_string(), queue__batch=3)
        first = [sweep(app).jobs for _ in range(3)]
        # Another client can use the server connection: no prepared statement of ours is in its way.
        with psycopg.connect(url.set(query={}).render_as_string()) as other:
            other.execute("select 1")
        app.database.close()

    assert [Tally(done=40), Tally(), Tally()] == first
    assert {"cancelled"} == {shop.status(order) for order in orders}


@needs_pgbouncer
def test_statements_are_cancelled_through_pgbouncer(
    open_app: OpenApp, database_url: str, server_url: str
) -> None:
    """L5: a stop cancels near its deadline what still runs, also behind a pooler."""
    with pgbouncer(server_url) as pooler:
        url = pooler.set(database=make_url(database_url).database, query={"pgbouncer": "true"})
        database = open_app(url=url.render_as_string()).database
        with database.transaction() as tx:
            Timer(0.2, lambda: database.cancel(time.monotonic())).start()
            with pytest.raises(OperationalError) as raised:
                tx.execute(text("select pg_sleep(20)"))
            tx.rollback()
        database.close()

    assert is_transient(raised.value)
