"""The loops: only finished steps make the service ready, and loops that fail slow down."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Event, Thread
from time import monotonic

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs
from structlog.types import EventDict

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.job import Lane
from sweeper.ledger import Trigger
from sweeper.monitoring import health as health_module
from sweeper.monitoring.acts import ActFilter
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.outbound.worker import OutboundWorker
from sweeper.queue.look import Look, look
from sweeper.queue.pgmq import Queues
from sweeper.service import loops as loops_module
from sweeper.service.loops import Loops
from sweeper.service.outage import Outage
from sweeper.service.supervisor import Supervisor
from sweeper.service.upkeep import Upkeep
from sweeper.worker.drain import Drain
from tests.support.verbs import HOUR, OUTBOUND, QUEUE, Connect, OpenApp, send

READ = "pgmq.read(text, integer, integer, jsonb)"


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return an app that polls often."""
    return open_app(queue__poll_min="10ms", queue__poll_max="50ms")


@pytest.fixture(autouse=True)
def short_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the allowance for slow work."""
    monkeypatch.setattr(health_module, "SLOW", timedelta(seconds=1))


@contextmanager
def running(app: App) -> Iterator[tuple[Health, list[EventDict]]]:
    """Run the loops of the service; yield its health, and what it logs."""
    health = Health({}, app.settings.queue.poll_max, {}, timedelta(minutes=1))
    workers: dict[str, Drain | OutboundWorker] = {
        "drain 1": app.drain(),
        "outbound": app.outbound(),
    }
    loops = Loops(app, workers, Stats(), health, Outage())
    app.completer.observe = loops.observe
    threads = [Thread(target=loop) for loop in loops.threads().values()]
    with capture_logs() as lines:
        for thread in threads:
            thread.start()
        try:
            yield health, lines
        finally:
            loops.stopping.set()
            loops.wake()
            for thread in threads:
                thread.join()


def until(holds: Callable[[], object]) -> None:
    """Return once *holds* is true."""
    for _ in range(1_000):
        if holds():
            return
        Event().wait(0.01)
    pytest.fail("the condition did not become true within ten seconds")


def test_a_service_without_work_becomes_ready_by_a_read_that_claims(app: App) -> None:
    """L9: each worker reads once at the start, whether there is work or not."""
    with running(app) as (health, _):
        until(lambda: not health.ready())


def test_looks_at_the_queues_make_no_service_ready_whose_reads_all_fail(
    app: App, connection: Connection
) -> None:
    """L9: only a finished step counts."""
    connection.execute(text(f"alter function {READ} rename to read_no_more"))
    with running(app) as (health, lines):
        send(app, "STOCK_RELEASE", {"orderId": "o1"})
        until(lambda: len([line for line in lines if line["event"] == "worker.failed"]) > 3)

        assert "the queues were never read" in health.ready()


def test_work_that_no_step_finishes_makes_the_service_not_ready(
    app: App, connection: Connection
) -> None:
    """L9: it is ready again as soon as a step succeeds, and has not flooded the log meanwhile."""
    with running(app) as (health, lines):
        until(lambda: not health.ready())
        connection.execute(text(f"alter function {READ} rename to read_no_more"))
        send(app, "STOCK_RELEASE", {"orderId": "o1"})
        until(health.ready)
        (reason,) = health.ready()
        failed = [line for line in lines if line["event"] == "worker.failed"]
        broken = READ.replace("pgmq.read", "pgmq.read_no_more")
        connection.execute(text(f"alter function {broken} rename to read"))
        until(lambda: not health.ready())

    assert reason.startswith("no step of the database lane has succeeded")
    assert {Lane.DATABASE} == {line["lane"] for line in failed}
    assert len(failed) < 12


def test_a_look_that_waits_too_long_is_told_as_what_it_was(
    open_app: OpenApp, connect: Connect
) -> None:
    """L9: the database is there; what failed is the look."""
    app = open_app(queue__poll_min="10ms", queue__poll_max="50ms", database__lock_timeout="50ms")
    holder = connect()
    holder.execute(text(f"lock table pgmq.q_{QUEUE} in access exclusive mode"))
    with running(app) as (_, lines):
        until(lambda: [line for line in lines if line["event"] == "watch.failed"])
    holder.rollback()

    assert "lock timeout" in next(line["error"] for line in lines if "error" in line)
    assert [] == [line for line in lines if line["event"] == "database.lost"]


def test_the_backlog_of_a_resting_lane_wakes_no_worker(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: visible messages that may not be called for are no work, and no cause to poll often."""
    app = open_app(queue__poll_min="1ms", queue__poll_max="16ms")
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"messageId": "cnotice"}, queue=OUTBOUND)
    steps, polls = list[None](), list[frozenset[str]]()

    def step(_worker: OutboundWorker) -> None:
        steps.append(None)

    def poll(connection: Connection, queues: Queues) -> Look:
        found = look(connection, queues)
        polls.append(found.ready)
        return found

    monkeypatch.setattr(OutboundWorker, "step", step)
    monkeypatch.setattr(OutboundWorker, "resting", True)
    monkeypatch.setattr(loops_module, "look", poll)
    with running(app) as (health, _):
        until(lambda: len(polls) >= 20)

        assert {frozenset({OUTBOUND})} == set(polls)
        assert len(steps) == 1, "the first read of the start, and no other"
        assert not health.ready()


