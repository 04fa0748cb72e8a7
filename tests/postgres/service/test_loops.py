"""The service's loops: the watch wakes a worker only where it can work."""

from datetime import timedelta
from threading import Event, Thread
from typing import Any

import pytest
from sqlalchemy import Connection

from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.outbound.worker import OutboundWorker
from sweeper.queue.pgmq import Queues
from sweeper.service.loops import Loops
from sweeper.service.outage import Outage
from tests.support.verbs import OUTBOUND, SECOND, OpenApp, send

POLLS = 20


def test_the_backlog_of_a_resting_lane_wakes_no_worker(
    open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: visible messages that may not be called for are no work, and no cause to poll often."""
    app = open_app(queue__poll_min="1ms", queue__poll_max="16ms")
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"messageId": "cnotice"}, queue=OUTBOUND)
    steps, polled, polls, ready = list[None](), Event(), list[frozenset[str]](), Queues.ready

    def step(_worker: OutboundWorker) -> None:
        steps.append(None)

    def poll(queues: Queues, connection: Connection) -> frozenset[str]:
        polls.append(ready(queues, connection))
        if len(polls) >= POLLS:
            polled.set()
        return polls[-1]

    monkeypatch.setattr(OutboundWorker, "step", step)
    monkeypatch.setattr(OutboundWorker, "resting", True, raising=False)
    monkeypatch.setattr(Queues, "ready", poll)
    health = Health(scans={}, reads=SECOND, loops={}, patience=timedelta(minutes=1))
    stats = Stats(lambda: 0, dict[str, bool])
    loops = Loops(app, {"outbound": app.outbound()}, stats, health, Outage())
    threads: list[Any] = [Thread(target=run) for run in loops.threads().values()]
    for thread in threads:
        thread.start()
    assert polled.wait(30)
    loops.stopping.set()
    for thread in threads:
        thread.join()

    assert {frozenset({OUTBOUND})} == set(polls)
    assert steps == []
