"""Migrations: they prepare a database for the service, and can be run repeatedly."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Barrier, Thread

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.admin import migrate
from sweeper.app import App
from sweeper.errors import DatabaseUnusableError
from sweeper.migrations.versions import engine_0009
from sweeper.monitoring.history import Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from sweeper.postgres.database import Database
from sweeper.queue.pgmq import Queues
from tests.support.verbs import DAY, DEAD, HIGH, HOUR, OpenApp, messages, rows, send, sweep


@contextmanager
def transaction(url: str) -> Iterator[Connection]:
    """Open a transaction that does not belong to the app."""
    database = Database(url)
    with database.transaction() as tx:
        yield tx
    database.close()


@pytest.fixture
def unmigrated(open_app: OpenApp, platform_url: str) -> App:
    """Return an app on a database with the platform's empty tables, and nothing of ours."""
    return open_app(url=platform_url)


def objects(url: str) -> set[str]:
    """Return the sweeper's own tables and indexes, and every queue."""
    names = text(
        "select schemaname || '.' || tablename from pg_tables where schemaname = 'sweeper'"
        " union select indexname from pg_indexes where schemaname = 'sweeper'"
        " union select queue_name from pgmq.meta"
    )
    with transaction(url) as tx:
        return set(tx.execute(names).scalars())


def test_the_first_migration_creates_everything(unmigrated: App, platform_url: str) -> None:
    steps = unmigrated.migrate(install_pgmq=True)

    assert [line.split()[0] for line in steps] == ["installed", "schema", "queues:"]
    assert objects(platform_url) >= {
        "sweeper.sweep",
        "sweeper.job_log",
        "sweeper.lock",
        "sweeper.stock_release",
        "sweeper.refund",
        "sweeper.alembic_version",
        *unmigrated.queues,
    }


def test_a_second_migration_changes_nothing(unmigrated: App, platform_url: str) -> None:
    unmigrated.migrate(install_pgmq=True)
    before = objects(platform_url)

    assert unmigrated.migrate(install_pgmq=True) == []
    assert unmigrated.migrate() == []
    assert objects(platform_url) == before


def test_of_two_concurrent_migrations_only_one_does_the_work(
    open_app: OpenApp, platform_url: str
) -> None:
    """DESIGN: two migrations may run at the same time."""
    apps = [open_app(url=platform_url) for _ in range(2)]
    together, steps = Barrier(2), list[list[str]]()

    def run(app: App) -> None:
        together.wait()
        steps.append(app.migrate(install_pgmq=True))

    threads = [Thread(target=run, args=[app]) for app in apps]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(map(len, steps)) == [0, 3]
    apps[0].check()


def test_a_migration_without_pgmq_changes_nothing(unmigrated: App, platform_url: str) -> None:
    """The command installs pgmq only with --install-pgmq, and the error names that option."""
    with pytest.raises(DatabaseUnusableError, match="sweeper migrate --install-pgmq"):
        unmigrated.migrate()

    with transaction(platform_url) as tx:
        assert tx.execute(text("select to_regnamespace('sweeper')")).scalar() is None


