"""Benchmark: the engine, a hand-written script in batches, and a loop over single orders.

All three cancel the same unpaid orders and return their stock, on the same server in one run.
Compare the ratios, because the rates depend on the machine.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import make_url

from jobs.demo.shop import Shop, create_platform
from sweeper import catalog, logs
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.postgres.embedded import Embedded

BATCH = 500
HOUR = timedelta(hours=1)

FILL = """
    select pgmq.send_batch('jastipin_jobs', array_agg(jsonb_build_object('id', id)), 0)
    from "Order" where status = 'pending_dp'
"""
READ = "select msg_id, message ->> 'id' from pgmq.read('jastipin_jobs', 30, %s)"
CANCEL = """
    with moved as (
        update "Order" set status = 'cancelled', "rejectionReason" = 'bench', "updatedAt" = now()
        where id = any(%(ids)s) and status = 'pending_dp'
          and "createdAt" <= timezone('UTC', now()) - interval '30 minutes' returning id
    ), sums as (
        select "productId" as id, sum(quantity) as quantity
        from "OrderItem" join moved on moved.id = "orderId" group by 1
    )
    update "Product" as p set stock = stock + sums.quantity from sums where p.id = sums.id
"""


def engine(url: str) -> None:
    """Scan and drain as the command does, with ledger, notices and retries."""
    flags = {"database.url": url, "stock.taken_at": "checkout", "queue.batch": BATCH}
    app = App.load(catalog.load("jobs"), flags=flags)
    app.sweep().run([app.catalog.rule("expire_dp")], limit=10**9, scan_only=True)
    worker = app.drain()
    while worker.step():
        pass
    app.close()


def by_hand(url: str) -> None:
    """Update the same orders and stock without the engine: no ledger, no notices, no retries."""
    with psycopg.connect(url) as connection:
        connection.execute(FILL)
        connection.commit()
        while rows := connection.execute(READ, [BATCH]).fetchall():
            ids, orders = zip(*rows, strict=True)
            connection.execute("select pgmq.delete('jastipin_jobs', %s::bigint[])", [list(ids)])
            connection.execute(CANCEL, {"ids": list(orders)})
            connection.commit()


def one_at_a_time(url: str) -> None:
    """Update the same orders as a simple worker does: one message and one transaction each."""
    with psycopg.connect(url) as connection:
        connection.execute(FILL)
        connection.commit()
        while row := connection.execute(READ, [1]).fetchone():
            connection.commit()
            connection.execute(CANCEL, {"ids": [row[1]]})
            connection.execute("select pgmq.delete('jastipin_jobs', %s::bigint)", [row[0]])
            connection.commit()


CONTENDERS: dict[str, Callable[[str], None]] = {
    "engine, with ledger and notices": engine,
    "hand-written, same batches": by_hand,
    "hand-written, one at a time": one_at_a_time,
}


def main() -> None:
    """Run every contender, and print the rates and their ratios."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000, help="number of orders in each run")
    parser.add_argument(
        "--rounds", type=int, default=3, help="runs of each contender; the best one counts"
    )
    options = parser.parse_args()
    logs.configure("error", "json")
    best = dict.fromkeys(CONTENDERS, 0.0)
    with tempfile.TemporaryDirectory(prefix="sweeper-bench-") as name:
        Path(name).chmod(0o755)  # the server may run as another user
        server = Embedded(Path(name) / "data")
        create_template(server.url, options.orders)
        for _ in track(range(options.rounds), "measuring", console=Console(stderr=True)):
            for contender, run in CONTENDERS.items():
                rate = options.orders / seconds(server.url, run)
                best[contender] = max(best[contender], rate)
        server.stop()
    show(best)


def create_template(url: str, orders: int) -> None:
    """Create the database that every run begins with."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("create database prepared")
    app = App.load(catalog.load("jobs"), flags={"database.url": at(url, "prepared")})
    with app.database.transaction(schema_in_path=True) as tx:
        create_platform(tx)
    app.migrate(install_pgmq=True)
    with app.database.transaction(schema_in_path=True) as tx:
        shop = Shop(tx, clock.now())
        for product in [shop.product(stock=0) for _ in range(10)]:
            shop.many(orders // 10, age=HOUR, product=product)
    app.close()
    with psycopg.connect(at(url, "prepared"), autocommit=True) as connection:
        connection.execute("vacuum analyze")


def seconds(url: str, run: Callable[[str], None]) -> float:
    """Return the seconds that *run* takes on a new copy of the database."""
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("create database run template prepared")
        began = time.monotonic()
        run(at(url, "run"))
        took = time.monotonic() - began
        with psycopg.connect(at(url, "run")) as connection:
            left = connection.execute("""select from "Order" where status = 'pending_dp'""")
            assert not left.rowcount, f"{left.rowcount} orders were left"
        admin.execute("drop database run with (force)")
    return took


def at(url: str, database: str) -> str:
    """Return the URL of another database on the same server."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def show(rates: dict[str, float]) -> None:
    """Print the rates in orders per second, and their ratios to the engine's."""
    ours = next(iter(rates.values()))
    table = Table(
        "contender", "orders/s", "engine / contender", title="sweep and drain, the best run of each"
    )
    for contender, rate in rates.items():
        table.add_row(contender, f"{rate:,.0f}", f"{ours / rate:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
