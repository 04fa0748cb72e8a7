"""All that a phase runs on: a server, the platform's load, a provider, and our processes."""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event

from tests.reliability.fleet import Fleet
from tests.reliability.load import Load
from tests.reliability.missing import MissingError
from tests.reliability.postgres import Postgres, Prepared, postgres, url_of
from tests.reliability.small_disk import small_disk
from tests.support.fake_provider import Provider, provider
from tests.support.network import NetworkProxy, network_proxy
from tests.support.pooler import Pooler, pooler

PROCESSES = 2
RATE = 100

_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")

# With a clock of its own, libfaketime refuses the call that `time.sleep` makes.
_SLEEP = "import threading, time\ntime.sleep = lambda s: threading.Event().wait(s) and None\n"

SETTINGS = {
    "SWEEPER_STOCK__TAKEN_AT": "checkout",
    "SWEEPER_RULES__EXPIRE_DP__EVERY": "1s",
    "SWEEPER_RULES__AUTO_REFUND__EVERY": "1s",
    "SWEEPER_SAFETY__MAX_PER_SWEEP": "10000",
    "SWEEPER_WEB__ENABLED": "false",
    "SWEEPER_LOG__FORMAT": "json",
}
"""What is not at its default: an hour's work is done in seconds."""

_PACE = {"rate": 400, "concurrency": 32, "timeout": "10s"}


class Way(StrEnum):
    """How the service's connections get to the server."""

    DIRECT = "direct"
    NETWORK = "through a network that can be cut"
    POOLER = "through PgBouncer"


class Place(StrEnum):
    """What the server stands on."""

    DISK = "a disk with space"
    SMALL_DISK = "a small disk"
    PAIR = "a primary and its standby"


@dataclass(slots=True)
class Site:
    """A running site.

    clock -- the file that says how far the clock of our host is off; None where it cannot be
    """

    server: Postgres
    folder: Path
    load: Load
    fleet: Fleet
    provider: Provider
    to_provider: NetworkProxy
    network: NetworkProxy | None = None
    pooler: Pooler | None = None
    standby: Postgres | None = None
    clock: Path | None = None
    waiting: Event = field(default_factory=Event)

    def wait(self, seconds: float) -> None:
        """Let the time pass."""
        self.waiting.wait(seconds)

    @property
    def survivor(self) -> Postgres:
        """The server that takes writes now."""
        if self.standby is not None and not self.server.is_running():
            return self.standby
        return self.server


@dataclass(frozen=True, slots=True)
class Plan:
    """What a site is made of.

    settings -- of the service, beside SETTINGS
    far_clock -- whether the service's clock can be set apart from the server's
    """

    way: Way = Way.DIRECT
    place: Place = Place.DISK
    settings: Mapping[str, str] = field(default_factory=dict)
    far_clock: bool = False
    rate: int = RATE
    bystanders: tuple[str, ...] = ("y", "p", "x")


@contextmanager
def site(prepared: Prepared, plan: Plan) -> Iterator[Site]:
    """Build a site and start everything; end it all afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="sweeper-reliability-")))
        folder.chmod(0o755)  # the server may run as another user
        server, standby = _servers(stack, prepared, folder, plan)
        whatsapp = stack.enter_context(provider("cloud"))
        to_provider = stack.enter_context(network_proxy(whatsapp.url.replace("http", "postgresql")))
        url, network, bouncer = _way(stack, server, standby, plan.way)
        environment = {
            **SETTINGS,
            **_provider_settings(whatsapp, to_provider),
            **plan.settings,
            "DATABASE_URL": url,
        }
        clock = None
        if plan.far_clock:
            clock = folder / "clock"
            environment |= _clock(clock)
        platform_url = server.url if standby is None else url
        load = Load(platform_url, plan.rate, plan.bystanders)
        fleet = Fleet(PROCESSES, environment, folder)
        made = Site(
            server, folder, load, fleet, whatsapp, to_provider, network, bouncer, standby, clock
        )
        try:
            fleet.start()
            load.start()
            yield made
        finally:
            load.stop()
            fleet.kill()


def _servers(
    stack: ExitStack, prepared: Prepared, folder: Path, plan: Plan
) -> tuple[Postgres, Postgres | None]:
    data = folder / "data"
    if plan.place is Place.SMALL_DISK:
        stack.enter_context(small_disk(folder / "disk"))
        data = folder / "disk" / "data"
    server = stack.enter_context(postgres(prepared, data))
    if plan.place is not Place.PAIR:
        return server, None
    standby = server.standby(folder / "standby")
    standby.start()
    stack.callback(standby.stop_if_running)
    # What has committed is on both: nothing may be lost with the primary.
    with server.session() as session:
        session.execute("alter system set synchronous_standby_names = '*'")
        session.execute("select pg_reload_conf()")
    return server, standby


def _way(
    stack: ExitStack, server: Postgres, standby: Postgres | None, way: Way
) -> tuple[str, NetworkProxy | None, Pooler | None]:
    """Return the service's URL, and what stands between it and the server."""
    if standby is not None:
        both = f"{server.address},{standby.address}"
        return url_of(both, target_session_attrs="read-write"), None, None
    match way:
        case Way.NETWORK:
            network = stack.enter_context(network_proxy(server.url))
            return url_of(f"127.0.0.1:{network.port}"), network, None
        case Way.POOLER:
            running = stack.enter_context(pooler(server.url))
            return url_of(f"127.0.0.1:{running.url.port}", pgbouncer="true"), None, running
        case Way.DIRECT:
            return server.url, None, None


def _provider_settings(whatsapp: Provider, proxy: NetworkProxy) -> dict[str, str]:
    given = whatsapp.settings(**_PACE, base_url=f"http://127.0.0.1:{proxy.port}")
    return {f"SWEEPER_{name.upper()}": str(value) for name, value in given.items()}


def _clock(file: Path) -> dict[str, str]:
    """Return the environment of a process whose clock is as far off as *file* says."""
    if not _FAKETIME.exists():
        message = "libfaketime is not installed: apt-get install faketime"
        raise MissingError(message)
    file.write_text("+0")
    patch = file.with_name("site") / "sitecustomize.py"
    patch.parent.mkdir()
    patch.write_text(_SLEEP)
    return {
        "PYTHONPATH": f"{patch.parent}:{os.environ.get('PYTHONPATH', '')}",
        "LD_PRELOAD": str(_FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
