"""The alarms, on the log of a walk in which everything goes wrong, and on that of a calm one.

The tools are the real ones, of Debian: mtail, promtool (package prometheus) and jq.
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
    "import freezegun; from sweeper.cli import main; "
    f"freezegun.freeze_time({NOW.isoformat()!r}).start(); main()"
)


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    """Skip, and say what would have to be installed."""
    missing = shutil.which(tool) is None
    return pytest.mark.skipif(missing, reason=f"NOT TESTED without {tool}: apt install {package}")


needs_mtail = needs("mtail", "mtail")
needs_promtool = needs("promtool", "prometheus")
needs_jq = needs("jq", "jq")


@dataclass(frozen=True, slots=True)
class Walk:
    """What one run of the service left: its log, and its last /metrics."""

    log: Path
    metrics: str


@pytest.fixture(scope="module")
def troubled(
    server_url: str, admin: psycopg.Connection, template: str, tmp_path_factory: Any
) -> Walk:
    """Run a service into all the troubles at once."""
    log: Path = tmp_path_factory.mktemp("troubled") / "log.jsonl"
    with conftest._new_database(admin, template) as name, provider("fonnte") as fonnte:
        url = conftest._with_database(server_url, name)
        furnish(url)
        fonnte.behaviour = Behaviour.BAD_TOKEN
        settings = {
            "SWEEPER_RETRY__MAX_RETRIES": "0",
            "SWEEPER_SAFETY__MAX_PER_SWEEP": "3",
            "SWEEPER_WHATSAPP__PROVIDER": "fonnte",
            "SWEEPER_WHATSAPP__BASE_URL": fonnte.url,
            "SWEEPER_WHATSAPP__TOKEN": TOKEN,
        }
        with service(url, log, settings) as metrics:
            until(lambda: told(log, "job.dead") and told(log, "lane.blocked"))
            dead = len(told(log, "service.heartbeat"))
            until(lambda: len(told(log, "service.heartbeat")) > dead + 1)
            exposed = metrics()
        skewed = subprocess.run(
            [sys.executable, "-c", FROZEN, "sweep", "--json"],
            env=environment(url),
            capture_output=True,
            text=True,
            check=False,
        )
    with log.open("a") as appended:
        appended.writelines(re.findall(r"(?m)^{.*\n", skewed.stderr))
    return Walk(log, exposed)


@pytest.fixture(scope="module")
def calm(server_url: str, admin: psycopg.Connection, template: str, tmp_path_factory: Any) -> Walk:
    """Run a service that finds nothing to complain of."""
    log: Path = tmp_path_factory.mktemp("calm") / "log.jsonl"
    with conftest._new_database(admin, template) as name:
        url = conftest._with_database(server_url, name)
        with service(url, log, {}) as metrics:
            until(lambda: any(beat["status"] == "UP" for beat in told(log, "service.heartbeat")))
            exposed = metrics()
    return Walk(log, exposed)


def furnish(url: str) -> None:
    """Leave a cancellable order, one that cannot be, five unanswered ones and an old refund."""
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
    """Run `sweeper run` with its log in a file; lend the way to its metrics."""
    with log.open("wb") as stdout:
        process = subprocess.Popen(
            [sys.executable, "-m", "sweeper", "run"], env=environment(url, settings), stdout=stdout
        )
    try:
        until(lambda: told(log, "web.opened"))
        (opened,) = told(log, "web.opened")
        yield lambda: httpx.get(f"http://{opened['address']}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert 0 == process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()


def told(log: Path, event: str) -> list[dict[str, Any]]:
    """Return the lines of one event so far."""
    return [line for line in log_schema.lines(log.read_text("utf-8")) if line["event"] == event]


def until(holds: Callable[[], object]) -> None:
    for _ in range(1_500):
        if holds():
            return
        Event().wait(0.02)
    pytest.fail("it did not happen within thirty seconds")


def ran(*command: str | Path, **options: Any) -> str:
    """Run a tool; return what it prints, and fail with what it says where it fails."""
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def by_mtail(log: Path) -> str:
    """Return what mtail makes of a log, as Prometheus would scrape it."""
    format_ = ("--one_shot", "--one_shot_format=prometheus", "--emit_prog_label=false")
    return ran("mtail", *format_, "--progs", CONFIG, "--logs", log)


def samples(exposed: str) -> dict[str, float]:
    """Return the sweeper's samples of a scrape, by name and labels."""
    found = re.findall(r"^(sweeper_\S+) (\S+)$", exposed, re.MULTILINE)
    return {name: float(value) for name, value in found}


def alarms(exposed: str, folder: Path) -> set[str]:
    """Return the alerts that fire, by the real promtool, where a scrape stays as it is."""
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


def test_every_line_of_the_walk_is_as_promised(troubled: Walk, calm: Walk) -> None:
    """By the schema, even where everything goes wrong; and all the troubles are in it."""
    events = {line["event"] for line in log_schema.lines(troubled.log.read_text("utf-8"))}

    assert {"job.dead", "scan.braked", "clock.skewed", "lane.blocked"} <= events
    assert {"info"} == {line["level"] for line in log_schema.lines(calm.log.read_text("utf-8"))}


def test_no_phone_and_no_secret_is_in_it(troubled: Walk) -> None:
    """L11: the server's own error names a phone, the provider is called with a token."""
    log = troubled.log.read_text("utf-8")

    assert "no way for [phone]" in log
    assert not re.search("0001[^0-9]?0001", log)
    assert TOKEN not in log


# What tools make of it.


