"""Procrastinate: its psycopg connector, concurrent jobs, and a pool for the handlers."""

from importlib import import_module
from typing import Any

from tests.bench.one_at_a_time import CANCEL
from tests.bench.peers.asynchronous import CHUNK, ORDERS, Peer


class ProcrastinatePeer(Peer):
    """One process of Procrastinate.

    concurrency -- the jobs that run at the same time
    """

    def __init__(self, url: str, concurrency: int) -> None:
        self.concurrency = concurrency
        super().__init__(url)

    async def open(self) -> None:
        """Open the app, and register the handler."""
        peer: Any = import_module("procrastinate")
        pools: Any = import_module("psycopg_pool")
        self.pool = pools.AsyncConnectionPool(
            self.url,
            min_size=self.concurrency,
            max_size=self.concurrency,
            kwargs={"autocommit": True},
            open=False,
        )
        await self.stack.enter_async_context(self.pool)
        connector = peer.PsycopgConnector(
            conninfo=self.url, min_size=self.concurrency, max_size=self.concurrency
        )
        self.app = peer.App(connector=connector)
        await self.stack.enter_async_context(self.app.open_async())
        self.task = self.app.task(queue="expire", name="expire")(self._cancel)

    async def create_tables(self) -> None:
        """Do as `procrastinate schema --apply` does."""
        await self.app.schema_manager.apply_schema_async()

    async def send(self) -> None:
        """Defer batches of jobs."""
        async with self.pool.connection() as connection:
            rows = await (await connection.execute(ORDERS)).fetchall()
        jobs = [{"order": order} for (order,) in rows]
        for start in range(0, len(jobs), CHUNK):
            await self.task.batch_defer_async(*jobs[start : start + CHUNK])

    async def drain(self) -> None:
        """Run the worker until it has caught up."""
        await self.app.run_worker_async(
            queues=["expire"],
            wait=False,
            concurrency=self.concurrency,
            delete_jobs="successful",
            install_signal_handlers=False,
        )

    async def _cancel(self, order: str) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(_CANCEL, [order])


_CANCEL = CANCEL.format(order="%s")

open_worker = ProcrastinatePeer
