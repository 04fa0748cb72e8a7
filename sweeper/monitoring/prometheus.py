"""The metrics in the Prometheus text format, the only module that uses prometheus_client.

https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from sweeper import logs
from sweeper.catalog import Catalog
from sweeper.event import Event
from sweeper.exports import Figure
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Histogram, Stats
from sweeper.monitoring.status import Status
from sweeper.monitoring.version import version

TYPE = "text/plain; version=0.0.4; charset=utf-8"


def exposition(status: Status | None, stats: Stats, health: Health, catalog: Catalog) -> bytes:
    """Return the body of /metrics; *status* is None while the database cannot be read."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    of_process = _process(stats, health, catalog.events)
    registry.register(_Families(of_process, _database(status, catalog.figures)))
    return generate_latest(registry)


class _Families(Collector):
    """Collects metric families that were made in advance."""

    def __init__(self, *families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for families in self._families:
            yield from families


def _process(stats: Stats, health: Health, events: Iterable[Event]) -> Iterator[Metric]:
    scans, handling, waiting = stats.copy()
    built = GaugeMetricFamily(
        "sweeper_build_info", "Always 1; the version is its label.", labels=["version"]
    )
    built.add_metric([version()], 1)
    yield built
    yield _gauge("ready", "Whether the service does its work.", not health.ready())
    yield _gauge("active_jobs", "Jobs read and not yet settled.", stats.active())
    jobs = CounterMetricFamily(
        "sweeper_jobs", "Jobs by how they fared since the start.", labels=["outcome"]
    )
    for outcome in ("done", "skipped", "retried", "postponed", "dead"):
        jobs.add_metric([outcome], getattr(stats.jobs, outcome))
    yield jobs
    scanned = CounterMetricFamily(
        "sweeper_scans", "Scans since the start: ok, braked or failed.", labels=["rule", "outcome"]
    )
    for labels, count in scans.items():
        scanned.add_metric(labels, count)
    yield scanned
    yield _events(events)
    yield _gauges("lane_blocked", "Whether the outside world refuses us.", "type", stats.blocked())
    yield _histogram("job_handling_seconds", "A job's share of its batch's time.", handling)
    yield _histogram("job_waiting_seconds", "From being sent to being read.", waiting)
    yield _gauges("last_scan_age_seconds", "Since the last good scan.", "rule", health.scan_ages())
    if (age := health.read_age()) is not None:
        yield _gauge("last_read_age_seconds", "Since the last good look at the queues.", age)


def _database(status: Status | None, figures: Iterable[Figure]) -> Iterator[Metric]:
    """Yield the metrics from the database; they are absent, not 0, while it is unavailable."""
    yield _gauge("database_up", "Whether the database could be read.", status is not None)
    if status is None:
        return
    depths = GaugeMetricFamily(
        "sweeper_queue_messages", "Messages that wait or are worked.", labels=["queue", "state"]
    )
    for queue, depth in status.queues.items():
        for state in ("ready", "in_flight", "delayed"):
            depths.add_metric([queue, state], getattr(depth, state))
    yield depths
    oldest = {queue: depth.oldest_ready_seconds for queue, depth in status.queues.items()}
    yield _gauges("queue_oldest_ready_seconds", "Age of the oldest ready message.", "queue", oldest)
    yield _gauge("dead_letters", "Messages that only a person brings back.", status.dead.count)
    yield _gauge(
        "dead_letters_oldest_seconds", "Age of the oldest dead letter.", status.dead.oldest_seconds
    )
    yield _gauge("hidden_messages", "Messages that become visible too late.", status.hidden.count)
    paused = {pause.target: pause.seconds(status.at) for pause in status.pauses}
    yield _gauges("paused_seconds", "How long it has been paused.", "target", paused)
    ends = {pause.target: pause.ends_in(status.at) for pause in status.pauses}
    known = {target: seconds for target, seconds in ends.items() if seconds is not None}
    yield _gauges("pause_ends_in_seconds", "Until the pause ends by itself.", "target", known)
    for name, help_text, attribute in _RULES:
        values = {rule: float(getattr(one, attribute)) for rule, one in status.rules.items()}
        yield _gauges(name, help_text, "rule", values)
    held = {rule: float(one.last_sweep_ok is False) for rule, one in status.rules.items()}
    yield _gauges("brake_held", "Whether the last scan was stopped: too many due.", "rule", held)
    yield _gauge(
        "clock_skew_seconds", "This host ahead of the database.", status.database.skew_ms / 1000
    )
    for figure in (one for one in figures if one.name in status.figures):
        yield _gauge(figure.name, f"{figure.label.capitalize()}.", status.figures[figure.name])


_RULES = (
    ("overdue", "Rows that are due, queued or not.", "overdue"),
    (
        "oldest_overdue_seconds",
        "How long the oldest of them is beyond its limit.",
        "oldest_overdue_seconds",
    ),
    ("anomalies", "Rows that look due and must not be touched, up to 1,000.", "anomalies"),
)


def _events(events: Iterable[Event]) -> Metric:
    """Return how often each event was logged: 0 at first, so that its first increase is seen."""
    family = CounterMetricFamily(
        "sweeper_events", "Lines in the log since the start.", labels=["event", "level"]
    )
    counts = dict.fromkeys(((event.name, event.level) for event in events), 0)
    for labels, count in (counts | dict(logs.logged())).items():
        family.add_metric(labels, count)
    return family


def _gauge(name: str, help_text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"sweeper_{name}", help_text, value=float(value))


def _gauges(name: str, help_text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"sweeper_{name}", help_text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(name: str, help_text: str, histograms: Mapping[str, Histogram]) -> Metric:
    family = HistogramMetricFamily(f"sweeper_{name}", help_text, labels=["type"])
    for kind, histogram in histograms.items():
        limits = [*(str(bound) for bound in histogram.bounds), "+Inf"]
        buckets = list(zip(limits, map(float, accumulate(histogram.counts)), strict=True))
        family.add_metric([kind], buckets, histogram.total)
    return family
