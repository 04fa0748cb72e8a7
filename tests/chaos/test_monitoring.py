"""The alerts, on the log of a service in which everything goes wrong, and on that of a calm one.

The tools are those of Debian: mtail, promtool (in the package prometheus) and jq.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop
from sweeper.postgres import clock
from tests import conftest
from tests.support import log_schema
from tests.support.fake_provider import TOKEN, Behaviour, provider
from tests.support.paths import ROOT
from tests.support.verbs import DAY, HOUR, NOW

CONFIG = ROOT / "config" / "monitoring"
PAGE = (CONFIG / "recipes.md").read_text("utf-8")
RECIPES = re.findall(r"(?ms)^### (.+?)\n.*?^```sh\n(.+?)^```", PAGE)
PHONE = "0812-0001-0001"
FROZEN = (
    "import freezegun; from sweeper.cli.main import main; "
    f"freezegun.freeze_time({NOW.isoformat()!r}).start(); main()"
)

# What the service tells only after a quarter of an hour, or an hour, of trouble.
FORETOLD = """
import sys
from jobs.events import NOTIFICATION_FAILED
from sweeper import events, logs
logs.configure("info", "json", sys.stdout)
events.MESSAGE_WAITED.log(queue="jastipin_jobs", seconds=901)
events.BACKLOG_INCREASED.log(queue="jastipin_jobs", waiting=400, waited=100)
for key in ("c1", "c2", "c3", "c4", "c5"):
    NOTIFICATION_FAILED.log(key=key, event_type="ORDER_CANCELLED", to="+62********01", error="x")
"""


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Skip the test without *tool*, and name the package to install."""
    missing = shutil.which(tool) is None
    return pytest.mark.skipif(missing, reason=f"NOT TESTED without {tool}: apt install {package}")


needs_mtail = needs("mtail", "mtail")
needs_promtool = needs("promtool", "prometheus")
needs_jq = needs("jq", "jq")


@dataclass(frozen=True, slots=True)
class ServiceRun:
    """One run of the service: its log, and its last response of /metrics."""

    log: Path
    metrics: str


@pytest.fixture(scope="module")
def troubled(
    server_url: str, admin: psycopg.Connection, template: str, tmp_path_factory: Any
) -> ServiceRun:
    """Run a service that has all the troubles at once."""
    log: Path = tmp_path_factory.mktemp("troubled") / "log.jsonl"
    with conftest._new_database(admin, template) as name, provider("fonnte") as fonnte:
        url = conftest._with_database(server_url, name)
        add_troubles(url)
        fonnte.behaviour = Behaviour.BAD_TOKEN
        settings = {
            "SWEEPER_RETRY__MAX_RETRIES": "0",
            "SWEEPER_SAFETY__MAX_PER_SWEEP": "3",
            "SWEEPER_WHATSAPP__PROVIDER": "fonnte",
            "SWEEPER_WHATSAPP__BASE_URL": fonnte.url,
            "SWEEPER_WHATSAPP__TOKEN": TOKEN,
        }
        with service(url, log, settings) as metrics:
            wait_until(lambda: logged(log, "job.dead") and logged(log, "lane.blocked"))
            dead = len(logged(log, "service.heartbeat"))
            wait_until(lambda: len(logged(log, "service.heartbeat")) > dead + 1)
            exposed = metrics()
        skewed = subprocess.run(
            [sys.executable, "-c", FROZEN, "sweep", "--json"],
            env=environment(url),
            capture_output=True,
            text=True,
            check=False,
        )
    foretold = run_tool(sys.executable, "-c", FORETOLD)
    with log.open("a") as appended:
        appended.writelines(re.findall(r"(?m)^{.*\n", skewed.stderr))
        appended.write(foretold)
    return ServiceRun(log, exposed)


@pytest.fixture(scope="module")
def calm(
    server_url: str, admin: psycopg.Connection, template: str, tmp_path_factory: Any
) -> ServiceRun:
    """Run a service that has no trouble."""
    log: Path = tmp_path_factory.mktemp("calm") / "log.jsonl"
    with conftest._new_database(admin, template) as name:
        url = conftest._with_database(server_url, name)
        with service(url, log, {}) as metrics:
            wait_until(
                lambda: any(beat["status"] == "UP" for beat in logged(log, "service.heartbeat"))
            )
            exposed = metrics()
    return ServiceRun(log, exposed)


