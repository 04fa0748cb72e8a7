"""The environment of the demo: an embedded Postgres with pgmq, the platform's tables and orders."""

import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from jobs.demo.kept import new_folder
from jobs.demo.sample_orders import WatchedOrders, add_sample_orders
from jobs.demo.shop import Shop, create_platform
from sweeper import catalog, logs
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.postgres.embedded import Embedded

TAKEN_AT = "checkout"

_HOST, _USUAL_PORT = "127.0.0.1", 4010

# The demo's output depends on these settings, so this host's own do not apply.
_SETTINGS: Mapping[str, Any] = {
    "stock.taken_at": TAKEN_AT,
    "retry.delays": ["1s", "1s", "1s"],
    "retry.jitter": 0.0,
    "safety.max_per_sweep": 1000,
    "rules.auto_refund.every": "5s",
    "rules.expire_dp.every": "5s",
    "service.heartbeat_url": None,
    "web.enabled": True,
    "web.host": _HOST,
    "whatsapp.provider": "log",
}


@dataclass(frozen=True, slots=True)
class DemoEnvironment:
    """The app of the demo, with its database and its orders.

    url    -- where the embedded server is reached
    folder -- of the demo, with the data of the embedded server
    page   -- the address of the status page, while the service runs
    log    -- the engine's errors, as JSON lines
    """

    app: App
    watched: WatchedOrders
    url: str
    folder: Path
    page: str
    log: StringIO


@contextmanager
def demo_environment(*, keep: bool) -> Iterator[DemoEnvironment]:
    """Start the server and fill the shop; stop the server and remove its folder afterwards.

    keep -- leave server and folder in place
    """
    log = StringIO()
    logs.configure("error", "json", log)
    folder = new_folder()
    try:
        server = Embedded(folder / "data", keep=keep)
        try:
            port = _free_port()
            app, page = _app(server.url, port), f"http://{_HOST}:{port}"
            try:
                yield DemoEnvironment(app, _fill_shop(app), server.url, folder, page, log)
            finally:
                app.database.close()
        finally:
            server.stop()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _app(url: str, port: int) -> App:
    own = {"database.url": url, "database.direct_url": url, "web.port": port}
    return App.load(catalog.load("jobs"), file=Path(os.devnull), flags={**_SETTINGS, **own})


def _free_port() -> int:
    """Return the page's usual port, or another one where that is taken."""
    for port in (_USUAL_PORT, 0):
        with socket.socket() as one, suppress(OSError):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind((_HOST, port))
            return int(one.getsockname()[1])
    return _USUAL_PORT


def _fill_shop(app: App) -> WatchedOrders:
    with app.database.transaction(schema_in_path=True) as tx:
        create_platform(tx)
    app.migrate(install_pgmq=True)
    with app.database.transaction(schema_in_path=True) as tx:
        return add_sample_orders(Shop(tx, clock.now()))
