"""The Postgres of the tests: embedded, in memory where there is room, and without durability."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg.sql import SQL

from sweeper.postgres.embedded import Embedded

# The data is not needed after the run, so it does not have to reach the disk.
_NO_DURABILITY = (
    "fsync = off",
    "synchronous_commit = off",
    "full_page_writes = off",
    "autovacuum = off",
)
_MINIMUM_FREE_BYTES = 2 << 30


@contextmanager
def embedded_server(major: int = 18) -> Iterator[str]:
    """Start a server for the length of the context; yield the URL of its administrator."""
    with TemporaryDirectory(prefix="sweeper-test-", dir=_memory_folder()) as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server may run as another user
        server = Embedded(folder / "data", major=major)
        try:
            with psycopg.connect(server.url, autocommit=True) as admin:
                for setting in _NO_DURABILITY:
                    admin.execute(SQL("alter system set ") + SQL(setting))
                admin.execute("select pg_reload_conf()")
            yield server.url
        finally:
            server.stop()


def _memory_folder() -> str | None:
    """Return a folder in memory with enough free space, or None if there is none."""
    folder = Path("/dev/shm")  # noqa: S108 -- the folder that is created in it has a unique name
    has_space = folder.is_dir() and shutil.disk_usage(folder).free > _MINIMUM_FREE_BYTES
    return str(folder) if has_space and os.access(folder, os.W_OK) else None
