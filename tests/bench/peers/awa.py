"""Awa: its own client, with as many workers as it has by default, and asyncpg for the handlers."""

import asyncio
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from sqlalchemy import make_url

from tests.bench.one_at_a_time import CANCEL
from tests.bench.peers.asynchronous import ORDERS, Peer

QUEUE = "expire"


@dataclass
class Expire:
    """A job: cancel one order."""

    order: str


class AwaPeer(Peer):
    """One process of awa.

    workers -- the jobs that run at the same time
    pool    -- the connections of the handlers
    """

    def __init__(self, url: str, workers: int, pool: int) -> None:
        self.workers, self.size = workers, pool
        self.left = 0
        self.done = asyncio.Event()
        super().__init__(url)

    async def open(self) -> None:
        """Connect, and register the handler."""
        asyncpg: Any = import_module("asyncpg")
        self.pool = await asyncpg.create_pool(self.url, min_size=self.size, max_size=self.size)
        self.stack.push_async_callback(self.pool.close)
        url = make_url(self.url)
        url = url.set(host=url.host or "localhost")  # its parser wants one beside a socket's folder
        text = url.render_as_string(hide_password=False)
        self.client: Any = import_module("awa").AsyncClient(text, self.size)
        self.stack.push_async_callback(self.client.close)
        self.client.task(Expire, queue=QUEUE)(self._cancel)

    async def create_tables(self) -> None:
        """Do as `awa migrate` does, and choose the storage that it recommends for new ones."""
        await self.client.migrate()
        await self.client.install_queue_storage()

    async def send(self) -> None:
        """Stream all jobs into the queue."""
        jobs = [Expire(row["id"]) for row in await self.pool.fetch(ORDERS)]
        self.left = len(jobs)
        await self.client.enqueue_many_copy(jobs, queue=QUEUE)

    async def drain(self) -> None:
        """Work until the last handler has returned, then stop, which completes the jobs."""
        await self.client.start([(QUEUE, self.workers)])
        await self.done.wait()
        await self.client.shutdown()

    async def _cancel(self, job: Any) -> None:
        await self.pool.execute(_CANCEL, job.args.order)
        self.left -= 1
        if not self.left:
            self.done.set()


_CANCEL = CANCEL.format(order="$1")

open_worker = AwaPeer