def add_troubles(url: str) -> None:
    """Add an unpaid order, a stuck one, five unanswered ones, an old refund, a hidden message."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool)
    with engine.begin() as connection:
        shop = Shop(connection, clock.now())
        shop.order(age=HOUR)
        stuck = shop.order(age=HOUR)
        for _ in range(5):
            shop.order(status="awaiting_validation", age=3 * DAY, paid_ago=2 * DAY)
        connection.execute(
            text(
                "create function refuse() returns trigger language plpgsql as"
                f" $$ begin raise 'no way for {PHONE}'; end $$;"
                'create trigger refuse before update on "Order" for each row'
                f" when (old.id = '{stuck}') execute function refuse()"
            )
        )
        connection.execute(text("select pgmq.send('jastipin_jobs', '{}', 1000000)"))
        connection.execute(
            text(
                "insert into sweeper.refund (order_id, amount, state, at)"
                " values ('c0', 50000, 'due', now() - interval '4 days')"
            )
        )


def environment(url: str, settings: Mapping[str, str] | None = None) -> dict[str, str]:
    every = {f"SWEEPER_RULES__{rule}__EVERY": "1s" for rule in ("EXPIRE_DP", "AUTO_REFUND")}
    return {
        **os.environ,
        "DATABASE_URL": url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
        "SWEEPER_SERVICE__HEARTBEAT_EVERY": "1s",
        "SWEEPER_QUEUE__POLL_MAX": "200ms",
        "SWEEPER_WEB__PORT": "0",
        **every,
        **(settings or {}),
    }


@contextmanager
def service(url: str, log: Path, settings: Mapping[str, str]) -> Iterator[Callable[[], str]]:
    """Run `sweeper run` with its log in a file; yield a function that returns its metrics."""
    with log.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run"], env=environment(url, settings), stdout=stdout
        )
    try:
        wait_until(lambda: logged(log, "web.opened"))
        (opened,) = logged(log, "web.opened")
        yield lambda: httpx.get(f"http://{opened['address']}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()


def logged(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines that were logged for one event."""
    return [line for line in log_schema.lines(log.read_text("utf-8")) if line["event"] == event]


def wait_until(holds: Callable[[], object]) -> None:
    for _ in range(1_500):
        if holds():
            return
        Event().wait(0.02)
    pytest.fail("the condition was not met within thirty seconds")


def run_tool(*command: str | Path, **options: Any) -> str:
    """Run a tool; return its output, or fail with it."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def mtail_metrics(log: Path) -> str:
    """Return the metrics that mtail derives from a log, in the format of Prometheus."""
    format_ = ("--one_shot", "--one_shot_format=prometheus", "--emit_prog_label=false")
    return run_tool("mtail", *format_, "--progs", CONFIG, "--logs", log)


def samples(exposed: str) -> dict[str, float]:
    """Return the samples of the sweeper in a scrape, by name and labels."""
    found = re.findall(r"^(sweeper_\S+) (\S+)$", exposed, re.MULTILINE)
    return {name: float(value) for name, value in found}


def firing_alerts(exposed: str, folder: Path) -> set[str]:
    """Return the alerts that promtool fires if the metrics stay the same for 15 minutes."""
    shutil.copy(CONFIG / "alerts.yml", folder)
    series = [
        {"series": f"{name}", "values": f"{value}x20"} for name, value in samples(exposed).items()
    ]
    wrong = {
        "expr": 'ALERTS{alertstate="firing"}',
        "eval_time": "15m",
        "exp_samples": [{"value": 1}],
    }
    test = {"interval": "1m", "input_series": series, "promql_expr_test": [wrong]}
    file = folder / "test.json"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": ["alerts.yml"], "tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", file], capture_output=True, text=True, check=False
    )
    return set(re.findall(r'alertname="(\w+)"', done.stdout + done.stderr))


# The log itself.


def test_every_log_line_matches_the_schema(troubled: ServiceRun, calm: ServiceRun) -> None:
    """The schema holds also where everything goes wrong; the log contains all the troubles."""
    events = {line["event"] for line in log_schema.lines(troubled.log.read_text("utf-8"))}

    assert {"job.dead", "scan.braked", "clock.skewed", "lane.blocked"} <= events
    assert {"info"} == {line["level"] for line in log_schema.lines(calm.log.read_text("utf-8"))}


def test_the_log_contains_no_phone_and_no_secret(troubled: ServiceRun) -> None:
    """L11: an error of the server names a phone, and the provider is called with a token."""
    log = troubled.log.read_text("utf-8")

    assert "no way for [phone]" in log
    assert not re.search("0001[^0-9]?0001", log)
    assert TOKEN not in log


# The tools that read the log.


@needs_mtail
def test_mtail_exposes_every_trouble(troubled: ServiceRun) -> None:
    found = samples(mtail_metrics(troubled.log))

    dead, overdue = found["sweeper_dead_letters"], found["sweeper_oldest_overdue_seconds"]
    assert (1, 1) == (dead, found["sweeper_database_up"])
    assert 86_400 <= overdue < 90_000
    assert found["sweeper_heartbeat_timestamp_seconds"] > NOW.timestamp()
    assert found["sweeper_clock_skew_seconds"] < -86_400
    assert 4 * 86_400 <= found["sweeper_refunds_oldest_owed_seconds"] < 4.1 * 86_400
    assert 0 <= found["sweeper_queue_oldest_ready_seconds"] < 600
    assert 0 <= found['sweeper_queue_messages{queue="all",state="waiting"}'] < 100
    assert 1 == found['sweeper_brake_held{rule="auto_refund"}']
    assert 0 == found['sweeper_brake_held{rule="expire_dp"}']
    assert 1 == found['sweeper_lane_blocked{type="NOTIFICATION_SEND_WHATSAPP"}']
    assert 1 == found['sweeper_events_total{event="job.dead",level="error"}']


@needs_mtail
@needs_promtool
def test_the_log_alone_fires_every_alert(
    troubled: ServiceRun, calm: ServiceRun, tmp_path: Path
) -> None:
    expected = {
        "SweeperJobDead",
        "SweeperMessageHidden",
        "SweeperBrakeHeld",
        "SweeperClockSkewed",
        "SweeperOrderOverdue",
        "SweeperRefundOwedTooLong",
        "SweeperProviderRefuses",
    }

    assert expected == firing_alerts(mtail_metrics(troubled.log), tmp_path)
    assert set() == firing_alerts(mtail_metrics(calm.log), tmp_path)


@needs_promtool
def test_the_metrics_fire_the_same_alerts(
    troubled: ServiceRun, calm: ServiceRun, tmp_path: Path
) -> None:
    """All but the clock's alert: the clock of the scraped service was right."""
    expected = {
        "SweeperJobDead",
        "SweeperMessageHidden",
        "SweeperBrakeHeld",
        "SweeperOrderOverdue",
        "SweeperRefundOwedTooLong",
        "SweeperProviderRefuses",
    }

    assert expected == firing_alerts(troubled.metrics, tmp_path)
    assert set() == firing_alerts(calm.metrics, tmp_path)


