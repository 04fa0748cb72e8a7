"""The stage: a Postgres of its own with pgmq, the platform's tables, and a furnished shop."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from jobs.demo.people import Cast, furnish
from jobs.demo.shop import Shop, create_platform
from sweeper import catalog, logs
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.postgres.embedded import Embedded

TAKEN_AT = "checkout"

# What the story counts on, whatever this host's own settings say.
_SCRIPT: Mapping[str, Any] = {
    "stock.taken_at": TAKEN_AT,
    "retry.delays": ["1s", "1s", "1s"],
    "retry.jitter": 0.0,
    "safety.max_per_sweep": 1000,
    "service.heartbeat_url": None,
    "web.required": False,
    "whatsapp.provider": "log",
}


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the story plays.

    log -- the engine's errors, as JSON lines
    """

    app: App
    cast: Cast
    url: str
    folder: Path
    log: StringIO


@contextmanager
def staged(*, keep: bool) -> Iterator[Stage]:
    """Lend the stage; afterwards server and folder are removed, unless they are to be kept."""
    log = StringIO()
    logs.configure("error", "json", log)
    folder = Path(mkdtemp(prefix="sweeper-demo-"))
    try:
        server = Embedded(folder, keep=keep)
        try:
            app = _app(server.url)
            try:
                yield Stage(app, _furnished(app), server.url, folder, log)
            finally:
                app.database.close()
        finally:
            server.stop()
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _app(url: str) -> App:
    own = {"database.url": url, "database.direct_url": url}
    return App.load(catalog.load("jobs"), file=Path(os.devnull), flags={**_SCRIPT, **own})


def _furnished(app: App) -> Cast:
    app.migrate(install_pgmq=True)
    with app.database.transaction() as tx:
        create_platform(tx)
        return furnish(Shop(tx, clock.now()))
