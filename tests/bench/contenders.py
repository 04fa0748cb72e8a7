"""Who runs: each contender with its processes, its settings, and its part of the orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any


@dataclass(frozen=True, slots=True)
class Contender:
    """Something that cancels the orders.

    module    -- has `open_worker`
    processes -- how many work at the same time
    options   -- of each worker
    share     -- it gets one in so many orders, because it is slow
    package   -- what must be installed
    settings  -- what the page says about it
    """

    name: str
    module: str
    settings: str
    processes: int = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    share: int = 1
    package: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether it is the engine."""
        return self.module == "engine"

    @property
    def is_missing(self) -> bool:
        """Whether its package is not installed."""
        try:
            return self.package is not None and not version(self.package)
        except PackageNotFoundError:
            return True


FLOOR = Contender(
    "floor", "floor", "the same rows by hand: one statement reads 500, one handles them and commits"
)
ONE = Contender("engine, 1 process", "engine", "default settings: 2 drainers, batches of 500")
ALONE = Contender(
    "engine, 1 drainer", "engine", "one process, `queue.drainers = 1`", options={"drainers": 1}
)
TWO = Contender("engine, 2 processes", "engine", "default settings in each", processes=2)
FOUR = Contender("engine, 4 processes", "engine", "default settings in each", processes=4)
LOOP = Contender(
    "one at a time",
    "one_at_a_time",
    "one message and one transaction each; order and stock only, no notice, no ledger",
    share=4,
)
PEERS = (
    Contender(
        "PgQueuer",
        "peers.pgqueuer",
        "asyncpg; dequeues 100 for short jobs, its `autovac` is applied; order and stock only",
        options={"batch": 100, "pool": 20},
        package="pgqueuer",
    ),
    Contender(
        "Procrastinate",
        "peers.procrastinate",
        "its psycopg connector; concurrency 20, deletes what succeeded; order and stock only",
        options={"concurrency": 20},
        share=4,
        package="procrastinate",
    ),
    Contender(
        "awa",
        "peers.awa",
        "queue storage, its default of 50 workers, asyncpg in the handler; order and stock only",
        options={"workers": 50, "pool": 20},
        share=4,
        package="awa-pg",
    ),
)
ALL = (FLOOR, ONE, ALONE, TWO, FOUR, *PEERS, LOOP)
