"""Benchmark: what an idle service costs, and how soon it picks up a message, with and without hint.

`python -m tests.bench.idle` runs `sweeper run` twice on a server of its own. It counts messages to
the server (each is a round trip), the statements in them, and transactions, also the server's own.
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread

import psycopg
from rich.console import Console
from rich.table import Table
from sqlalchemy import create_engine, make_url

from jobs.demo.shop import create_platform
from sweeper import catalog, logs
from sweeper.app import App
from sweeper.postgres.embedded import Embedded

QUEUE = "jastipin_jobs"
BODY = """{"type": "STOCK_RELEASE", "payload": {"orderId": "cnobody", "shouldRefund": false},
    "retryCount": 0, "maxRetries": 0}"""
SEND = f"select pgmq.send('{QUEUE}', cast(%s as jsonb))"
PICKED_UP = "select at from sweeper.job_log where msg_id = %s"
TRANSACTIONS = "select xact_commit + xact_rollback from pg_stat_database where datname = 'postgres'"


class Counted:
    """A TCP proxy before the server that counts what a service says to it."""

    def __init__(self, server: str) -> None:
        self.counts = Counter[str]()
        self._server = server
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = (
            f"postgresql://postgres@127.0.0.1:{self._door.getsockname()[1]}/postgres"
            "?sslmode=disable&gssencmode=disable"
        )
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            client, _ = self._door.accept()
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            Thread(target=self._forward, args=[client, server], daemon=True).start()
            Thread(target=self._count, args=[server, client], daemon=True).start()

    @staticmethod
    def _forward(client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _count(self, server: socket.socket, client: socket.socket) -> None:
        """Count CommandComplete (a statement) and ReadyForQuery (the answer to a message)."""
        pending = b""
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
                pending += data
                while len(pending) > 4 and len(pending) > (length := _length(pending)):
                    self.counts[chr(pending[0])] += 1
                    pending = pending[length + 1 :]
            client.shutdown(socket.SHUT_RDWR)


def _length(message: bytes) -> int:
    return int.from_bytes(message[1:5], "big")


def latencies(admin: psycopg.Connection, number: int, pause: float) -> list[float]:
    """Send messages one by one; return the milliseconds from each commit to its job's begin."""
    found = list[float]()
    for _ in range(number):
        time.sleep(random.uniform(pause, pause * 1.5))  # noqa: S311 -- no secret
        (msg_id,) = admin.execute(SEND, [BODY]).fetchone() or (0,)
        sent = time.time()
        for _ in range(1_000):
            if row := admin.execute(PICKED_UP, [msg_id]).fetchone():
                found.append(max(0.0, (row[0].timestamp() - sent) * 1000))
                break
            Event().wait(0.01)
    return found


def measure(admin: psycopg.Connection, wire: Counted, arguments: argparse.Namespace) -> list[str]:
    """Run the service; return its figures as texts."""
    environment = {
        **os.environ,
        "DATABASE_URL": wire.url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_WEB__PORT": "0",
    }
    command = [sys.executable, "-m", "sweeper", "run"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as service:
        time.sleep(20)
        transactions, counts, cpu = _transactions(admin), wire.counts.copy(), _cpu(service.pid)
        time.sleep(arguments.minutes * 60)
        counts = wire.counts - counts
        cpu, transactions = _cpu(service.pid) - cpu, _transactions(admin) - transactions
        took = latencies(admin, arguments.messages, arguments.pause)
        service.terminate()
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return [
        f"{counts['Z'] / arguments.minutes:.1f}",
        f"{transactions / arguments.minutes:.1f}",
        f"{counts['C'] / arguments.minutes:.1f}",
        f"{cpu / arguments.minutes / 60:.2%}",
        f"{statistics.median(took):.0f} ms",
        f"{cuts[98]:.0f} ms",
        f"{max(took):.0f} ms",
    ]


def _transactions(admin: psycopg.Connection) -> int:
    """Return how many transactions the service has ended; what this session adds is left out."""
    time.sleep(1.5)  # sessions report what they did after at most a second
    admin.execute("select pg_stat_clear_snapshot()")
    (number,) = admin.execute(TRANSACTIONS).fetchone() or (0,)
    return int(number)


def _cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure both modes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=3, help="to count for, in each mode")
    parser.add_argument("--messages", type=int, default=100, help="to send one by one")
    parser.add_argument("--pause", type=float, default=4.5, help="seconds between two, at least")
    arguments = parser.parse_args()
    logs.configure("error", "json", sys.stderr)
    figures = ("messages/min", "transactions/min", "statements/min", "CPU")
    table = Table("mode", *figures, "pick-up p50", "p99", "longest", title="An idle service")
    with tempfile.TemporaryDirectory(prefix="sweeper-idle-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Embedded(folder / "data")
        admin_url = make_url(server.url)
        wire = Counted(f"{admin_url.query['host']}/.s.PGSQL.5432")
        with psycopg.connect(server.url, autocommit=True) as admin:
            engine = create_engine(admin_url.set(drivername="postgresql+psycopg"))
            with engine.begin() as connection:
                create_platform(connection)
            engine.dispose()
            flags = {"database.url": server.url, "stock.taken_at": "checkout"}
            app = App.load(catalog.load("jobs"), flags=flags)
            app.migrate(install_pgmq=True)
            table.add_row("polling", *measure(admin, wire, arguments))
            app.migrate(with_notify=True)
            table.add_row("with the hint", *measure(admin, wire, arguments))
            app.close()
        server.stop()
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
