"""What is read, worked and pruned at depth costs what it is about, whatever statistics say."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs import refunds
from jobs.demo.shop import Shop
from jobs.refund_ledger import owed, refund_rows
from sweeper import ledger
from sweeper.app import App
from sweeper.cli.dead import dead_letters
from sweeper.monitoring import audit, backlog, explain, foreign, list_page, waiting_list
from sweeper.monitoring.about import search
from sweeper.monitoring.about.search import Search
from sweeper.monitoring.about.sweep import SweepReader
from sweeper.monitoring.backlog import Backlog
from sweeper.monitoring.history import Period
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.monitoring.list_page import Wanted
from sweeper.monitoring.lists import ListReader
from sweeper.monitoring.sign import last_sign
from sweeper.monitoring.waiting_list import WaitingList
from sweeper.postgres import clock
from sweeper.queue.dead_letters import dead_letter_queue, dead_letter_table
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.sweep.scan import ScanResult
from tests.support.depth import fill_dead_letters, fill_ledger, fill_queue, fill_refunds, rows_read
from tests.support.verbs import DAY, HOUR, QUEUE, Run, scan, send, sweep

FEW = 1_000  # where a bound is set for the tests
SWEEPS = 20_000
SWEEP_7 = "8f14e45f-ceea-167a-5a36-dedd4bea2543"  # md5('7'), as fill_ledger names the seventh
_STALE = (
    "update pg_class set reltuples = {0}, relpages = {0} where relkind = 'r' and"
    " relnamespace in ('sweeper'::regnamespace, 'pgmq'::regnamespace)"
)
STATISTICS = {
    "none": "select",
    "of today": "analyze",
    "of empty tables": _STALE.format(0),
    "of one row": _STALE.format(1),
}


@pytest.fixture
def bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the bounds of the readers to FEW."""
    for module, names in (
        (ledger, ["MOST_COUNTED"]),
        (audit, ["SCANS", "JOBS"]),
        (foreign, ["ENDINGS"]),
        (explain, ["SCANS", "KEYS"]),
        (search, ["SCANS", "KEYS", "ENDINGS"]),
        (list_page, ["MOST_COUNTED", "MOST_SEARCHED"]),
        (waiting_list, ["MOST_COUNTED", "MOST_SEARCHED"]),
    ):
        for name in names:
            monkeypatch.setattr(module, name, FEW)


