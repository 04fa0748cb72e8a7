"""The hint: notifications wake the watch, and whatever becomes of them, the polls go on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event, Thread

import psycopg
import pytest
from sqlalchemy import Connection, make_url, text
from structlog.testing import capture_logs
from structlog.types import EventDict

from jobs.demo.shop import Shop
from sweeper.admin.migrate import notify
from sweeper.app import App
from sweeper.cli.doctor import examine
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.outbound.worker import OutboundWorker
from sweeper.postgres.listener import listener
from sweeper.service import hint as hint_module
from sweeper.service.hint import Hint
from sweeper.service.loops import Loops
from sweeper.service.outage import Outage
from sweeper.worker.drain import Drain
from tests.support.network import network_proxy
from tests.support.verbs import HOUR, MS, QUEUE, OpenApp, send

FOR_EVER = timedelta(days=1)
LISTENS = (
    "from pg_stat_activity where datname = current_database()"
    " and pid <> pg_backend_pid() and query like 'listen %'"
)


@dataclass
class Running:
    """The loops of a service with a hint: how long its watch rests, and what it logs."""

    loops: Loops
    health: Health
    lines: list[EventDict]
    rests: list[timedelta] = field(default_factory=list)

    def logged(self, event: str) -> list[EventDict]:
        """Return the logged lines of one event."""
        return [line for line in self.lines if line["event"] == event]

    def rests_for(self, length: timedelta) -> bool:
        """Return whether the watch rests for so long now."""
        return self.rests[-1:] == [length]


@contextmanager
def running(app: App) -> Iterator[Running]:
    """Run the loops of the service, and its hint."""
    health = Health({}, app.settings.queue.poll_max, {}, timedelta(minutes=1))
    workers: dict[str, Drain | OutboundWorker] = {
        "drain 1": app.drain(),
        "outbound": app.outbound(),
    }
    loops = Loops(app, workers, Stats(), health, Outage())
    loops.hint = Hint(app, loops.look)
    paused = loops._paused
    with capture_logs() as lines:
        service = Running(loops, health, lines)

        def pause(rest: timedelta, coming: timedelta | None) -> bool:
            service.rests.append(rest)
            return paused(rest, coming)

        loops._paused = pause  # type: ignore[method-assign]
        threads = [Thread(target=loop) for loop in loops.threads().values()]
        for thread in threads:
            thread.start()
        loops.hint.start()
        try:
            yield service
        finally:
            loops.stopping.set()
            loops.wake()
            loops.hint.stop()
            for thread in threads:
                thread.join()


def until(holds: Callable[[], object]) -> None:
    """Return once *holds* is true."""
    for _ in range(1_000):
        if holds():
            return
        Event().wait(0.01)
    pytest.fail("the condition did not become true within ten seconds")


@pytest.fixture
def notifying(app: App) -> None:
    """Have pgmq notify of new messages."""
    assert 4 == len(notify(app.database, app.queues))


def open_patient(open_app: OpenApp, **settings: str) -> App:
    """Open an app that polls often, but for a day not at all while it has the hint."""
    defaults = {"queue__poll_min": "10ms", "queue__poll_max": "50ms", "queue__poll_hint": "1d"}
    return open_app(**defaults | settings)


def cancelled(shop: Shop, app: App, delay: int = 0) -> Callable[[], bool]:
    """Send the job of an order that is due, as the platform would; return whether it is done."""
    order = shop.order(age=HOUR)
    if delay:
        app.enqueue("ORDER_EXPIRE_DP", {"orderId": order}, delay=timedelta(seconds=delay))
    else:
        send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    return lambda: shop.status(order) == "cancelled"


@pytest.mark.usefixtures("notifying")
def test_a_notification_wakes_a_watch_that_rests_for_long(open_app: OpenApp, shop: Shop) -> None:
    """L10: notifications only spare polls; the workers read as ever."""
    app = open_patient(open_app)
    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        until(cancelled(shop, app))
        until(lambda: service.rests_for(FOR_EVER))
        until(cancelled(shop, app))

        assert [86_400.0] == [line["poll_seconds"] for line in service.logged("hint.gained")]
        assert [] == service.health.ready()


@pytest.mark.usefixtures("notifying")
def test_a_delayed_message_is_found_when_it_becomes_visible(open_app: OpenApp, shop: Shop) -> None:
    """L2: nobody notifies of that moment, so the watch knows it beforehand."""
    app = open_patient(open_app)
    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        done = cancelled(shop, app, delay=2)
        until(lambda: service.rests_for(FOR_EVER))

        until(done)


@pytest.mark.usefixtures("notifying")
def test_a_message_in_the_shadow_of_another_is_found(open_app: OpenApp, shop: Shop) -> None:
    """L2: for a while after a notification, pgmq sends no other."""
    app = open_patient(open_app)
    with app.database.transaction() as tx:
        tx.execute(text("update pgmq.notify_insert_throttle set throttle_interval_ms = 3000"))
    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        until(cancelled(shop, app))
        Event().wait(0.5)  # so that the watch does not look so soon because of the first one
        until(cancelled(shop, app))


@pytest.mark.usefixtures("notifying")
def test_a_hint_that_is_lost_makes_room_for_polls_and_comes_back(
    open_app: OpenApp, shop: Shop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: it is told once, however often it cannot be regained."""
    monkeypatch.setattr(hint_module, "RETRIES", (100 * MS, 100 * MS))
    app, tries = open_patient(open_app), list[None]()
    opened = listener

    def refused(*_: object, **__: object) -> None:
        tries.append(None)
        raise ConnectionError

    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        monkeypatch.setattr(hint_module, "listener", refused)
        connection.execute(text(f"select pg_terminate_backend(pid) {LISTENS}"))
        until(lambda: len(tries) > 3)
        until(cancelled(shop, app))
        lost = len(service.logged("hint.lost"))
        monkeypatch.setattr(hint_module, "listener", opened)
        until(lambda: len(service.logged("hint.gained")) == 2)
        until(lambda: service.rests_for(FOR_EVER))
        until(cancelled(shop, app))

    assert (1, []) == (lost, service.logged("watch.failed"))


