"""One fault at every exchange with the database, one by one: then a clean sweep, and the oracle.

The short form has one fault at each exchange, each time another one; the long form has them all.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count, product
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text
from sqlalchemy.exc import DBAPIError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.postgres import clock
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from tests.bench.counting_proxy import CountingProxy
from tests.support.fake_provider import Behaviour, Provider, provider
from tests.support.faults import REFUSALS, Fault, Injector, Moment, in_a_child
from tests.support.judgement import (
    assert_as_expected,
    attempts_spent,
    hasty,
    snapshot,
    wrong_effects,
)
from tests.support.length import LONG
from tests.support.oracle import World
from tests.support.verbs import (
    DAY,
    HIGH,
    HOUR,
    OUTBOUND,
    OpenApp,
    broken,
    make_visible,
    messages,
    send,
    send_raw,
    session,
    sweep,
    wait_until_alone,
)

PIECES = 7
ENQUEUED = {"productId": "cake", "quantity": PIECES}
TABLES = text("""
    select format('%I.%I', schemaname, tablename) from pg_tables
     where schemaname in ('public', 'sweeper', 'pgmq') order by 1
""")
_number = count(1)


# The flows: what comes before each, and the work in which the fault comes.


def nothing(_app: App, _whatsapp: Provider) -> None:
    """Leave orders that are due, and a message."""


def before_handling(app: App, _whatsapp: Provider) -> None:
    """Scan, and send what is sorted out before it is handled: several keys, and no JSON object."""
    scan(app)
    send(app, "ORDER_EXPIRE_DP", {"orderIds": ["unpaid", "silent"]})
    send_raw(app, "42")


def before_delivering(app: App, _whatsapp: Provider) -> None:
    """Leave the notices, and one message that is in the wrong queue."""
    scan(app)
    handle(app)
    send(app, "STOCK_RELEASE", {"productId": "tea", "quantity": 1}, queue=OUTBOUND)


def before_retrying(app: App, whatsapp: Provider) -> None:
    """Let two orders die of a broken table, and one notice of an answer that no retry can help."""
    whatsapp.behaviours.append(Behaviour.BAD_REQUEST)
    with broken(app, "Order", "old.id <> 'unanswered'"):
        sweep(app)


def before_dropping(app: App, _whatsapp: Provider) -> None:
    """Let all due orders die of a broken table."""
    with broken(app, "Order"):
        sweep(app)


def scan(app: App) -> None:
    """Scan both rules."""
    sweep(app, scan_only=True)


def handle(app: App) -> None:
    """Work off the database lane."""
    worker = app.drain()
    while worker.step():
        pass


def deliver(app: App) -> None:
    """Work off the outbound lane as the service does, whose worker goes on after an error."""
    worker, goes_on = app.outbound(), True
    while goes_on:
        with suppress(DBAPIError):
            goes_on = worker.step() is not None


def enqueue(app: App) -> None:
    """Enqueue a job by hand."""
    app.enqueue("STOCK_RELEASE", ENQUEUED)


def retry(app: App) -> None:
    """Retry all dead letters."""
    app.dead_letter_queue.retry(DeadLetterFilter())


def drop(app: App) -> None:
    """Drop all dead letters; their orders are still due."""
    app.dead_letter_queue.drop(DeadLetterFilter())


def dry_run(app: App) -> None:
    """Say what a sweep would do."""
    sweep(app, dry_run=True)


FLOWS: dict[Callable[[App], None], Callable[[App, Provider], None]] = {
    scan: nothing,
    handle: before_handling,
    deliver: before_delivering,
    enqueue: nothing,
    retry: before_retrying,
    drop: before_dropping,
    dry_run: nothing,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A fault in a copy of a flow's database.

    number -- of the exchange; the flow has `exchanges` of them
    """

    number: int
    exchanges: int
    fault: Fault
    moment: Moment

    @property
    def loses_the_answer(self) -> bool:
        """Whether the server has done what was sent, and nobody was told."""
        return self.moment is Moment.AFTER and self.fault not in REFUSALS

    def __str__(self) -> str:
        return f"{self.fault.name} {self.moment} {self.number} of {self.exchanges}"