def readers(app: App) -> dict[str, Callable[[], Any]]:
    """Return whatever reads the ledger, the refunds or the dead letters, by name."""

    def read_refunds() -> None:
        with app.database.transaction() as tx:
            refund_rows(tx, everything=True, limit=10)
            refund_rows(tx, everything=False, limit=10)
            owed(tx)

    def record_first_hours() -> None:
        three = iter([False] * 3)
        writer = HistoryWriter(app.database, [], DAY)
        writer.record(clock.now(), lambda: next(three, True))

    newest = DeadLetterFilter(limit=10)
    find = Search(app.database, app.queues, app.catalog).find
    one_sweep = SweepReader(app.database, app.queues, app.catalog)
    reader = ListReader(app.database, app.catalog, app.older_than)
    refund_list = app.catalog.listing("refunds")
    return {
        "status": app.status_reader.read,
        "completed": app.status_reader.completed,
        "sign of a service": partial(last_sign, app.database, timedelta(seconds=30)),
        "page": app.backlog_reader.read,
        "audit": app.auditor.audit,
        **{f"history, {p}": partial(app.history.read, p, clock.now()) for p in Period},
        "record three hours": record_first_hours,
        "explain an old order": lambda: app.explainer.explain("past-1-1"),
        "explain a code": lambda: app.explainer.explain("CODE-7"),
        "find a code": lambda: find("CODE-7"),
        "find an old order": lambda: find("past-1-1"),
        "find a number": lambda: find("7"),
        "find a phone": lambda: find("4567"),
        "find a sweep": lambda: find(SWEEP_7),
        "show a sweep": lambda: one_sweep.read(SWEEP_7),
        "dead list": lambda: list(app.dead_letter_queue.stream(newest)),
        "dead retry": lambda: app.dead_letter_queue.retry(DeadLetterFilter(ids=[7])),
        "dead drop": lambda: app.dead_letter_queue.drop(DeadLetterFilter(ids=[8])),
        "dead purge": lambda: app.dead_letter_queue.purge(timedelta(days=999)),
        "refunds": read_refunds,
        "list sweeps": lambda: reader.read(reader.sweeps(), Wanted(limit=10)),
        "list sweeps of a rule": lambda: reader.read(
            reader.sweeps(), Wanted({"rule": "expire_dp"}, limit=10)
        ),
        "list old sweeps": lambda: reader.read(reader.sweeps(), Wanted(older=45 * DAY, limit=10)),
        "list braked sweeps": lambda: reader.read(
            reader.sweeps(), Wanted({"outcome": "braked"}, limit=10)
        ),
        "list refunds": lambda: reader.read(refund_list, Wanted(limit=10)),
        "list refunds that are due": lambda: reader.read(
            refund_list, Wanted({"state": "due"}, limit=10)
        ),
        "list dead letters": lambda: app.dead_letter_queue.newest(newest, 10),
        "list the dead letters of a cause": lambda: app.dead_letter_queue.newest(
            DeadLetterFilter(fingerprint="abc"), 10
        ),
        "prune a day": lambda: app.pruner.prune(clock.now() + DAY),
        "prune nothing": lambda: app.pruner.prune(clock.now() + DAY),
    }


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS)
def test_no_reader_reads_a_large_table_in_whole(
    app: App, connection: Connection, statistics: str
) -> None:
    """Of 80,000 ended jobs of 20,000 sweeps, and 20,000 refunds, each reads a few thousand."""
    fill_ledger(connection, SWEEPS)
    fill_refunds(connection, SWEEPS)
    fill_dead_letters(connection, FEW)
    connection.execute(text("vacuum"))
    connection.execute(text(statistics))

    read = {name: rows_read(connection, app, work) for name, work in readers(app).items()}

    assert {} == {
        (name, table): rows
        for name, tables in read.items()
        for table, rows in tables.items()
        if rows > 6 * FEW and not table.startswith("pg_")
    }


def test_anomalies_are_counted_to_a_thousand(
    app: App, shop: Shop, connection: Connection, run: Run
) -> None:
    """The scan reads no more of them; a thousand stands for as many or more."""
    app.migrate(with_indexes=True)
    shop.many(20_000, age=HOUR, paid_ago=HOUR)
    found: list[ScanResult] = []

    read = rows_read(connection, app, lambda: found.append(scan(app)))

    assert [1_000] == [one.anomalies for one in found]
    assert read["Order"] < 25_000, "the due rows are looked for among them, once"
    assert 1_000 == app.status_reader.read().rules["expire_dp"].anomalies
    assert "1,000 or more" in run("status")[1]


def lose_an_old_job(app: App, shop: Shop, connection: Connection) -> str:
    """Sweep twice; the first sweep's job is lost. Return its order."""
    lost = shop.order(age=HOUR)
    scan(app)
    connection.execute(text("delete from pgmq.q_jastipin_jobs"))
    connection.execute(text("update sweeper.sweep set at = at - interval '1 hour'"))
    shop.order(age=HOUR, id="later")
    connection.execute(text("update \"Order\" set status = 'pending' where id <> 'later'"))
    sweep(app, "expire_dp")
    return lost


