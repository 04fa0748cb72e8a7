"""What must stay flat in a soak: memory, descriptors, threads, connections, dead rows and WAL."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.reliability.site import Site

_SERVER = """
    select (select count(*) from pg_stat_activity where application_name = 'sweeper'),
           (select sum(n_dead_tup) from pg_stat_user_tables where schemaname = 'pgmq'),
           pg_current_wal_lsn() - '0/0'
"""


@dataclass(frozen=True, slots=True)
class Gauges:
    """One reading.

    memory, descriptors, threads -- of the one process that no fault ends; memory in MB
    connections -- of all processes
    dead        -- dead rows in the tables of the queues
    wal         -- bytes of WAL since the server's begin
    orders      -- due orders that were placed until now
    """

    memory: float
    descriptors: int
    threads: int
    connections: int
    dead: int
    wal: int
    orders: int


def read(site: Site) -> Gauges:
    """Read all gauges now."""
    process = Path("/proc") / str(site.fleet.pids[0])
    status = dict(
        line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line
    )
    with site.server.session() as session:
        row = session.execute(_SERVER).fetchone()
    assert row is not None
    return Gauges(
        int(status["VmRSS"].split()[0]) / 1024,
        len(list((process / "fd").iterdir())),
        int(status["Threads"]),
        int(row[0]),
        int(row[1]),
        int(row[2]),
        sum(count for _, count in site.load.placed),
    )


def growth(readings: list[Gauges], name: str) -> float:
    """Return how much more of one gauge there is in the last third than in the second one."""
    third = max(1, len(readings) // 3)
    values = [float(getattr(each, name)) for each in readings]
    return median(values[-third:]) - median(values[third : 2 * third])


def wal_growth(readings: list[Gauges]) -> float:
    """Return the WAL of an order in the second half as a multiple of that in the first one."""
    middle = len(readings) // 2
    first, second = (
        (end.wal - begin.wal) / max(1, end.orders - begin.orders)
        for begin, end in ((readings[0], readings[middle]), (readings[middle], readings[-1]))
    )
    return second / first
