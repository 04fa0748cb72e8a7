"""PgQueuer: asyncpg, a connection of its own for the manager, and a pool for the handlers."""

from datetime import timedelta
from importlib import import_module
from typing import Any

from tests.bench.one_at_a_time import CANCEL
from tests.bench.peers.asynchronous import CHUNK, ORDERS, Peer

ENTRYPOINT = "expire"


class PgQueuerPeer(Peer):
    """One process of PgQueuer.

    batch -- the jobs of one dequeue
    pool  -- the connections of the handlers
    """

    def __init__(self, url: str, batch: int, pool: int) -> None:
        self.batch, self.size = batch, pool
        super().__init__(url)

    async def open(self) -> None:
        """Connect, and register the handler."""
        asyncpg: Any = import_module("asyncpg")
        self.peer: Any = import_module("pgqueuer")
        self.pool = await asyncpg.create_pool(self.url, min_size=self.size, max_size=self.size)
        self.stack.push_async_callback(self.pool.close)
        connection = await asyncpg.connect(self.url)
        self.stack.push_async_callback(connection.close)
        self.manager = self.peer.PgQueuer.from_asyncpg_connection(connection)
        self.manager.entrypoint(ENTRYPOINT)(self._cancel)

    async def create_tables(self) -> None:
        """Do as `pgq install` and `pgq autovac` do."""
        queries = self.manager.qm.queries
        await queries.install()
        await queries.optimize_autovacuum()

    async def send(self) -> None:
        """Enqueue lists of jobs."""
        ids = [row["id"].encode() for row in await self.pool.fetch(ORDERS)]
        for start in range(0, len(ids), CHUNK):
            part = ids[start : start + CHUNK]
            await self.manager.qm.queries.enqueue([ENTRYPOINT] * len(part), part, [0] * len(part))

    async def drain(self) -> None:
        """Run the manager in its own mode for this."""
        mode = import_module("pgqueuer.domain.types").QueueExecutionMode.drain
        await self.manager.qm.run(
            dequeue_timeout=timedelta(seconds=1), batch_size=self.batch, mode=mode
        )

    async def _cancel(self, job: Any) -> None:
        await self.pool.execute(_CANCEL, job.payload.decode())


_CANCEL = CANCEL.format(order="$1")

open_worker = PgQueuerPeer
