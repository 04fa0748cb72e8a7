"""A Postgres for each phase: copied from a prepared one, stopped, restarted, promoted."""

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from jobs.demo.shop import create_platform
from sweeper import catalog
from sweeper.app import App
from sweeper.postgres.embedded import Embedded

DATABASE = "postgres"
MAX_CONNECTIONS = 60
HOST = "127.0.0.1"

# Everything else is as Postgres comes: what has committed is on the disk.
_SETTINGS = f"""
listen_addresses = '{HOST}'
unix_socket_directories = ''
max_connections = {MAX_CONNECTIONS}
track_commit_timestamp = on
wal_keep_size = 128MB
max_wal_size = 128MB
"""

# What infrastructure costs: every message that ends after more than one read, or with a retry.
_WATCH = """
create schema watched;
create table watched.spent (queue text, msg_id bigint, crashes int, attempts int, message jsonb);
create function watched.note() returns trigger language plpgsql as $$ begin
    insert into watched.spent values (tg_table_name, old.msg_id, old.read_ct - 1,
        coalesce(cast(old.message ->> 'retryCount' as int), 0), old.message);
    return null;
end $$;
"""
_WATCH_QUEUE = """
create trigger spent after delete on pgmq.q_{0} for each row
    when (old.read_ct > 1 or coalesce(cast(old.message ->> 'retryCount' as int), 0) > 0)
    execute function watched.note();
"""


class Prepared:
    """A stopped server's folder with the platform's tables and our queues, ready to be copied."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o755)  # the server may run as another user
        embedded = Embedded(folder / "embedded")
        self._server: Any = embedded._server
        self.binaries = Path(self._server.bin_path)
        self.user: str | None = self._server.system_user
        self.folder = folder / "prepared"
        try:
            _prepare(embedded.url)
            self._server.stop()
            self._server._postmaster_info = None  # so that it is not stopped again
            copy(folder / "embedded", self.folder)
        finally:
            embedded.stop()


def _prepare(url: str) -> None:
    app = App.load(catalog.load("jobs"), flags={"database.url": url})
    with app.database.transaction(schema_in_path=True) as tx:
        create_platform(tx)
    app.migrate(install_pgmq=True)
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(_WATCH)
        for queue in app.queues.live:
            session.execute(_WATCH_QUEUE.format(queue).encode())
    app.close()


def copy(source: Path, target: Path) -> None:
    """Copy a server's folder, and whose its files are."""
    subprocess.run(["cp", "-a", source, target], check=True)


class Postgres:
    """A server in *folder*, on a port of its own that stays the same when it is restarted."""

    def __init__(self, prepared: Prepared, folder: Path, settings: str = "") -> None:
        self._prepared = prepared
        self.folder = folder
        self.port = free_port()
        with (folder / "postgresql.conf").open("a") as file:
            file.write(f"{_SETTINGS}port = {self.port}\n{settings}")

    @property
    def address(self) -> str:
        """Its host and port."""
        return f"{HOST}:{self.port}"

    @property
    def url(self) -> str:
        """The URL of its database."""
        return url_of(self.address)

    def start(self) -> None:
        """Start it, and return when it lets clients in."""
        log = Path(f"{self.folder}.log")
        log.touch()
        if self._prepared.user:
            shutil.chown(log, self._prepared.user)
        self._control("start", "-t", "60", "-l", str(log))

    def stop(self, mode: str = "fast") -> None:
        """Stop it: fast ends its sessions, immediate is as though it was killed."""
        self._control("stop", "-m", mode)

    def stop_if_running(self) -> None:
        """Stop it as though it was killed, unless that has happened."""
        with suppress(subprocess.CalledProcessError):
            self.stop("immediate")

    def promote(self) -> None:
        """Make a standby take over, and return when it takes writes."""
        self._control("promote")

    def is_running(self) -> bool:
        """Return whether the server runs."""
        return self._run("pg_ctl", "-D", str(self.folder), "status").returncode == 0

    def standby(self, folder: Path) -> "Postgres":
        """Copy the running server to *folder* as its standby, not started yet."""
        folder.parent.chmod(0o777)
        backup = ("-D", str(folder), "-d", self.url, "-R", "-X", "stream", "-c", "fast")
        self._run("pg_basebackup", *backup).check_returncode()
        return Postgres(self._prepared, folder)

    def session(self) -> psycopg.Connection[Any]:
        """Open a session of the administrator, whose statements commit with themselves."""
        return psycopg.connect(self.url, autocommit=True, connect_timeout=5)

    def _control(self, *command: str) -> None:
        self._run("pg_ctl", "-w", "-D", str(self.folder), *command).check_returncode()

    def _run(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
        # Its output goes nowhere: the server inherits it, and would keep a pipe open.
        return subprocess.run(
            [self._prepared.binaries / program, *arguments],
            user=self._prepared.user if os.geteuid() == 0 else None,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )


@contextmanager
def postgres(prepared: Prepared, folder: Path, settings: str = "") -> Iterator[Postgres]:
    """Start a copy of the prepared server in *folder*; stop and delete it afterwards."""
    copy(prepared.folder, folder)
    server = Postgres(prepared, folder, settings)
    server.start()
    try:
        yield server
    finally:
        server.stop_if_running()
        shutil.rmtree(folder, ignore_errors=True)


def url_of(address: str, **parameters: str) -> str:
    """Return the URL of the database at *address*, which may name several hosts."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"postgresql://postgres@{address}/{DATABASE}" + (f"?{query}" if query else "")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
