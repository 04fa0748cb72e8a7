"""Round trips: of a batch, a scan and the status, however far the database is."""

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, TextClause, event, text
from sqlalchemy.exc import DBAPIError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.ledger import Trigger
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import deferred
from sweeper.postgres.database import Database
from sweeper.sweep.scan import ScanOptions
from tests.support.verbs import HOUR, MINUTE, NOW, rows, scan

LONG = timedelta(hours=48)
LOCK = text("insert into sweeper.lock values ('a', now())")


@pytest.fixture
def sent(app: App, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what is sent to the server on open connections: each is a round trip."""
    texts = list[str]()
    execute, end = psycopg.Cursor.execute, psycopg.Connection._exec_command

    def note_statement(cursor: Any, query: str, *arguments: Any, **options: Any) -> Any:
        texts.append(query)
        return execute(cursor, query, *arguments, **options)

    def note_end(connection: Any, command: bytes, *arguments: Any) -> Any:
        texts.append(command.decode())
        return end(connection, command, *arguments)

    with app.database.transaction() as tx:
        tx.execute(text("select 1"))
    monkeypatch.setattr(psycopg.Cursor, "execute", note_statement)
    monkeypatch.setattr(psycopg.Connection, "_exec_command", note_end)
    return texts


def test_a_batch_is_read_in_one_round_trip_and_handled_in_three(
    app: App, shop: Shop, sent: list[str]
) -> None:
    product = shop.product(stock=0)
    for _ in range(3):
        shop.order(age=HOUR, items=[(product, 1)])
    scan(app)
    sent.clear()

    assert Tally(done=3) == app.drain().step()
    assert 4 == len(sent), sent


@pytest.mark.parametrize("rule", ["expire_dp", "auto_refund"])
def test_the_statements_of_a_batch_are_built_once_for_all(app: App, shop: Shop, rule: str) -> None:
    """Building and compiling them took longer than all that is done with the messages."""
    executed = list[Any]()

    def note(_connection: Any, statement: Any, *_arguments: Any) -> None:
        executed.append(statement)

    event.listen(app.database._engine, "before_execute", note)
    drain, batches = app.drain(), []
    for _ in range(2):
        shop.order(age=HOUR, items=[(shop.product(stock=0), 1)])
        shop.order(status="awaiting_validation", age=LONG, paid_ago=LONG)
        scan(app, rule)
        executed.clear()
        assert Tally(done=1) == drain.step()
        batches.append(executed.copy())

    pairs = zip(*batches, strict=True)
    assert [] == [str(again) for first, again in pairs if first is not again]


def test_a_rejection_with_its_refund_takes_as_many_round_trips(
    app: App, shop: Shop, sent: list[str]
) -> None:
    shop.order(status="awaiting_validation", age=LONG, paid_ago=LONG)
    scan(app, "auto_refund")
    sent.clear()

    assert Tally(done=1) == app.drain().step()
    assert 4 == len(sent), sent


def test_an_empty_queue_costs_one_round_trip(app: App, sent: list[str]) -> None:
    assert app.drain().step() is None
    assert 1 == len(sent), sent


def test_a_scan_takes_two_round_trips(app: App, shop: Shop, sent: list[str]) -> None:
    """An idle service scans each rule every minute."""
    shop.order(age=HOUR)
    options = ScanOptions(str(uuid.uuid4()), Trigger.SCHEDULE, limit=10, every=MINUTE)
    sent.clear()

    result = app.scanner.scan(app.catalog.rule("expire_dp"), options)

    assert result
    assert 1 == result.enqueued
    assert 2 == len(sent), sent


def test_the_status_is_read_in_one_round_trip(app: App, sent: list[str]) -> None:
    """Each heartbeat reads it."""
    app.status_reader.read()

    assert 1 == len(sent), sent


def test_the_statement_that_locks_products_is_the_last_before_the_commit(
    app: App, shop: Shop, sent: list[str]
) -> None:
    """A popular product is locked for no longer than its own statement and the commit take."""
    shop.order(age=HOUR, items=[(shop.product(stock=0), 1)])
    scan(app)
    sent.clear()
    app.drain().step()

    *_, ledger, stock, commit = sent[-1].split("; ")
    assert ("INSERT INTO sweeper.job_log" in ledger, "commit") == (True, commit)
    assert 'UPDATE public."Product" SET stock' in stock
    assert not any('"Product"' in each for each in sent[:-1])


def test_a_transaction_without_a_statement_is_never_begun(app: App, sent: list[str]) -> None:
    with app.database.transaction():
        pass

    assert [] == sent


def test_deferred_statements_are_sent_with_the_next_one(app: App, sent: list[str]) -> None:
    """Each is given its own rows."""
    found = list[object]()
    with app.database.transaction() as tx:
        deferred.defer(tx, text("select 'a%%', :b").bindparams(b="it's; b"), then=found.append)
        deferred.defer(tx, text("select 2 where false"), then=found.append)
        assert (3,) == tx.execute(text("select 3")).one()
        deferred.defer(tx, text("select 4"), then=found.append)

    assert [[("a%%", "it's; b")], [], [(4,)]] == found
    assert 2 == len(sent), sent


def test_an_error_of_a_deferred_statement_rolls_everything_back(
    app: App, connection: Connection
) -> None:
    """L2: it is raised at the end, and nothing is committed."""

    def divide() -> None:
        with app.database.transaction() as tx:
            tx.execute(LOCK)
            deferred.defer(tx, text("select 1 / 0"))

    with pytest.raises(DBAPIError, match="division by zero"):
        divide()

    assert [] == rows(connection, "sweeper.lock")
    with app.database.transaction() as tx:
        assert 1 == tx.execute(text("select 1")).scalar()


def test_an_error_in_a_savepoint_forgets_what_was_deferred_in_it(app: App) -> None:
    """L2: a dry run goes on after a job that failed."""

    def fail(database: Database, *deferred_before: TextClause) -> None:
        with database.transaction() as tx:
            for statement in deferred_before:
                deferred.defer(tx, statement)
            if LOCK in deferred_before:
                raise LookupError

    with app.database.rolled_back() as database:
        with pytest.raises(DBAPIError):
            fail(database, text("select 1 / 0"))
        with pytest.raises(LookupError):
            fail(database, LOCK)
        with pytest.raises(LookupError):
            fail(database, text("select 1 / 0"), LOCK)
        with database.transaction() as tx:
            assert 0 == tx.execute(text("select count(*) from sweeper.lock")).scalar()


def test_no_statement_follows_the_commit(app: App) -> None:
    """L2: it would be a transaction of its own, without timeouts."""

    def go_on() -> None:
        with app.database.transaction() as tx:
            tx.execute(text("select 1"), execution_options=deferred.last(tx))
            tx.execute(text("select 2"))

    with pytest.raises(RuntimeError, match="the commit has been sent"):
        go_on()


def test_a_minute_of_the_history_is_one_round_trip(app: App, sent: list[str]) -> None:
    writer = HistoryWriter(app.database, [], timedelta(days=90))
    writer.record(NOW + 10 * MINUTE)
    writer.saw(app.status_reader.read())
    sent.clear()

    writer.record(NOW + 11 * MINUTE)

    assert 1 == len(sent), sent
