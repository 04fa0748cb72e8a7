"""The reference of the metrics: what /metrics exposes, what is made of the log, and the alarms."""

import re
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from prometheus_client import Metric

from sweeper import catalog
from sweeper.monitoring import prometheus
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.monitoring.status import Dead, Server, Status
from tests.docs.markdown import code, page, table
from tests.support.paths import ROOT

CONFIG = ROOT / "config" / "monitoring"
_DAY = timedelta(days=1)
_ALARM = re.compile(
    r"- alert: (?P<name>\w+)\n +expr: (?P<expr>.*?)\n +(?:for|labels):"
    r".*?runbook_url: docs/(?P<runbook>\S+)",
    re.DOTALL,
)
_SUFFIXES = ("_total", "_bucket", "_sum", "_count")

_OPENING = """
`/metrics` has these in Prometheus's format; who may read it: [security.md](../security.md). A
gauge from the database is absent while the database cannot be read, rather than 0. Beside them
stand `process_*`: memory, processor time and open files of the process, as `prometheus_client`
names them.

A metric *of the log* is also made by `config/monitoring/sweeper.mtail`, under the same name, for
those who watch logs and do not scrape. The alarms are those of `config/monitoring/alerts.yml`;
each name leads to its section in the [runbook](../runbook.md). The panels of
`config/monitoring/grafana.json` ask for the same metrics.
""".strip()


def metrics_page() -> str:
    """Return docs/reference/metrics.md."""
    process, database = families()
    logged, alarms = in_the_log(), alarms_by_metric()
    head = ("metric", "meaning", "alarms")
    own = [name for name in logged if name not in {_name(one) for one in (*process, *database)}]
    log_only = [
        [f"{code(one)}<br>*gauge*", f"{_OF_THE_LOG[one]}<br>*only of the log*", alarms[one]]
        for one in own
    ]
    return page(
        "Metrics",
        [_OPENING],
        ["## Of the process"],
        table(head, [*(_row(one, logged, alarms) for one in process), *log_only]),
        ["## Of the database, and of the job files"],
        table(head, (_row(one, logged, alarms) for one in database)),
    )


_OF_THE_LOG = {"sweeper_heartbeat_timestamp_seconds": "When the last `service.heartbeat` came."}


def families() -> tuple[list[Metric], list[Metric]]:
    """Return every family of metrics: of the process, and of a database that can be read."""
    found = catalog.load("jobs")
    health = Health(dict.fromkeys(found.rules, _DAY), _DAY, {}, _DAY)
    health.read()
    status = Status(
        at=datetime.now(UTC).isoformat(),
        queues={},
        dead=Dead(0, 0.0),
        rules={},
        database=Server("", "", 0.0),
        figures={figure.name: 0.0 for figure in found.figures},
        pauses=(),
    )
    return (
        list(prometheus._process(Stats(), health, found.events)),
        list(prometheus._database(status, found.figures)),
    )


def in_the_log() -> list[str]:
    """Return the names of the metrics that mtail makes of the log."""
    text = (CONFIG / "sweeper.mtail").read_text("utf-8")
    return re.findall(r"(?m)^(?:gauge|counter) (\w+)", text)


def alarms_by_metric() -> Mapping[str, str]:
    """Return which alarms ask for each metric, with links to the runbook."""
    found = defaultdict[str, list[str]](list)
    for alarm in _ALARM.finditer((CONFIG / "alerts.yml").read_text("utf-8")):
        for metric in dict.fromkeys(re.findall(r"sweeper_\w+", alarm["expr"])):
            found[metric].append(f"[{alarm['name']}](../{alarm['runbook']})")
    return defaultdict(str, {metric: ", ".join(names) for metric, names in found.items()})


def _row(one: Metric, logged: list[str], alarms: Mapping[str, str]) -> list[str]:
    name = _name(one)
    labels = ", ".join(map(code, one._labelnames))  # type: ignore[attr-defined]
    kind = f"{one.type} by {labels}" if labels else one.type
    also = "<br>*also of the log*" if name in logged else ""
    return [f"{code(name)}<br>*{kind}*", f"{one.documentation}{also}", alarms[name]]


def _name(one: Metric) -> str:
    """Return the name under which a query asks for a metric; a histogram has three beside it."""
    return f"{one.name}_total" if one.type == "counter" else one.name
