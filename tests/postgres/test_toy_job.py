"""A new job type needs one new file in a job package, and no change anywhere else."""

import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest
from sqlalchemy import Connection, text

from sweeper.app import App
from sweeper.batch import Tally
from sweeper.sweep.scan import ScanResult
from tests.support.verbs import HOUR, NOW, QUEUE, OpenApp, messages, scan, sweep

pytestmark = pytest.mark.usefixtures("frozen")

PARCELS = """
    create table parcel (
        id text primary key, "lockedIn" timestamp(3) not null, state text not null
    )
"""

JOB_FILE = '''
    """PARCEL_FORGOTTEN: send back parcels that nobody took out of their locker."""

    from datetime import timedelta

    from sqlalchemy import Column, MetaData, Table, Text, any_, cast, select, update, ARRAY

    from sweeper import Batch, JobType, Payload, Rule, UtcTimestamp

    PARCEL = Table(
        "parcel",
        MetaData(),
        Column("id", Text, primary_key=True),
        Column("lockedIn", UtcTimestamp),
        Column("state", Text),
    )


    class Forgotten(Payload):
        """A parcel's id."""

        parcel_id: str


    def waiting(cutoff):
        return (PARCEL.c.state == "in locker") & (PARCEL.c.lockedIn <= cutoff)


    def due(cutoff):
        since = PARCEL.c.lockedIn
        found = select(PARCEL.c.id.label("parcel_id"), since.label("since"))
        return found.where(waiting(cutoff)).order_by(since)


    def send_back(batch: Batch[Forgotten]):
        in_batch = PARCEL.c.id == any_(cast(batch.keys, ARRAY(Text)))
        moved = update(PARCEL).where(in_batch, waiting(batch.cutoff)).values(state="sent back")
        ids = batch.tx.execute(moved.returning(PARCEL.c.id)).scalars()
        batch.claimed(dict.fromkeys(ids, True))


    JOB = JobType("PARCEL_FORGOTTEN", payload=Forgotten, key="parcel_id", handler=send_back)
    RULE = Rule(
        "forgotten",
        job=JOB,
        due=due,
        every=timedelta(minutes=5),
        older_than=timedelta(hours=48),
    )
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Make a job package that holds one file, and return its name."""
    folder = tmp_path / "lockers"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Lockers."""\n')
    (folder / "forgotten.py").write_text(dedent(JOB_FILE))
    monkeypatch.syspath_prepend(tmp_path)
    yield folder.name
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


@pytest.fixture
def lockers(open_app: OpenApp, package: str, bare_database_url: str) -> App:
    """Return an app for the package, on a database with its platform's only table."""
    app = open_app(url=bare_database_url, package=package)
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(text(PARCELS))
    app.migrate(install_pgmq=True)
    return app


def lock_in(app: App, parcel: str, hours: int, state: str = "in locker") -> None:
    """Add a parcel that was put into a locker so many hours ago."""
    with app.database.transaction(schema_in_path=True) as tx:
        tx.execute(
            text("insert into parcel values (:id, :at, :state)"),
            {"id": parcel, "at": (NOW - hours * HOUR).replace(tzinfo=None), "state": state},
        )


def states(tx: Connection) -> dict[str, str]:
    """Return the state of each parcel, by its id."""
    return dict(tx.execute(text("select id, state from parcel")).all())


def test_a_job_type_with_a_rule_needs_only_one_new_file(lockers: App) -> None:
    """DESIGN 1: its rows are found, enqueued, worked and recorded like those of any other job."""
    lock_in(lockers, "forgotten", hours=48)
    lock_in(lockers, "fresh", hours=47)
    lock_in(lockers, "taken", hours=99, state="taken out")

    found = scan(lockers, "forgotten")

    assert found == ScanResult(found=1, enqueued=1, already_queued=0, dead=0, braked=0, anomalies=0)
    (message,) = messages(lockers, QUEUE)
    assert message.body["payload"] == {"parcelId": "forgotten"}
    report = sweep(lockers)
    assert report.jobs == Tally(done=1)
    with lockers.database.transaction(schema_in_path=True) as tx:
        assert states(tx) == {"forgotten": "sent back", "fresh": "in locker", "taken": "taken out"}
        ledger = tx.execute(text("select job_type, key, outcome from sweeper.job_log"))
        assert ledger.all() == [("PARCEL_FORGOTTEN", "forgotten", "done")]


def test_the_rule_appears_in_the_settings_and_the_status(lockers: App) -> None:
    """The rule has the defaults that its file defines."""
    lock_in(lockers, "forgotten", hours=50)

    rule = lockers.settings.rules["forgotten"]
    status = lockers.status_reader.read().rules

    assert (rule.enabled, rule.every * 12, rule.older_than) == (True, HOUR, 48 * HOUR)
    assert status.keys() == {"forgotten"}
    assert (status["forgotten"].overdue, status["forgotten"].oldest_overdue_seconds) == (1, 7200)


def test_the_rule_can_be_configured(
    open_app: OpenApp, package: str, lockers: App, bare_database_url: str
) -> None:
    app = open_app(url=bare_database_url, package=package, rules__forgotten__older_than="1h")
    lock_in(lockers, "fresh", hours=2)

    assert sweep(app).jobs == Tally(done=1)
