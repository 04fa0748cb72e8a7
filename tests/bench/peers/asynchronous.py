"""A peer's worker on an event loop of its own, for peers that recommend asyncio."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib import import_module, util

ORDERS = """select id from "Order" where status = 'pending_dp' order by "createdAt", id"""
CHUNK = 1000
"""How many jobs a peer's bulk call gets at once."""


class Peer(ABC):
    """Runs the coroutines of a peer; its connections stay open between the phases."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.stack = AsyncExitStack()
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self._runner.run(self.open())

    def install(self) -> None:
        """Create the peer's own tables."""
        self._runner.run(self.create_tables())

    def enqueue(self) -> None:
        """Send one job for each order, with the peer's own bulk call."""
        self._runner.run(self.send())

    def work(self) -> None:
        """Work off all jobs."""
        self._runner.run(self.drain())

    def close(self) -> None:
        """Close the connections and the loop."""
        self._runner.run(self.stack.aclose())
        self._runner.close()

    @abstractmethod
    async def open(self) -> None:
        """Connect, and register the handler."""

    @abstractmethod
    async def create_tables(self) -> None:
        """Create the peer's own tables."""

    @abstractmethod
    async def send(self) -> None:
        """Send one job for each order."""

    @abstractmethod
    async def drain(self) -> None:
        """Work until all jobs are done."""


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the fast loop where a peer has brought it along."""
    if util.find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory
