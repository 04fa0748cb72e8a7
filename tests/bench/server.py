"""The server of the benchmark: prepared databases, and a new copy of one for each run."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy import make_url

from jobs.demo.shop import Shop, create_platform
from sweeper import catalog
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.postgres.embedded import Embedded

HOUR = timedelta(hours=1)
PRODUCTS = 10
_RESTARTED = "track_commit_timestamp = on"  # tells when each order was cancelled


class Server:
    """An embedded Postgres at its own settings, but for one that only reads need."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server may run as another user
        self._embedded = Embedded(folder / "data")
        self._prepared = set[str]()
        with self.session() as session:
            session.execute(f"alter system set {_RESTARTED}")
        self._embedded._server.stop()
        self._embedded._server.start()

    @property
    def url(self) -> str:
        """The URL of the administrator's database."""
        return self._embedded.url

    def stop(self) -> None:
        """Stop the server, and remove its folder."""
        self._embedded.stop()

    @contextmanager
    def session(self, url: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        """Open a session whose statements commit with themselves."""
        with psycopg.connect(url or self.url, autocommit=True) as session:
            yield session

    @contextmanager
    def copy(self, orders: int, products: int = PRODUCTS, name: str = "run") -> Iterator[str]:
        """Create a database with *orders* that are due, and share *products*; yield its URL."""
        prepared = self._prepare(orders, products)
        with self.session() as session:
            for command in ("drop database if exists {} with (force)", "create database {}"):
                template = " template {}" if command.startswith("create") else ""
                names = [Identifier(each) for each in (name, prepared)]
                session.execute(SQL(command + template).format(*names))
            session.execute("checkpoint")
        yield self._at(name)
        with self.session() as session:
            session.execute(SQL("drop database {} with (force)").format(Identifier(name)))

    def create(self, name: str, *, with_indexes: bool = False) -> App:
        """Create a migrated database with the platform's empty tables; return an app on it."""
        with self.session() as session:
            session.execute(SQL("create database {}").format(Identifier(name)))
        flags = {"database.url": self._at(name), "stock.taken_at": "checkout", "web.port": 0}
        app = App.load(catalog.load("jobs"), flags=flags)
        with app.database.transaction(schema_in_path=True) as tx:
            create_platform(tx)
        app.migrate(install_pgmq=True, with_indexes=with_indexes)
        return app

    def _prepare(self, orders: int, products: int) -> str:
        name = f"prepared_{orders}_{products}"
        if name in self._prepared:
            return name
        app = self.create(name)
        fill(app, orders, products, clock.now())
        app.close()
        with self.session(self._at(name)) as session:
            session.execute("vacuum analyze")
        self._prepared.add(name)
        return name

    def _at(self, database: str) -> str:
        return make_url(self.url).set(database=database).render_as_string(hide_password=False)


def fill(app: App, orders: int, products: int, now: datetime) -> None:
    """Write *orders* that are due, each for one piece of one of *products*."""
    with app.database.transaction(schema_in_path=True) as tx:
        shop = Shop(tx, now)
        rest = orders
        for left in range(products, 0, -1):
            shop.many(rest // left, age=HOUR, product=shop.product(stock=0))
            rest -= rest // left