@dataclass(frozen=True, slots=True)
class Scene:
    """A database before its flow, of which each case gets a copy.

    world -- what the oracle knows of it
    spent -- the attempts that were spent on purpose
    """

    url: str
    flow: Callable[[App], None]
    world: World
    whatsapp: Provider
    spent: list[str]
    open_app: OpenApp
    admin: psycopg.Connection

    @contextmanager
    def copy(self) -> Iterator[str]:
        """Create a copy of the database; yield its URL."""
        url = make_url(self.url)
        name = f"{url.database}_{next(_number)}"
        self.admin.execute(f'create database "{name}" template "{url.database}"')
        try:
            yield url.set(database=name).render_as_string(hide_password=False)
        finally:
            self.admin.execute(f'drop database "{name}" with (force)')

    @contextmanager
    def app(self, url: str, **more: Any) -> Iterator[App]:
        """Open an app that makes one call at a time, so that every run is alike.

        On a busy machine this process may stand still for longer than a transaction may idle.
        """
        pace = self.whatsapp.settings(concurrency=1, rate=1000, timeout="5s")
        app = self.open_app(url=url, database__connect_timeout="60s", **pace, **more)
        try:
            yield app
        finally:
            self.open_app.close(app)

    def exchanges(self, server_url: str) -> tuple[int, int]:
        """Return how many exchanges open the connection, and how many there are in all.

        It runs the flow without a fault, through a proxy that must count as many.
        """
        injector, proxy = Injector(self.admin), CountingProxy(server_url)
        with self.copy() as url, self.app(proxy.url(url)) as app:
            injector.attach(app)
            with app.database.transaction():
                proxy.reset()  # the proxy would count the handshake, too
            opening = len(injector.sent)
            self.flow(app)
            assert proxy.round_trips == len(injector.sent) - opening
        proxy.disconnect()
        return opening, len(injector.sent)


@pytest.fixture(params=FLOWS, ids=lambda flow: flow.__name__)
def scene(
    request: pytest.FixtureRequest, open_app: OpenApp, database_url: str, admin: psycopg.Connection
) -> Iterator[Scene]:
    """Prepare the database of each flow."""
    flow, spent = request.param, list[str]()
    with provider("cloud") as whatsapp, session(database_url) as connection:
        add_orders(Shop(connection, clock.now()))
        world = snapshot(connection)
        scene = Scene(database_url, flow, world, whatsapp, spent, open_app, admin)
        with scene.app(database_url, retry__max_retries=0) as app:
            send(app, "STOCK_RELEASE", {"orderId": "ended", "shouldRefund": True}, queue=HIGH)
            FLOWS[flow](app, whatsapp)
        world.ask_release("ended")
        if flow is deliver:
            world.ask_restock("tea", 1)
        spent += attempts_spent(connection)
        connection.close()  # nobody may be in a database that is copied
        yield scene


def add_orders(shop: Shop) -> None:
    """Add orders that are due for both rules and share products, and orders that are not due."""
    tea, cake = shop.product(id="tea", stock=5), shop.product(id="cake", stock=0)
    unwilling = shop.guest(notify_whatsapp=False)
    shop.order(id="unpaid", age=HOUR, items=[(tea, 1), (cake, 2)])
    shop.order(id="silent", age=HOUR, product=cake, quantity=3, guest=unwilling)
    paid = {"status": "awaiting_validation", "age": DAY, "paid_ago": DAY}
    shop.order(id="unanswered", items=[(cake, 1)], **paid)  # type: ignore[arg-type]
    shop.order(id="ended", status="cancelled", age=HOUR, items=[(tea, 2)])
    shop.order(id="fresh", items=[(tea, 1)])
    shop.order(id="proven", age=HOUR, dp_proof_url="proof", items=[(tea, 1)])