def test_a_failed_migration_is_rolled_back(
    unmigrated: App, platform_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole migration is one transaction."""

    def refuse(_tx: Connection, _queues: Queues) -> None:
        message = "the lights went out"
        raise RuntimeError(message)

    monkeypatch.setattr(migrate, "create_queues", refuse)
    with pytest.raises(RuntimeError, match="lights"):
        unmigrated.migrate(install_pgmq=True)

    with transaction(platform_url) as tx:
        left = text("select to_regnamespace('pgmq'), to_regnamespace('sweeper')")
        assert tuple(tx.execute(left).one()) == (None, None)


def test_a_missing_queue_is_created_and_the_others_keep_their_messages(app: App) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}, queue=HIGH)
    with app.database.transaction() as tx:
        tx.execute(text("select pgmq.drop_queue(cast(:queue as text))"), {"queue": DEAD})

    assert app.migrate() == [f"queues: {DEAD}"]
    assert len(messages(app, HIGH)) == 1


def test_the_platform_s_tables_are_not_changed(app: App, unmigrated: App) -> None:
    """DESIGN: a migration never changes the platform's tables."""
    before = _platform(app.database)

    unmigrated.migrate(install_pgmq=True)

    assert _platform(unmigrated.database) == before
    assert len(before) > 50


def test_a_migrated_database_passes_the_preflight(app: App) -> None:
    app.check()


@pytest.mark.parametrize(
    ("statement", "remedy"),
    [
        ("drop schema pgmq cascade", "sweeper migrate --install-pgmq"),
        ("drop schema sweeper cascade", "run: sweeper migrate"),
        ("delete from sweeper.alembic_version where version_num like 'jobs%'", "sweeper migrate"),
        (f"select pgmq.drop_queue('{DEAD}')", "run: sweeper migrate"),
        ('drop table "Order" cascade', "platform's database"),
    ],
    ids=["pgmq", "schema", "version", "queue", "platform"],
)
def test_a_missing_object_is_reported_before_any_order_is_changed(
    app: App, connection: Connection, statement: str, remedy: str
) -> None:
    """A sweep on an incomplete database would be worse than no sweep."""
    connection.execute(text(statement))

    with pytest.raises(DatabaseUnusableError, match=remedy):
        sweep(app)


def test_a_database_that_was_not_migrated_is_refused(unmigrated: App) -> None:
    with pytest.raises(DatabaseUnusableError):
        unmigrated.check()


def test_a_second_migration_keeps_the_ledger(app: App, connection: Connection) -> None:
    sweep(app)
    before = rows(connection, "sweeper.sweep")

    app.migrate()

    assert rows(connection, "sweeper.sweep") == before
    assert len(before) == 2


def test_a_database_of_the_version_before_the_acts_gets_them_and_keeps_its_ledger(
    app: App, connection: Connection
) -> None:
    sweep(app)
    before = rows(connection, "sweeper.sweep")
    connection.execute(text("drop table sweeper.act, sweeper.history, sweeper.read_mark"))
    moved = "update sweeper.alembic_version set version_num = 'engine_0007'"
    connection.execute(text(f"{moved} where version_num like 'engine%'"))

    assert app.migrate()[0].startswith("schema sweeper: engine_")

    assert (before, []) == (rows(connection, "sweeper.sweep"), rows(connection, "sweeper.act"))
    app.pruner.prune(clock.now())


def _platform(database: Database) -> list[tuple[object, ...]]:
    columns = text(
        "select table_name, column_name, data_type, is_nullable, column_default"
        " from information_schema.columns where table_schema = 'public' order by 1, 2"
    )
    with database.transaction() as tx:
        return [tuple(row) for row in tx.execute(columns)]


def test_an_upgrade_keeps_the_ledger_and_makes_the_history_of_it(
    app: App, shop: Shop, connection: Connection
) -> None:
    """A database of the version before is refused until it is migrated, and then has its past."""
    shop.order(age=HOUR)
    sweep(app, "expire_dp")
    connection.execute(text("update sweeper.job_log set at = at - interval '10 minutes'"))
    connection.execute(text("drop table sweeper.history, sweeper.act"))
    versions = (
        "update sweeper.alembic_version set version_num = :old where version_num like 'engine%'"
    )
    connection.execute(text(versions), {"old": engine_0009.down_revision})
    before = rows(connection, "sweeper.job_log", "id")
    with pytest.raises(DatabaseUnusableError, match="sweeper migrate"):
        app.check()

    assert app.migrate()[0].startswith("schema sweeper: engine_")

    app.check()
    HistoryWriter(app.database, [], DAY).record(clock.now())
    (done,) = [
        one for one in app.history.read(Period.HOUR, clock.now()).series if one.name == "done"
    ]
    assert (before, 1) == (rows(connection, "sweeper.job_log", "id"), sum(done.known))