@pytest.mark.usefixtures("notifying")
def test_a_connection_that_is_cut_in_silence_delays_work_by_one_poll(
    open_app: OpenApp, shop: Shop, database_url: str
) -> None:
    """L10: no notification comes, and nothing says so."""
    with network_proxy(database_url) as network:
        direct = network.url(database_url)
        app = open_patient(open_app, queue__poll_hint="500ms", database__direct_url=direct)
        with running(app) as service:
            until(lambda: service.rests_for(500 * MS))
            network.freeze()
            until(cancelled(shop, app))

            assert [] == service.logged("hint.lost")
            network.restore()


@pytest.mark.parametrize(
    ("poll_hint", "statement", "reason"),
    [
        ("1d", "select", "pgmq does not notify of new messages in"),
        ("1d", "drop function pgmq.enable_notify_insert", "this pgmq has no notifications"),
        ("50ms", "select", "queue.poll_hint is no longer"),
    ],
)
def test_where_there_can_be_no_hint_the_queues_are_polled(
    open_app: OpenApp, shop: Shop, *, poll_hint: str, statement: str, reason: str
) -> None:
    """L10: NOTIFY is a hint; it is no fault to have none."""
    app = open_patient(open_app, queue__poll_hint=poll_hint)
    with app.database.transaction() as tx:
        tx.execute(text(statement))
    with running(app) as service:
        until(lambda: service.logged("hint.lacked"))
        until(cancelled(shop, app))
        until(lambda: service.rests_for(50 * MS))

    assert reason in service.logged("hint.lacked")[0]["reason"]
    assert 50 * MS == max(service.rests)


def test_a_pgmq_that_has_no_throttle_yet_notifies_too(
    open_app: OpenApp, shop: Shop, connection: Connection
) -> None:
    """L10: version 1.7 had a trigger without one."""
    connection.execute(text("drop function pgmq.list_notify_insert_throttles()"))
    connection.execute(text("drop function pgmq.enable_notify_insert(text, integer)"))
    connection.execute(text("drop table pgmq.notify_insert_throttle cascade"))
    connection.execute(
        text(
            "create or replace function pgmq.notify_queue_listeners() returns trigger"
            " language plpgsql as $$ begin"
            " perform pg_notify('pgmq.' || tg_table_name || '.' || tg_op, null); return new; end $$"
        )
    )
    connection.execute(
        text(
            "create function pgmq.enable_notify_insert(queue_name text) returns void"
            " language plpgsql as $$ begin execute format('create constraint trigger notify"
            " after insert on pgmq.%I deferrable for each row"
            " execute function pgmq.notify_queue_listeners()', 'q_' || queue_name); end $$"
        )
    )
    app = open_patient(open_app)
    assert 4 == len(app.migrate(with_notify=True))
    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        until(cancelled(shop, app))


@pytest.mark.usefixtures("notifying")
def test_behind_a_pooler_without_a_direct_url_there_is_no_hint(
    open_app: OpenApp, shop: Shop, database_url: str
) -> None:
    """L10: a transaction pooler gives the session that listens to others."""
    pooled = make_url(database_url).update_query_dict({"pgbouncer": "true"})
    url = pooled.render_as_string(hide_password=False)
    app = open_patient(open_app, database__url=url, database__direct_url=url)
    with running(app) as service:
        until(lambda: service.logged("hint.lacked"))
        until(cancelled(shop, app))

    assert "behind a pooler" in service.logged("hint.lacked")[0]["reason"]