def test_a_resting_lane_is_woken_when_its_pause_ends(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L10: a provider's return is not found later because the queues are looked at seldom."""
    app = open_app(queue__poll_min="20s", queue__poll_max="40s")
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"messageId": "cnotice"}, queue=OUTBOUND)
    steps, ends = list[float](), monotonic() + 1.0

    def left(_worker: OutboundWorker) -> timedelta:
        return timedelta(seconds=max(0.0, ends - monotonic()))

    monkeypatch.setattr(OutboundWorker, "step", lambda _worker: steps.append(monotonic()))
    monkeypatch.setattr(OutboundWorker, "pause", property(left))
    with running(app):
        until(lambda: steps and steps[-1] >= ends)


@pytest.mark.usefixtures("frozen")
def test_a_scan_that_the_clocks_prevent_makes_no_service_ready(open_app: OpenApp) -> None:
    """L4, L9: only a completed scan counts."""
    app = open_app(safety__max_clock_skew="5s")
    health = Health({"expire_dp": timedelta(minutes=1)}, timedelta(minutes=1), {}, timedelta())

    Loops(app, {}, Stats(), health, Outage()).scan(app.catalog.rule("expire_dp"))

    assert "expire_dp was never scanned" in health.ready()


@pytest.mark.usefixtures("frozen")
def test_work_that_the_clocks_prevent_is_told_as_that_and_not_as_a_bug(open_app: OpenApp) -> None:
    """L4: whoever reads the log at night is led to the clocks."""
    app = open_app(safety__max_clock_skew="5s")
    with running(app) as (_, lines):
        send(app, "STOCK_RELEASE", {"orderId": "o1"})
        until(lambda: len([line for line in lines if line["event"] == "clock.skewed"]) > 3)

        assert [] == [line for line in lines if line["event"] == "worker.failed"]


def test_a_scan_that_a_signal_asks_for_is_an_act_and_what_the_schedule_does_is_none(
    app: App, shop: Shop, connection: Connection
) -> None:
    """L7: also what a pause or the brake held, and what failed."""
    loops, rule = Supervisor(app)._loops, app.rules["expire_dp"]
    shop.order(age=HOUR)

    loops.scan(rule)
    loops.scan(rule, Trigger.SIGNAL)
    app.pauses.pause("expire_dp", None, "ratih", "why")
    loops.scan(rule, Trigger.SIGNAL)
    connection.execute(text("alter table sweeper.pause rename to elsewhere"))
    loops.scan(rule, Trigger.SIGNAL)

    acts = app.act_reader.read(ActFilter()).acts
    assert {("sweep", "expire_dp", "whoever sent SIGUSR1", "signal")} == {
        (act.action, act.subject, act.actor, act.origin) for act in acts
    }
    assert [
        ("failed", 'UndefinedTable: relation "sweeper.pause" does not exist'),
        ("refused", "it is paused"),
        ("done", "0 of 1 enqueued"),
    ] == [(act.outcome, act.detail) for act in acts]


@contextmanager
def quiet(app: App) -> Iterator[tuple[Upkeep, list[EventDict]]]:
    """Yield the upkeep without a service, and what it logs."""
    with capture_logs() as lines:
        yield Upkeep(app, Outage(), lambda _: False), lines


def test_what_the_heartbeat_saw_is_recorded(app: App, connection: Connection) -> None:
    """The status that it reads anyway is the sample, so that no other is read."""
    with quiet(app) as (upkeep, lines):
        status = app.status_reader.read()
        upkeep.saw(status)
        upkeep.record()

    sampled = "select figures from sweeper.history where overdue is not null"
    assert [dict(status.figures)] == [*connection.execute(text(sampled)).scalars()]
    assert [] == lines


def test_a_minute_that_cannot_be_recorded_is_told_and_made_up_for(
    app: App, connection: Connection
) -> None:
    """The service works on without its pictures."""
    with quiet(app) as (upkeep, lines):
        upkeep.saw(app.status_reader.read())
        connection.execute(text("alter table sweeper.history rename to no_history"))
        upkeep.record()
        assert ["history.unrecorded"] == [line["event"] for line in lines]
        connection.execute(text("alter table sweeper.no_history rename to history"))
        upkeep.record()

    sampled = "select count(*) from sweeper.history where overdue is not null"
    assert 1 == connection.execute(text(sampled)).scalar_one()


def test_a_minute_that_another_process_records_is_no_error(
    app: App, connection: Connection, connect: Connect
) -> None:
    connection.execute(text("insert into sweeper.lock values ('minutes', now())"))
    other = connect()
    other.execute(text("select 1 from sweeper.lock for update"))
    with quiet(app) as (upkeep, lines):
        upkeep.record()
    assert [] == lines