@needs_jq
@pytest.mark.parametrize(("trouble", "command"), RECIPES, ids=[name for name, _ in RECIPES])
def test_a_recipe_prints_lines_only_where_there_is_trouble(
    trouble: str, command: str, troubled: ServiceRun, calm: ServiceRun, tmp_path: Path
) -> None:
    """A script replaces journalctl."""
    journal = tmp_path / "journalctl"
    journal.write_text('#!/bin/sh\necho "not JSON"\ncat "$LOG"\n')
    journal.chmod(0o755)
    silent = tmp_path / "silent.jsonl"
    silent.touch()
    path = f"{tmp_path}:{os.environ['PATH']}"

    printed = {
        log: run_tool("sh", "-c", command, env={"PATH": path, "LOG": str(log)})
        for log in (silent, troubled.log, calm.log)
    }

    assert [silent if trouble == "No heartbeat" else troubled.log] == [
        log for log, lines in printed.items() if lines
    ]


def test_every_alert_has_a_recipe() -> None:
    assert 11 == len(RECIPES)


def test_logql_queries_name_existing_events_and_fields() -> None:
    """Without Loki, the events and fields of the queries are compared with the schema."""
    queries = re.findall(r"`(\w+_over_time.+?)`", PAGE)
    events = set(re.findall(r'event="([\w.]+)"', "".join(queries)))
    fields = set(re.findall(r"unwrap (\w+)", "".join(queries)))

    assert 11 == len(queries)
    assert events <= log_schema.SCHEMA["$defs"].keys()
    heartbeat = log_schema.SCHEMA["$defs"]["service.heartbeat"]["properties"]
    assert {"hidden", "oldest_overdue_seconds"} == fields & heartbeat.keys()
    assert {"figures_refunds_oldest_owed_seconds"} == fields - heartbeat.keys()


# The rules, and the dashboard.


@needs_promtool
def test_the_alert_rules_are_valid() -> None:
    assert "SUCCESS" in run_tool(
        "promtool", "check", "rules", "--lint-fatal", CONFIG / "alerts.yml"
    )


@needs_promtool
def test_the_alert_rules_fire_when_they_should() -> None:
    run_tool("promtool", "test", "rules", Path(__file__).parent / "alerts.yml")


@needs_promtool
def test_prometheus_can_parse_the_dashboard(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expr}
        for number, expr in enumerate(expressions("grafana.json"))
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(rules)} rules found" in run_tool("promtool", "check", "rules", file)


@needs_mtail
def test_every_metric_in_dashboard_and_alerts_exists(troubled: ServiceRun) -> None:
    """A panel for a metric that does not exist would stay empty."""
    known = set(re.findall(r"# TYPE (\w+)", troubled.metrics + mtail_metrics(troubled.log)))
    named = {
        re.sub("_bucket$", "", name)
        for file in ("grafana.json", "alerts.yml")
        for name in re.findall(r"\b(?:sweeper|process)_\w+", (CONFIG / file).read_text("utf-8"))
    }

    assert set() == named - known


@needs_promtool
def test_the_metrics_keep_the_conventions_of_prometheus(troubled: ServiceRun) -> None:
    run_tool("promtool", "check", "metrics", input=troubled.metrics)


def expressions(dashboard: str) -> list[str]:
    """Return all expressions of a dashboard, with values for its variables."""
    board = json.loads((CONFIG / dashboard).read_text("utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    targets += board["annotations"]["list"]
    return [
        target["expr"].replace("$__rate_interval", "2m").replace("$job", "sweeper")
        for target in targets
    ]
