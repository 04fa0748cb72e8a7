"""The metrics: names that dashboard and alarms use, pauses with their ends, events from 0 on."""

import io
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from sweeper import catalog, events, logs
from sweeper.monitoring.health import Health
from sweeper.monitoring.prometheus import exposition
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Dead, Overdue, Server, Status
from sweeper.queue.inspect import Depth
from sweeper.queue.pause import Pause
from tests.support.paths import ROOT
from tests.support.verbs import DAY

CONFIG = ROOT / "config" / "monitoring"
AT = datetime(2026, 1, 31, 12, tzinfo=UTC)
CATALOG = catalog.load("jobs")


def metrics(*pauses: Pause) -> str:
    """Return the metrics of a service with a queue, a rule and these pauses."""
    status = Status(
        at=AT.isoformat(),
        queues={"jobs": Depth(1, 2, 3, 4.0, None)},
        dead=Dead(0, 0.0),
        rules={"expire_dp": Overdue(0, 0.0, 0, None, last_sweep_ok=None)},
        database=Server("1.5.1", "18.0", 0.0),
        figures={figure.name: 0.0 for figure in CATALOG.figures},
        pauses=pauses,
    )
    health = Health({"expire_dp": DAY}, DAY, {}, DAY)
    health.scanned("expire_dp")
    health.read()
    return exposition(status, Stats(), health, CATALOG).decode()


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_every_metric_of_dashboard_and_alarms_is_exposed_or_made_of_the_log(file: str) -> None:
    """A panel, or an alarm, of a metric that there is not would stay silent for ever."""
    made = re.findall(
        r"(?m)^(?:gauge|counter) (\w+)", (CONFIG / "sweeper.mtail").read_text("utf-8")
    )
    named = re.findall(r"\b(?:sweeper|process)_\w+", (CONFIG / file).read_text("utf-8"))

    known = {*re.findall(r"# TYPE (\w+)", metrics()), *made}

    assert set() == {name.removesuffix("_bucket") for name in named} - known


def test_every_panel_asks_for_a_metric_of_ours_or_for_an_alarm() -> None:
    board = json.loads((CONFIG / "grafana.json").read_text("utf-8"))
    asked = {panel["title"]: [one["expr"] for one in panel["targets"]] for panel in board["panels"]}

    assert [] == [
        title
        for title, asks in asked.items()
        if not all(re.search(rf'(sweeper|process)_\w+{{|alertname="{title}"', ask) for ask in asks)
    ]


def test_a_pause_tells_how_long_it_has_lasted_and_when_it_ends() -> None:
    hour = timedelta(hours=1)
    ends = Pause("jobs", AT - hour, AT + 2 * hour, "ann", "a look")
    over = Pause("expire_dp", AT - hour, AT - timedelta(minutes=5), "ann", "a look")
    endless = Pause("everything", AT - hour, None, "ann", "a look")

    found = re.findall(
        r'(?m)^sweeper_pause_ends_in_seconds{target="(\w+)"} (\S+)$', metrics(ends, over, endless)
    )

    assert [("jobs", "7200.0"), ("expire_dp", "-300.0")] == found


def test_lines_of_the_log_are_counted_from_zero_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus sees no increase to the first value that a counter has."""
    monkeypatch.setattr(logs, "_logged", Counter[tuple[str, str]]())
    logs.configure("info", "json", io.StringIO())
    counts = re.compile(r'(?m)^sweeper_events_total{event="([\w.]+)",level="\w+"} (\S+)$')
    before = dict(counts.findall(metrics()))

    for _ in range(2):
        events.SERVICE_RESUMED.log(target="jobs")

    assert {event.name for event in CATALOG.events} == before.keys()
    assert {"0.0"} == set(before.values())
    assert {("service.resumed", "2.0")} == set(counts.findall(metrics())) - set(before.items())