def test_the_audit_says_what_it_has_left_out_and_checks_it_when_asked(
    app: App, shop: Shop, connection: Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L8: what was not looked at does not balance."""
    monkeypatch.setattr(audit, "JOBS", 1)
    monkeypatch.setattr(foreign, "ENDINGS", 1)
    lost = lose_an_old_job(app, shop, connection)

    code, told, _ = run("audit")
    newest = json.loads(run("audit", "--json")[1])
    whole_code, whole, _ = run("audit", "--all", "--json")

    assert (0, 1, 1, []) == (code, newest["sweeps"], newest["jobs"], newest["gaps"])
    assert [f"the sweeps before {newest['since']}, and their jobs"] == newest["left_out"][:1]
    assert 2 == told.count("not checked: ")
    assert "every job of these that does not wait ended exactly once" in told
    found = json.loads(whole)
    assert (1, [lost]) == (whole_code, [gap["key"] for gap in found["gaps"]])
    assert (2, 2, None, []) == tuple(found[n] for n in ("sweeps", "jobs", "since", "left_out"))


def test_foreign_jobs_among_older_endings_are_found_when_asked(
    app: App, shop: Shop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.order(age=HOUR)
    sweep(app)
    foreigners = (
        "insert into sweeper.job_log (job_type, key, msg_id, sweep_id, outcome, attempt, at)"
        " select 'ORDER_EXPIRE_DP', concat('foreign-', one), 1, cast(id as text), 'skipped', 1,"
        " now() from sweeper.sweep, generate_series(1, 3) as one where found = 1"
    )
    connection.execute(text(foreigners))
    monkeypatch.setattr(foreign, "ENDINGS", 2)

    assert (2, 1) == (app.auditor.audit().foreign_count, len(app.auditor.audit().left_out))
    assert (3, ()) == (
        app.auditor.audit(everything=True).foreign_count,
        app.auditor.audit(everything=True).left_out,
    )


def test_an_explanation_says_which_scans_it_has_not_searched(
    app: App, shop: Shop, connection: Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old scan is found by the job that ended; one whose job was lost may be missing."""
    lost = lose_an_old_job(app, shop, connection)
    assert "rule expire_dp found it" in run("explain", lost)[1]
    monkeypatch.setattr(explain, "SCANS", 1)

    told, since = run("explain", lost)[1], json.loads(run("explain", lost, "--json")[1])["since"]
    connection.execute(text("update sweeper.sweep set at = at - interval '1 day'"))
    scan(app)

    assert f"scans before {since} are shown where a job of theirs has ended" in told
    assert "rule expire_dp found it" not in told
    assert "rule expire_dp found it" in run("explain", "later")[1]


def test_long_lists_show_their_beginning_and_say_so(
    app: App, connection: Connection, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letter_table, "MOST_GROUPED", 2)
    monkeypatch.setattr(dead_letters, "MOST_GROUPED", 2)
    monkeypatch.setattr(dead_letter_queue, "MOST_GROUPED", 2)
    monkeypatch.setattr(backlog, "MOST_GROUPED", 2)
    monkeypatch.setattr(refunds, "_LISTED", 2)
    monkeypatch.setattr(refunds, "_PAGE", 2)
    fill_dead_letters(connection, 3)
    fill_refunds(connection, 500)

    letters, owed_refunds = run("dead", "list")[1], run("refunds", "list")[1]

    assert "3 dead letters, the newest 2 by cause" in letters
    assert (2, True) == (
        app.backlog_reader.read().causes[0].count,
        app.backlog_reader.read().has_more,
    )
    assert "these are the oldest 2; --json and `refunds export` list all" in owed_refunds
    assert "owed in all: Rp 5.000" in owed_refunds
    assert 5 == len(json.loads(run("refunds", "list", "--json")[1]))
    assert 501 == len(run("refunds", "export", "--all")[1].splitlines())


def test_completed_jobs_are_counted_among_the_latest_endings(
    app: App, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_ledger(connection, 1)
    assert (4, False) == app.status_reader.completed()
    monkeypatch.setattr(ledger, "MOST_COUNTED", 3)
    assert (3, True) == app.status_reader.completed()


def test_the_page_looks_up_by_index_where_the_jobs_of_due_orders_are(
    app: App, shop: Shop, connection: Connection
) -> None:
    """It reads the messages about them, and not the queue."""
    app.migrate(with_indexes=True)
    fill_queue(connection, SWEEPS)
    shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": shop.order(age=2 * HOUR)})
    found: list[Backlog] = []

    read = rows_read(connection, app, lambda: found.append(app.backlog_reader.read()))

    whys = [late.why for late in found[0].late["expire_dp"]]
    assert ["waits in the queue", "no scan has been made yet"] == whys
    assert read["q_jastipin_jobs"] < FEW


def test_the_messages_of_one_order_are_looked_up_by_index(
    app: App, shop: Shop, connection: Connection
) -> None:
    """Its page, and the search for it, read no other messages."""
    app.migrate(with_indexes=True)
    fill_queue(connection, SWEEPS)
    order = shop.order(age=HOUR)
    msg_id = send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    search_for = Search(app.database, app.queues, app.catalog).find
    works: dict[str, Callable[[], Any]] = {
        "explain": lambda: app.explainer.explain(order).where,
        "find an order": lambda: search_for(order).hits,
        "find what a message says": lambda: search_for("other-7").hits,
        "find a number": lambda: search_for(str(msg_id)).hits,
    }

    read = {
        name: rows_read(connection, app, work)["q_jastipin_jobs"] for name, work in works.items()
    }

    assert {} == {name: rows for name, rows in read.items() if rows > FEW}
    assert [1, 1, 1, 1] == [len(work()) for work in works.values()]


def test_a_phone_is_looked_for_among_the_latest_orders_only(
    app: App, shop: Shop, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform's tables of orders and buyers are not read in whole."""
    monkeypatch.setattr(search, "KEYS", 10)
    shop.many(SWEEPS, age=HOUR / 4)
    ours = shop.order(age=HOUR, participant=shop.participant(phone="0812-3456-7890"))
    sweep(app)
    connection.execute(text("analyze"))
    found: list[Any] = []
    search_for = Search(app.database, app.queues, app.catalog).find

    read = rows_read(connection, app, lambda: found.append(search_for("7890")))

    assert [ours] == [hit.id for hit in found[0].hits]
    assert {} == {name: rows for name, rows in read.items() if rows >= FEW}


@pytest.mark.usefixtures("bounds")
@pytest.mark.parametrize("statistics", STATISTICS.values(), ids=STATISTICS)
def test_no_list_of_messages_reads_a_long_queue_in_whole(
    app: App, connection: Connection, statistics: str
) -> None:
    """It counts, and looks through, the newest of them."""
    fill_queue(connection, SWEEPS)
    connection.execute(text("vacuum"))
    connection.execute(text(statistics))
    waiting = WaitingList(app.database, app.queues, app.catalog)
    wanted = {
        "all": Wanted(),
        "further on": Wanted(before=f"{QUEUE},500"),
        "by type": Wanted({"type": "ORDER_AUTO_REFUND"}),
        "by key": Wanted(key="other-7"),
        "by age": Wanted(older=HOUR),
    }

    read = {
        name: rows_read(connection, app, lambda one=one: waiting.read(one))["q_jastipin_jobs"]  # type: ignore[misc]
        for name, one in wanted.items()
    }

    assert {} == {name: rows for name, rows in read.items() if rows > 6 * FEW}


def test_the_dead_letters_of_one_order_are_looked_up_by_index(
    app: App, connection: Connection
) -> None:
    """`explain`, and `dead --order`, read no other letters."""
    app.migrate(with_indexes=True)
    fill_dead_letters(connection, SWEEPS)
    connection.execute(text("analyze"))
    wanted = DeadLetterFilter(key="other-7")
    works: dict[str, Callable[[], Any]] = {
        "explain": lambda: app.explainer.explain("other-7").facts,
        "dead list": lambda: app.dead_letter_queue.find(wanted),
        "causes": lambda: app.dead_letter_queue.causes(wanted, 20)[1],
    }

    read = {
        name: rows_read(connection, app, work)["q_jastipin_jobs_dead"]
        for name, work in works.items()
    }

    assert {} == {name: rows for name, rows in read.items() if rows > FEW}
    assert [1, 1, 1] == [len(work()) for work in works.values()]
