"""The faults: each is a context in which it lasts, and at whose end it is over."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread

import psycopg

from tests.reliability.postgres import MAX_CONNECTIONS
from tests.reliability.site import Site
from tests.reliability.small_disk import fill
from tests.support.fake_provider import Behaviour

OFTEN = 2.0  # seconds between two kills, or two stops of a rolling deploy
_TERMINATE = """
    select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'sweeper'
"""
_SCAN_LOCKS = """
    insert into sweeper.lock (name, taken_at)
    select 'scan.' || type, now() from unnest(array['ORDER_EXPIRE_DP', 'ORDER_AUTO_REFUND']) as type
    on conflict (name) do update set taken_at = now()
"""


@contextmanager
def every(seconds: float, act: Callable[[int], object]) -> Iterator[None]:
    """Act at once and then again after *seconds*, until the end of the context."""
    over = Event()

    def repeat() -> None:
        number = 0
        while not over.is_set():
            act(number)
            number += 1
            over.wait(seconds)

    thread = Thread(target=repeat, name="fault")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# The database.


@contextmanager
def postgres_down(site: Site) -> Iterator[None]:
    """Stop Postgres, as for an upgrade, and start it at the end."""
    site.server.stop("fast")
    yield
    site.server.start()


@contextmanager
def postgres_crash(site: Site) -> Iterator[None]:
    """Kill Postgres every two seconds, and let it recover."""

    def crash(_: int) -> None:
        site.server.stop("immediate")
        site.server.start()

    with every(OFTEN, crash):
        yield


@contextmanager
def backends_terminated(site: Site) -> Iterator[None]:
    """Have the server terminate all our connections every second."""
    with site.server.session() as session, every(1.0, lambda _: session.execute(_TERMINATE)):
        yield


@contextmanager
def no_connection_left(site: Site) -> Iterator[None]:
    """Terminate our connections, and hold every one that the server allows."""
    with ExitStack() as stack, site.server.session() as session:
        with suppress(psycopg.OperationalError):
            for _ in range(MAX_CONNECTIONS):
                session.execute(_TERMINATE)
                stack.enter_context(site.server.session())
        yield


@contextmanager
def pinned_xmin(site: Site) -> Iterator[None]:
    """Keep the snapshots of four readers, so that vacuum removes no dead row."""
    with ExitStack() as stack:
        for _ in range(4):
            reader = stack.enter_context(site.server.session())
            reader.execute("begin isolation level repeatable read")
            reader.execute('select count(*) from "Order"')
        yield


@contextmanager
def locked_table(site: Site) -> Iterator[None]:
    """Lock the table of the orders, as a careless migration does."""
    with site.server.session() as session, session.transaction():
        session.execute('lock table "Order" in exclusive mode')
        yield


@contextmanager
def squatted_locks(site: Site) -> Iterator[None]:
    """Hold the rows that are the locks of our scans, and an advisory lock of ours."""
    with site.server.session() as session, session.transaction():
        session.execute("select pg_advisory_xact_lock(hashtextextended('sweeper.migrate', 0))")
        session.execute(_SCAN_LOCKS)
        yield


@contextmanager
def disk_full(site: Site) -> Iterator[None]:
    """Fill the server's disk; make space at the end, and start the server if it has stopped."""
    ballast = fill(site.server.folder.parent)
    yield
    ballast.unlink()
    if not site.server.is_running():
        site.server.start()


@contextmanager
def failover(site: Site) -> Iterator[None]:
    """Kill the primary; promote its standby at the end."""
    assert site.standby is not None
    site.server.stop("immediate")
    yield
    site.standby.promote()


# The way to it.


@contextmanager
def half_open(site: Site) -> Iterator[None]:
    """Let nothing pass the network, and close no connection."""
    assert site.network is not None
    site.network.freeze()
    yield
    site.network.restore()


@contextmanager
def refused(site: Site) -> Iterator[None]:
    """Close all connections, and refuse new ones."""
    assert site.network is not None
    site.network.disconnect()
    yield
    site.network.restore()


@contextmanager
def far_and_shaky(site: Site) -> Iterator[None]:
    """Let all data take 100 ms each way, and one packet in a hundred end its connection."""
    assert site.network is not None
    site.network.delay, site.network.resets = 0.1, 0.01
    yield
    site.network.delay, site.network.resets = 0.0, 0.0


@contextmanager
def pooler_down(site: Site) -> Iterator[None]:
    """Kill PgBouncer, and start it at the end."""
    assert site.pooler is not None
    site.pooler.kill()
    yield
    site.pooler.start()


# Our own processes, and their host.


@contextmanager
def kills(site: Site) -> Iterator[None]:
    """Kill one of our processes every two seconds."""
    with every(OFTEN, lambda number: site.fleet.signal(number, signal.SIGKILL)):
        yield


@contextmanager
def rolling_deploy(site: Site) -> Iterator[None]:
    """Stop one process after the other, each when the one before is ready again."""

    def replace(number: int) -> None:
        site.fleet.signal(number, signal.SIGTERM)
        site.fleet.wait_until_ready(number)

    with every(OFTEN, replace):
        yield


@contextmanager
def clock_jumps(site: Site) -> Iterator[None]:
    """Set our host's clock an hour ahead, then an hour behind, in turns of two seconds."""
    assert site.clock is not None
    clock = site.clock

    def jump(number: int) -> None:
        _write(clock, "-3600" if number % 2 else "+3600")

    with every(OFTEN, jump):
        yield
    _write(clock, "+0")


def _write(clock: os.PathLike[str], text: str) -> None:
    """Replace the file at once, because a process may read it at any moment."""
    new = f"{os.fspath(clock)}.new"
    with open(new, "w", encoding="ascii") as file:  # noqa: PTH123 -- beside a path of any kind
        file.write(text)
    os.replace(new, clock)  # noqa: PTH105 -- likewise


# The provider of the messages.


@contextmanager
def provider_down(site: Site) -> Iterator[None]:
    """Refuse connections to the provider."""
    site.to_provider.disconnect()
    yield
    site.to_provider.restore()


@contextmanager
def provider_slow(site: Site) -> Iterator[None]:
    """Let each of the provider's answers take a second."""
    site.provider.latency = 1.0
    yield
    site.provider.latency = 0.0


@contextmanager
def provider_busy(site: Site) -> Iterator[None]:
    """Answer 429, and ask to wait for two seconds."""
    site.provider.retry_after = "2"
    with _answering(site, Behaviour.BUSY):
        yield


@contextmanager
def provider_garbage(site: Site) -> Iterator[None]:
    """Accept messages, and answer with an unrelated page."""
    with _answering(site, Behaviour.GARBAGE):
        yield


@contextmanager
def _answering(site: Site, behaviour: Behaviour) -> Iterator[None]:
    site.provider.behaviour = behaviour
    yield
    site.provider.behaviour = Behaviour.OK