@pytest.mark.usefixtures("notifying")
def test_a_direct_url_to_another_database_fails_the_test_and_gives_no_hint(
    open_app: OpenApp, shop: Shop, server_url: str
) -> None:
    """L10: a notification is sent through the service's own URL, and must arrive."""
    app = open_patient(open_app, database__direct_url=server_url)
    with running(app) as service:
        until(lambda: service.logged("hint.lacked"))
        until(cancelled(shop, app))

    assert "did not arrive" in service.logged("hint.lacked")[0]["reason"]


@pytest.mark.usefixtures("notifying")
def test_a_throttle_that_was_lost_in_a_crash_is_no_hint(
    open_app: OpenApp, connection: Connection
) -> None:
    """L10: pgmq keeps it in an unlogged table, and notifies of nothing once that is empty."""
    connection.execute(text("truncate pgmq.notify_insert_throttle"))
    app = open_patient(open_app)
    with running(app) as service:
        until(lambda: service.logged("hint.lacked"))
    assert QUEUE in service.logged("hint.lacked")[0]["reason"]

    assert 4 == len(app.migrate(with_notify=True))
    with running(app) as service:
        until(lambda: service.logged("hint.gained"))


@pytest.mark.usefixtures("notifying")
def test_a_status_of_empty_queues_counts_as_a_look(open_app: OpenApp) -> None:
    """A heartbeat reads it anyway, so an idle service need not look as well."""
    app = open_patient(open_app)
    with running(app) as service:
        until(lambda: service.rests_for(FOR_EVER))
        looks, before = len(service.rests), service.loops._looked_at
        service.loops.saw(app.status_reader.read())
        assert service.loops._looked_at > before
        assert looks == len(service.rests)
        app.enqueue("STOCK_RELEASE", {"orderId": "o1"}, delay=HOUR)
        until(lambda: len(service.rests) > looks)
        until(lambda: service.rests_for(FOR_EVER))
        looks = len(service.rests)
        service.loops.saw(app.status_reader.read())
        until(lambda: len(service.rests) > looks)


def test_notifications_are_refused_while_a_role_could_not_send_any_more(
    open_app: OpenApp, admin: psycopg.Connection, connection: Connection
) -> None:
    """L2: pgmq's trigger runs with the rights of whoever sends."""
    app = open_app()
    admin.execute("create role sweeper_test_platform")
    try:
        columns = "insert (vt, message, headers)"
        connection.execute(text(f"grant {columns} on pgmq.q_{QUEUE} to sweeper_test_platform"))
        with pytest.raises(Exception, match="sweeper_test_platform could not send") as caught:
            app.migrate(with_notify=True)
        connection.execute(text(str(caught.value).partition("first: ")[2]))
        assert 4 == len(app.migrate(with_notify=True))
        connection.execute(text("grant usage on schema pgmq to sweeper_test_platform"))
        connection.execute(
            text(f"grant select (msg_id) on pgmq.q_{QUEUE} to sweeper_test_platform")
        )
        connection.execute(text("set role sweeper_test_platform"))
        connection.execute(text(f"select pgmq.send('{QUEUE}', '{{}}'::jsonb)"))
    finally:
        connection.execute(text("reset role"))
        connection.execute(text("drop owned by sweeper_test_platform"))
        admin.execute("drop role sweeper_test_platform")


def test_to_enable_notifications_twice_changes_nothing(app: App) -> None:
    assert 4 == len(app.migrate(with_notify=True))
    assert [] == app.migrate(with_notify=True)


def test_the_doctor_says_whether_there_is_a_hint_and_how_to_get_it(app: App) -> None:
    """Neither is a fault."""
    (before,) = [one for one in examine(app) if one.about == "hint"]
    app.migrate(with_notify=True)
    (after,) = [one for one in examine(app) if one.about == "hint"]

    assert ("ok", "ok") == (before.level, after.level)
    assert "an idle service polls every 2 s" in before.what
    assert "sweeper migrate --with-notify" in before.remedy
    assert ("new messages wake the service, which polls every 60 s", "") == (
        after.what,
        after.remedy,
    )


def test_the_doctor_warns_of_a_role_that_cannot_send_any_more(
    app: App, admin: psycopg.Connection, connection: Connection
) -> None:
    app.migrate(with_notify=True)
    admin.execute("create role sweeper_test_platform")
    try:
        connection.execute(text(f"grant insert on pgmq.q_{QUEUE} to sweeper_test_platform"))
        (warning, _) = [one for one in examine(app) if one.about == "hint"]
        connection.execute(text(warning.remedy))
        (fine,) = [one for one in examine(app) if one.about == "hint"]
    finally:
        connection.execute(text("drop owned by sweeper_test_platform"))
        admin.execute("drop role sweeper_test_platform")

    assert ("warning", "ok") == (warning.level, fine.level)
    assert "sweeper_test_platform may insert" in warning.what
