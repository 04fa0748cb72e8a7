"""What the figures were measured on: machine, load and versions, and nothing that names a host."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.bench.server import Server

_CPU = Path("/proc/cpuinfo")
_MODEL = re.compile(r"^model name\s*: (.+)$", re.MULTILINE)
_PACKAGES = (
    "psycopg",
    "sqlalchemy",
    "pgqueuer",
    "procrastinate",
    "awa-pg",
    "asyncpg",
    "uvloop",
)
BUSY = 0.5
"""The load at the start above which the figures are of a busy machine."""


def describe(server: Server) -> dict[str, str]:
    """Return what the page says about the machine and the versions."""
    return {**machine(), **_server(server), **_versions()}


def machine() -> dict[str, str]:
    """Return the machine, by what it has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = _MODEL.search(_CPU.read_text("utf-8")) if _CPU.exists() else None
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": found[1] if found else platform.machine(),
        "memory": f"{memory / 2**30:.0f} GiB",
        "load at the start": f"{load():.1f}",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
    }


def load() -> float:
    """Return how many processes have wanted to run in the last minute."""
    return os.getloadavg()[0]


def _server(server: Server) -> dict[str, str]:
    with server.copy(1) as url, server.session(url) as session:
        row = session.execute(
            "select current_setting('server_version'), "
            + ", ".join(f"current_setting('{name}')" for name in _SETTINGS)
        ).fetchone()
    assert row is not None
    settings = ", ".join(f"{name} {value}" for name, value in zip(_SETTINGS, row[1:], strict=True))
    return {"Postgres": f"{row[0]}, embedded, with its own defaults ({settings})"}


_SETTINGS = ("shared_buffers", "fsync", "synchronous_commit", "autovacuum")


def _versions() -> dict[str, str]:
    found = dict[str, str]()
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
