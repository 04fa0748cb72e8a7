"""The engine at its default settings, in as many drainers as are asked for."""

import gc
from threading import Event, Thread

from sqlalchemy import func, select

from sweeper import catalog, logs
from sweeper.app import App
from tests.support.paths import ROOT

DEFAULTS = ROOT / "config" / "sweeper.toml"
RULE = "expire_dp"


class Engine:
    """One process of the engine.

    drainers -- the threads that drain; None for `queue.drainers`
    """

    def __init__(self, url: str, drainers: int | None = None) -> None:
        flags = {"database.url": url, "stock.taken_at": "checkout"}
        self.app = App.load(catalog.load("jobs"), file=DEFAULTS, flags=flags)
        logs.configure(self.app.settings.log.level, "json")
        gc.freeze()  # as each command does
        self.drainers = drainers or self.app.settings.queue.drainers

    def enqueue(self) -> None:
        """Scan as the command does, without the brake."""
        rule = self.app.catalog.rule(RULE)
        self.app.sweep().run([rule], limit=10**9, scan_only=True)

    def work(self) -> None:
        """Drain until no message is left, also none that another process has."""
        threads = [Thread(target=self._drain) for _ in range(self.drainers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def close(self) -> None:
        """Close the connections."""
        self.app.close()

    def _drain(self) -> None:
        worker = self.app.drain()
        while worker.step() or self._left():
            pass

    def _left(self) -> bool:
        table = self.app.queues.tables[self.app.queues.database[1]]
        with self.app.database.transaction() as tx:
            left = bool(tx.execute(select(func.count()).select_from(table)).scalar())
        if left:
            Event().wait(0.02)  # another process is at work, or a lock is held
        return left


open_worker = Engine
