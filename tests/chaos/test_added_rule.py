"""A rule that is added breaks no test: a copy of the tree gets one, and its tests are run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

RULE = '''
"""ORDER_TOY: a rule that is on, and finds orders of a status that there is not."""

from datetime import timedelta

from jobs.orders import OrderPayload, due_rows
from jobs.tables import ORDER
from sweeper import Event, Figure, JobType, Rule
from sqlalchemy import literal, select

TOY_PLAYED = Event("toy.played", "info", {"keys": "texts: orders"})
EVENTS = (TOY_PLAYED,)
JOB = JobType("ORDER_TOY", payload=OrderPayload, key="order_id", handler=lambda batch: None)
RULE = Rule(
    "toy",
    job=JOB,
    due=lambda cutoff: due_rows(
        (ORDER.c.status == "toy") & (ORDER.c.createdAt <= cutoff), ORDER.c.createdAt
    ),
    every=timedelta(minutes=1),
    older_than=timedelta(hours=1),
)
FIGURES = (Figure("toys", "toys", select(literal(0))),)
'''

# Those that ask what all rules, jobs, events and figures do.
TESTS = (
    "tests/unit/test_catalog.py",
    "tests/unit/test_events.py",
    "tests/unit/domain",
    "tests/unit/monitoring",
    "tests/unit/web",
    "tests/unit/queue/test_wire.py",
    "tests/unit/cli",
    "tests/unit/test_settings.py",
    "tests/unit/test_runbook.py",
    "tests/walk/test_walk.py",
    "tests/postgres/monitoring/test_status.py",
    "tests/postgres/monitoring/test_backlog.py",
    "tests/postgres/sweep/test_scan.py::test_a_sweep_of_an_empty_shop_finds_nothing",
    "tests/postgres/sweep/test_scan.py::test_the_rules_of_one_sweep_share_its_id",
    "tests/postgres/cli/test_doctor.py::test_migrate_creates_the_indexes",
    "tests/postgres/cli/test_commands.py::test_sweep_prints_a_report",
    "tests/postgres/cli/test_acts.py",
    "tests/postgres/web/test_readings.py",
    "tests/postgres/test_round_trips.py",
)

GENERATED = {"page": "docs/events.md", "schema": "config/monitoring/events.schema.json"}


def test_a_rule_that_is_added_breaks_no_test(tmp_path: Path) -> None:
    """One new file: not even a test has to be edited for it, and `make docs` lists its event."""
    for name in ("sweeper", "jobs", "tests", "config", "docs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "jobs" / "toy.py").write_text(RULE, "utf-8")

    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for what, file in GENERATED.items():
        with (tmp_path / file).open("wb") as output:
            reference = [sys.executable, "-m", "sweeper.cli.event_reference", what]
            subprocess.run(reference, cwd=tmp_path, env=environment, stdout=output, check=True)

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1_800,
        check=False,
    )

    assert 0 == ran.returncode, ran.stdout[-6_000:]