def test_a_fault_at_any_exchange_loses_nothing_and_does_nothing_twice(
    scene: Scene, server_url: str
) -> None:
    """L1, L2, L3, L5, L8: by the oracle and the audit; and no attempt is spent."""
    opening, exchanges = scene.exchanges(server_url)
    skipped = 0 if LONG or scene.flow is scan else opening  # they are the same for all
    kinds, failed = list(product(Fault, Moment)), list[str]()
    cases = [
        Case(number, exchanges, *kind)
        for number in range(skipped + 1, exchanges + 1)
        for kind in (kinds if LONG else [kinds[number % len(kinds)]])
    ]
    for case in cases:
        try:
            with scene.copy() as url, session(url) as connection:
                strike(scene, case, url, connection)
        except Exception as error:  # noqa: BLE001 -- the others are struck, too
            failed.append(f"{case}: {error!r}")

    print(f"{scene.flow.__name__}: {len(cases)} faults at {exchanges} exchanges")  # noqa: T201 -- how much was covered
    assert not failed, "\n".join(failed)


def strike(scene: Scene, case: Case, url: str, connection: Connection) -> None:
    """Inject one fault, and let clean sweeps follow."""
    before, called = all_rows(connection), len(scene.whatsapp.deliveries)
    injector = Injector(scene.admin, case.number, case.fault, case.moment)
    with scene.app(url) as struck, scene.app(url) as fresh:
        injector.attach(struck)
        if case.fault is Fault.KILLED:
            assert in_a_child(lambda: scene.flow(struck))
            wait_until_alone(connection)
            app, ended = fresh, False
        else:
            app, ended = struck, run(scene.flow, struck)
            assert injector.fired
            app.give_back.retry()
        if scene.flow is dry_run:
            assert before == all_rows(connection)
            return
        world = copy.deepcopy(scene.world)
        if scene.flow is enqueue:
            sent = any(message.body["payload"] == ENQUEUED for message in messages(app, HIGH))
            assert sent == (ended or (case.loses_the_answer and case.number == case.exchanges))
            world.ask_restock("cake", PIECES if sent else 0)
        assert [] == wrong_effects(connection, world, clock.now())
        if case.fault is not Fault.KILLED:
            assert {(0, 0)} >= counts(app)
        recover(app, scene.flow)
        assert_as_expected(app, connection, world, clock.now())
        assert [] == hasty(connection, world)
        assert scene.spent == attempts_spent(connection)
    copies = Counter(str(each.body) for each in scene.whatsapp.deliveries[called:])
    assert copies.total() <= len(copies) + (case.fault is Fault.KILLED), copies


def run(flow: Callable[[App], None], app: App) -> bool:
    """Run a flow; return whether it ended without an error of the database."""
    with suppress(DBAPIError):
        flow(app)
        return True
    return False


def counts(app: App) -> set[tuple[int, int]]:
    """Return how often messages were read without a decision, and how often they were retried."""
    left = [message for queue in app.queues.live for message in messages(app, queue)]
    return {
        (message.read_ct, message.body["retryCount"] if isinstance(message.body, dict) else 0)
        for message in left
    }


def recover(app: App, flow: Callable[[App], None]) -> None:
    """Do again what an operator does by hand, and sweep until the queues are empty."""
    if flow in (retry, drop):
        flow(app)
    for _ in range(5):
        make_visible(app)
        sweep(app)
        if not any(messages(app, queue) for queue in app.queues.live):
            return


def all_rows(connection: Connection) -> dict[str, Any]:
    """Return all rows of all tables."""
    read = "select coalesce(json_agg(t order by t::text), '[]') from {} t"
    tables = connection.execute(TABLES).scalars().all()
    return {table: connection.exec_driver_sql(read.format(table)).scalar_one() for table in tables}