@needs_mtail
def test_mtail_counts_the_troubles(troubled: Walk) -> None:
    found = samples(by_mtail(troubled.log))

    dead, overdue = found["sweeper_dead_letters"], found["sweeper_oldest_overdue_seconds"]
    assert (1, 1) == (dead, found["sweeper_database_up"])
    assert 86_400 <= overdue < 90_000
    assert found["sweeper_heartbeat_timestamp_seconds"] > NOW.timestamp()
    assert found["sweeper_clock_skew_seconds"] < -86_400
    assert 4 * 86_400 <= found["sweeper_refunds_oldest_owed_seconds"] < 4.1 * 86_400
    assert 1 == found['sweeper_brake_held{rule="auto_refund"}']
    assert 0 == found['sweeper_brake_held{rule="expire_dp"}']
    assert 1 == found['sweeper_lane_blocked{type="NOTIFICATION_SEND_WHATSAPP"}']
    assert 1 == found['sweeper_events_total{event="job.dead",level="error"}']


@needs_mtail
@needs_promtool
def test_the_log_alone_raises_every_alarm(troubled: Walk, calm: Walk, tmp_path: Path) -> None:
    expected = {
        "SweeperJobDead",
        "SweeperBrakeHeld",
        "SweeperClockSkewed",
        "SweeperOrderOverdue",
        "SweeperRefundOwedTooLong",
        "SweeperProviderRefuses",
    }

    assert expected == alarms(by_mtail(troubled.log), tmp_path)
    assert set() == alarms(by_mtail(calm.log), tmp_path)


@needs_promtool
def test_the_metrics_raise_the_same_alarms(troubled: Walk, calm: Walk, tmp_path: Path) -> None:
    """All but the clock's: the service that was scraped had a good one."""
    expected = {
        "SweeperJobDead",
        "SweeperBrakeHeld",
        "SweeperOrderOverdue",
        "SweeperRefundOwedTooLong",
        "SweeperProviderRefuses",
    }

    assert expected == alarms(troubled.metrics, tmp_path)
    assert set() == alarms(calm.metrics, tmp_path)


@needs_jq
@pytest.mark.parametrize(("trouble", "command"), RECIPES, ids=[name for name, _ in RECIPES])
def test_a_recipe_prints_where_there_is_trouble_and_nowhere_else(
    trouble: str, command: str, troubled: Walk, calm: Walk, tmp_path: Path
) -> None:
    """A journal of our own stands in for journald's."""
    journal = tmp_path / "journalctl"
    journal.write_text('#!/bin/sh\necho "not JSON"\ncat "$LOG"\n')
    journal.chmod(0o755)
    silent = tmp_path / "silent.jsonl"
    silent.touch()
    path = f"{tmp_path}:{os.environ['PATH']}"

    said = {
        log: ran("sh", "-c", command, env={"PATH": path, "LOG": str(log)})
        for log in (silent, troubled.log, calm.log)
    }

    assert [silent if trouble == "No heartbeat" else troubled.log] == [
        log for log, lines in said.items() if lines
    ]


def test_there_is_a_recipe_for_every_alarm() -> None:
    assert 7 == len(RECIPES)


def test_logql_names_what_exists() -> None:
    """There is no Loki to ask, but the events and the fields can be held to the schema."""
    queries = re.findall(r"`(\w+_over_time.+?)`", PAGE)
    events = set(re.findall(r'event="([\w.]+)"', "".join(queries)))
    fields = set(re.findall(r"unwrap (\w+)", "".join(queries)))

    assert 7 == len(queries)
    assert events <= log_schema.SCHEMA["$defs"].keys()
    beat = log_schema.SCHEMA["$defs"]["service.heartbeat"]["properties"]
    assert {"oldest_overdue_seconds"} == fields & beat.keys()
    assert {"figures_refunds_oldest_owed_seconds"} == fields - beat.keys()


# The rules, and the dashboard.


@needs_promtool
def test_the_alert_rules_are_rules() -> None:
    assert "SUCCESS" in ran("promtool", "check", "rules", "--lint-fatal", CONFIG / "alerts.yml")


@needs_promtool
def test_the_alert_rules_fire_when_they_should() -> None:
    ran("promtool", "test", "rules", Path(__file__).parent / "alerts.yml")


@needs_promtool
def test_the_dashboard_asks_what_prometheus_understands(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expr}
        for number, expr in enumerate(asked("grafana.json"))
    ]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))

    assert f"{len(rules)} rules found" in ran("promtool", "check", "rules", file)


@needs_mtail
def test_everything_that_is_asked_for_exists(troubled: Walk) -> None:
    """A dashboard that asks for a name that nobody exposes stays empty for ever."""
    known = set(re.findall(r"# TYPE (\w+)", troubled.metrics + by_mtail(troubled.log)))
    named = {
        re.sub("_bucket$", "", name)
        for file in ("grafana.json", "alerts.yml")
        for name in re.findall(r"\b(?:sweeper|process)_\w+", (CONFIG / file).read_text("utf-8"))
    }

    assert set() == named - known


@needs_promtool
def test_the_metrics_keep_prometheus_conventions(troubled: Walk) -> None:
    ran("promtool", "check", "metrics", input=troubled.metrics)


def asked(dashboard: str) -> list[str]:
    """Return every expression of a dashboard, its variables filled in."""
    board = json.loads((CONFIG / dashboard).read_text("utf-8"))
    targets = [target for panel in board["panels"] for target in panel["targets"]]
    targets += board["annotations"]["list"]
    return [
        target["expr"].replace("$__rate_interval", "2m").replace("$job", "sweeper")
        for target in targets
    ]
