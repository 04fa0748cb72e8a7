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


@contextmanager
def pgbouncer(server_url: str) -> Iterator[URL]:
    """Run PgBouncer for all databases of a server; yield its URL.

    Every login becomes the server's administrator, so that only the database's name matters.
    """
    assert PGBOUNCER, "pgbouncer is not installed"
    server = make_url(server_url)
    host = server.host or server.query["host"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="sweeper-pooler-"))
    folder.chmod(0o755)
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
    with subprocess.Popen([PGBOUNCER, "-q", *user, str(settings)]) as process:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            Event().wait(0.05)
        yield URL.create("postgresql", server.username, host="127.0.0.1", port=port)
        process.terminate()
    shutil.rmtree(folder)
