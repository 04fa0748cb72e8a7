"""The environment of the demo: an embedded Postgres with pgmq, the platform's tables and orders."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from jobs.demo.sample_orders import WatchedOrders, add_sample_orders
from jobs.demo.shop import Shop, create_platform
from sweeper import catalog, logs
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.postgres.embedded import Embedded

TAKEN_AT = "checkout"

# The demo's output depends on these settings, so this host's own do not apply.
_SETTINGS: Mapping[str, Any] = {
    "stock.taken_at": TAKEN_AT,
    "retry.delays": ["1s", "1s", "1s"],
    "retry.jitter": 0.0,
    "safety.max_per_sweep": 1000,
    "service.heartbeat_url": None,
    "web.required": False,
    "whatsapp.provider": "log",
}


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """The app of the demo, with its database and its orders.

    url    -- where the embedded server is reached
    folder -- the data folder of the embedded server
    log    -- the engine's errors, as JSON lines
    """

    app: App
    watched: WatchedOrders
    url: str
    folder: Path
    log: StringIO


@contextmanager
def demo_environment(*, keep: bool) -> Iterator[DemoEnvironment]:
    """Start the server and fill the shop; stop the server and remove its folder afterwards.

    keep -- leave server and folder in place
    """
    log = StringIO()
    logs.configure("error", "json", log)
    folder = Path(mkdtemp(prefix="sweeper-demo-"))
    try:
        server = Embedded(folder, keep=keep)
        try:
            app = _app(server.url)
            try:
                yield DemoEnvironment(app, _fill_shop(app), server.url, folder, log)
            finally:
                app.database.close()
        finally:
            server.stop()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _app(url: str) -> App:
    urls = {"database.url": url, "database.direct_url": url}
    return App.load(catalog.load("jobs"), file=Path(os.devnull), flags={**_SETTINGS, **urls})


def _fill_shop(app: App) -> WatchedOrders:
    with app.database.transaction(schema_in_path=True) as tx:
        create_platform(tx)
    app.migrate(install_pgmq=True)
    with app.database.transaction(schema_in_path=True) as tx:
        return add_sample_orders(Shop(tx, clock.now()))
