"""Somebody else's job package: built and installed beside ours, and run by the same command."""

import json
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from tests.postgres.packages.distribution import install, project, sweeper

INIT = '"""Lockers, of somebody else."""\n'
FORGOTTEN = '''
"""PARCEL_FORGOTTEN: send back parcels that nobody took out of their locker."""

from datetime import timedelta

import typer
from sqlalchemy import ARRAY, Column, MetaData, Table, Text, any_, cast, func, select, update

from sweeper import Batch, Event, Figure, JobType, Payload, Rule, UtcTimestamp
from sweeper.cli.output import line

PARCEL = Table(
    "parcel",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("lockedIn", UtcTimestamp),
    Column("state", Text),
)
TABLES = (PARCEL,)


class Forgotten(Payload):
    """A parcel's id."""

    parcel_id: str


def waiting(cutoff):
    return (PARCEL.c.state == "in locker") & (PARCEL.c.lockedIn <= cutoff)


def due(cutoff):
    since = PARCEL.c.lockedIn
    found = select(PARCEL.c.id.label("parcel_id"), since.label("since"))
    return found.where(waiting(cutoff)).order_by(since)


PARCEL_RETURNED = Event("parcel.returned", "info", {"keys": "texts: parcels"})
EVENTS = (PARCEL_RETURNED,)


def send_back(batch: Batch[Forgotten]):
    in_batch = PARCEL.c.id == any_(cast(batch.keys, ARRAY(Text)))
    moved = update(PARCEL).where(in_batch, waiting(batch.cutoff)).values(state="sent back")
    ids = list(batch.tx.execute(moved.returning(PARCEL.c.id)).scalars())
    batch.claimed(dict.fromkeys(ids, True))
    batch.log(PARCEL_RETURNED, keys=ids)


JOB = JobType("PARCEL_FORGOTTEN", payload=Forgotten, key="parcel_id", handler=send_back)
RULE = Rule(
    "forgotten",
    job=JOB,
    due=due,
    every=timedelta(minutes=5),
    older_than=timedelta(hours=48),
)
FIGURES = (Figure("parcels", "parcels", select(func.count()).select_from(PARCEL)),)
COMMANDS = typer.Typer(help="Show lockers.", no_args_is_help=True)


@COMMANDS.callback()
def lockers():
    """Show lockers."""


@COMMANDS.command()
def doors():
    """Count the doors."""
    line("forty-two doors")
'''


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a distribution with a job package, and install it."""
    return install(
        tmp_path_factory.mktemp("lockers"),
        {
            "pyproject.toml": project("acme-lockers", lockers="acme_lockers.jobs"),
            "acme_lockers/__init__.py": INIT,
            "acme_lockers/jobs/__init__.py": INIT,
            "acme_lockers/jobs/forgotten.py": FORGOTTEN,
            "acme_lockers/broken/__init__.py": INIT,
            "acme_lockers/broken/late.py": '"""Late."""\n\nimport parcel_service\n',
        },
    )


@pytest.fixture
def parcels(connection: Connection) -> Connection:
    """Add a table of parcels to the platform, with one that was forgotten."""
    connection.execute(
        text('create table parcel (id text primary key, "lockedIn" timestamp(3), state text)')
    )
    connection.execute(
        text("insert into parcel values ('p1', now() - interval '3 d', 'in locker')")
    )
    return connection


@pytest.mark.parametrize(
    "jobs",
    [("--jobs", "jobs", "--jobs=lockers"), ("--jobs", "jobs,acme_lockers.jobs")],
    ids=["entry point", "module"],
)
def test_a_package_beside_ours_is_run_by_the_same_command(
    installed: Path, parcels: Connection, database_url: str, jobs: tuple[str, ...]
) -> None:
    """Its rule is scanned, its job done and written down, its event logged; ours is there too."""
    ours = {"DATABASE_URL": database_url, "SWEEPER_STOCK__TAKEN_AT": "never"}

    swept = sweeper(installed, *jobs, "sweep", "--json", **ours, SWEEPER_LOG__FORMAT="json")

    assert 0 == swept.returncode, swept.stderr
    rules = json.loads(swept.stdout)["rules"]
    assert (1, 0) == (rules["forgotten"]["enqueued"], rules["expire_dp"]["enqueued"])
    assert "sent back" == parcels.execute(text("select state from parcel")).scalar()
    assert "parcel.returned" in swept.stderr
    done = text("select key, outcome from sweeper.job_log where job_type = 'PARCEL_FORGOTTEN'")
    assert [("p1", "done")] == [tuple(row) for row in parcels.execute(done)]
    audit = sweeper(installed, *jobs, "audit", **ours)
    assert 0 == audit.returncode, audit.stdout


def test_a_package_alone_replaces_ours(installed: Path, bare_database_url: str) -> None:
    """By the environment, as the unit names it; the platform's own tables are not asked for."""
    alone = {"DATABASE_URL": bare_database_url, "SWEEPER_JOBS": "lockers"}
    missing = sweeper(installed, "migrate", "--install-pgmq", **alone)
    assert (69, True) == (missing.returncode, "tables are missing: parcel" in missing.stderr)

    config = sweeper(installed, "config", "--json", **alone)
    doors = sweeper(installed, "forgotten", "doors", **alone)

    assert "rules.forgotten.every" in config.stdout
    assert "expire_dp" not in config.stdout
    assert "forty-two doors\n" == doors.stdout


def test_commands_are_there_for_the_packages_that_are_named(installed: Path) -> None:
    ours, both = sweeper(installed, "--help"), sweeper(installed, "--jobs", "lockers", "--help")

    assert (True, False) == ("refunds" in ours.stdout, "forgotten" in ours.stdout)
    assert (False, True) == ("refunds" in both.stdout, "forgotten" in both.stdout)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("locker", "there is no job package 'locker'; installed: lockers"),
        ("acme_lockers.job", "there is no job package 'acme_lockers.job'; installed: lockers"),
        (
            "acme_lockers.broken",
            "broken.late cannot be imported: ModuleNotFoundError: No module named 'parcel_service'",
        ),
        ("json.tool", "json.tool is a single module; a job package is a folder with an __init__"),
    ],
)
def test_a_package_that_cannot_be_loaded_is_told_by_name(
    installed: Path, name: str, told: str
) -> None:
    """One or two lines that say what to do, and the exit code of invalid settings."""
    failed = sweeper(installed, "--jobs", name, "status")

    assert (78, "") == (failed.returncode, failed.stdout)
    assert told in failed.stderr
    assert len(failed.stderr.splitlines()) <= 3


def test_the_database_of_another_package_names_what_is_missing(
    installed: Path, parcels: Connection, database_url: str
) -> None:
    """Our tables were migrated there: whoever forgets to name our package is told so."""
    assert parcels
    alone = {"DATABASE_URL": database_url, "SWEEPER_JOBS": "lockers"}

    failed = sweeper(installed, "sweep", **alone)

    assert 69 == failed.returncode
    assert "it has jobs_" in failed.stderr
    assert "--jobs" in failed.stderr
