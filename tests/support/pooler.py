"""A real PgBouncer in transaction mode, in front of the server of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from sqlalchemy import URL, make_url

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Pooler:
    """A PgBouncer for all databases of a server, on a port that stays the same.

    Every login becomes the server's administrator, so that only the database's name matters.
    """

    def __init__(self, server_url: str, folder: Path) -> None:
        assert PGBOUNCER, "pgbouncer is not installed"
        server = make_url(server_url)
        host = server.host or server.query["host"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"""
[databases]
* = host={host} port={server.port or 5432} user={server.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 5
max_client_conn = 500
server_round_robin = 1
"""
        )
        # PgBouncer refuses to run as root; the owner of the server's socket can connect to it.
        user = ["-u", Path(str(host)).owner() if str(host).startswith("/") else "nobody"]
        user = user if os.geteuid() == 0 else []
        self._command = [PGBOUNCER, "-q", *user, str(settings)]
        self._process: subprocess.Popen[bytes] | None = None
        self.url = URL.create("postgresql", server.username, host="127.0.0.1", port=port)

    def start(self) -> None:
        """Start it, and return when it accepts connections."""
        self._process = subprocess.Popen(self._command)
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.url.port)) == 0:
                    break
            Event().wait(0.05)

    def stop(self) -> None:
        """Stop it; the connections through it are closed."""
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Kill it, as though it had crashed."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def pooler(server_url: str) -> Iterator[Pooler]:
    """Run PgBouncer for all databases of a server; others may stop it and start it again."""
    folder = Path(tempfile.mkdtemp(prefix="sweeper-pooler-"))
    folder.chmod(0o755)
    running = Pooler(server_url, folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder)


@contextmanager
def pgbouncer(server_url: str) -> Iterator[URL]:
    """Run PgBouncer for all databases of a server; yield its URL."""
    with pooler(server_url) as running:
        yield running.url
