"""L5: a read whose answer was lost is no crash of what it took, which is given back at once."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.batch import Tally
from sweeper.queue.read import ReadMark
from sweeper.worker import lost_reads
from sweeper.worker.lease import GiveBack
from tests.support.faults import DISCONNECTS, Fault, Injector, Moment
from tests.support.verbs import HOUR, MINUTE, QUEUE, SECOND, OpenApp, messages, rows, scan

LIMIT = 5


@pytest.fixture
def injector(app: App, admin: psycopg.Connection) -> Injector:
    """Return what can cut the app's connections; the first is opened."""
    injector = Injector(admin, moment=Moment.AFTER)
    injector.attach(app)
    with app.database.transaction() as tx:
        tx.execute(text("select"))
    return injector


def due(app: App, shop: Shop, count: int) -> None:
    """Add orders that are due, and a message for each."""
    for _ in range(count):
        shop.order(age=HOUR)
    scan(app)


@contextmanager
def unasked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the database be away after the read, so that what is lost can only be asked for later."""
    with monkeypatch.context() as patch:
        patch.setattr(GiveBack, "after_error", lambda *_: None)
        yield


def lose_a_read(app: App, injector: Injector, fault: Fault = Fault.CUT, **how: object) -> None:
    """Read, and lose the connection between the commit of the read and its answer."""
    injector.at, injector.fault, injector.fired = len(injector.sent) + 1, fault, False
    with pytest.raises(DBAPIError):
        app.fetcher.read(app.queues.database, **({"lease": HOUR, "quantity": 9} | how))  # type: ignore[arg-type]
    assert injector.fired
    assert "pgmq.read(" in injector.sent[injector.at - 1]


def counts(app: App) -> list[tuple[int, bool]]:
    """Return how often each message has been read, and whether it is visible."""
    return [(message.read_ct, message.delay < SECOND) for message in messages(app)]


@pytest.mark.parametrize("fault", DISCONNECTS)
def test_a_read_whose_answer_was_lost_is_given_back_at_once(
    app: App, shop: Shop, injector: Injector, fault: Fault
) -> None:
    due(app, shop, 2)

    lose_a_read(app, injector, fault)

    assert [(0, True), (0, True)] == counts(app)
    assert Tally(done=2) == app.drain().step()


def test_a_lost_read_is_given_back_before_the_next_one(
    app: App, shop: Shop, injector: Injector, monkeypatch: pytest.MonkeyPatch
) -> None:
    due(app, shop, 2)
    with unasked(monkeypatch):
        lose_a_read(app, injector)
    assert [(1, False), (1, False)] == counts(app)

    found = app.fetcher.read(app.queues.database, lease=HOUR, quantity=9)

    assert [0, 0] == [message.crashes for message in found]
    assert [(1, False), (1, False)] == counts(app)


def test_a_message_whose_answer_is_lost_again_and_again_is_handled(
    app: App, shop: Shop, injector: Injector
) -> None:
    """L2: it is never dead-lettered as crashed."""
    due(app, shop, 1)
    for _ in range(LIMIT + 1):
        lose_a_read(app, injector)

    assert Tally(done=1) == app.drain().step()


def test_what_another_worker_has_read_since_is_left_alone(
    app: App,
    open_app: OpenApp,
    shop: Shop,
    injector: Injector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L1: the lease of the lost read had run out."""
    other = open_app()
    due(app, shop, 2)
    with unasked(monkeypatch):
        lose_a_read(app, injector, lease=SECOND)
    Event().wait(1.1)
    (held,) = other.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    before = counts(app)

    app.give_back.retry()

    assert [(2, False), (1, True)] == before
    assert [(2, False), (0, True)] == counts(app)
    other.give_back.give_back([held])
    assert [(1, True), (0, True)] == counts(app)


@pytest.mark.parametrize("number", range(1, 7))
def test_a_lost_read_is_given_back_once_whatever_answer_is_lost_meanwhile(
    *,
    app: App,
    open_app: OpenApp,
    shop: Shop,
    injector: Injector,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    """L1: another worker may have read it since, with the same count, and holds it."""
    other = open_app()
    due(app, shop, 1)
    with unasked(monkeypatch):
        lose_a_read(app, injector)
    injector.at, injector.fired = len(injector.sent) + number, False
    with suppress(DBAPIError):
        app.give_back.retry()
    injector.at = 0
    taken = other.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    assert taken or injector.fired

    app.give_back.retry()

    assert [(1, False) if taken else (0, True)] == counts(app)


def test_a_read_that_is_still_under_way_is_asked_for_again(
    app: App, open_app: OpenApp, shop: Shop
) -> None:
    """Only the connection is gone: the server may commit the read after we have asked."""
    other = open_app()
    due(app, shop, 2)
    with other.database.transaction() as tx:
        lose(app, tx)
        app.give_back.retry()
        assert [] == app.fetcher.read(app.queues.database, lease=HOUR, quantity=9)

    found = app.fetcher.read(app.queues.database, lease=HOUR, quantity=9)

    assert [0, 0] == [message.crashes for message in found]


def test_a_first_read_and_a_later_one_are_waited_for_alike(
    app: App, open_app: OpenApp, shop: Shop
) -> None:
    """The mark of a reader's first read is a row that nobody else can see yet."""
    other = open_app()
    due(app, shop, 2)
    (first,) = app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    with other.database.transaction() as tx:
        mark = lose(app, tx)
        app.give_back.retry()
    assert mark.number == 2
    app.give_back.retry()

    assert [(1, False), (0, True)] == counts(app)
    app.give_back.give_back([first])


@pytest.mark.parametrize("reads", [0, 1])
def test_a_read_that_arrives_after_it_was_given_up_takes_nothing(
    app: App, open_app: OpenApp, shop: Shop, reads: int
) -> None:
    other = open_app()
    due(app, shop, 2)
    for _ in range(reads):
        app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    mark = lose(app)
    before = counts(app)
    app.give_back.retry()

    with pytest.raises(IntegrityError), other.database.transaction() as tx:
        other.queues.read(tx, app.queues.database, lease=HOUR, quantity=9, mark=mark)

    assert before == counts(app)
    assert app.fetcher.read(app.queues.database, lease=HOUR, quantity=9)


def test_what_another_worker_reads_at_the_same_moment_is_left_alone(
    *,
    app: App,
    open_app: OpenApp,
    shop: Shop,
    connection: Connection,
    injector: Injector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L1: its lease ends in the same microsecond."""
    other = open_app()
    due(app, shop, 2)
    (held,) = other.fetcher.read(app.queues.database, lease=HOUR, quantity=1)
    with unasked(monkeypatch):
        lose_a_read(app, injector)
    same = f"update pgmq.q_{QUEUE} set vt = (select max(vt) from pgmq.q_{QUEUE}) where msg_id = :id"
    connection.execute(text(same), {"id": held.msg_id})

    app.give_back.retry()

    assert [(1, False), (0, True)] == counts(app)


def test_two_reads_at_once_have_a_mark_each(app: App) -> None:
    """Otherwise one would wait for the other, and the answer of one be taken for the other's."""
    reads = app.give_back.reads
    with reads.marked():
        pass

    with reads.marked() as first, reads.marked() as second:
        assert first.reader != second.reader


def test_an_empty_read_writes_nothing(app: App) -> None:
    """An idle service makes no row, no dead row and no log for the server."""
    assigned = text("select pg_current_xact_id_if_assigned() is not null")
    with app.database.transaction() as tx:
        app.queues.read(tx, app.queues.database, lease=HOUR, quantity=9, mark=ReadMark(number=1))
        assert not tx.execute(assigned).scalar()


def test_a_read_that_the_server_refuses_is_not_lost(
    app: App, shop: Shop, injector: Injector
) -> None:
    due(app, shop, 1)
    injector.at, injector.fault = len(injector.sent) + 1, Fault.CANCELLED
    with pytest.raises(DBAPIError):
        app.fetcher.read(app.queues.database, lease=HOUR, quantity=9)

    assert not app.give_back.reads


def test_a_mark_is_used_for_so_many_reads(
    app: App, connection: Connection, shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L9: what a server cannot vacuum does not slow all later reads down."""
    monkeypatch.setattr(lost_reads, "_MOST_READS", 2)
    due(app, shop, 3)
    for _ in range(3):
        app.fetcher.read(app.queues.database, lease=HOUR, quantity=1)

    assert [1, 2] == sorted(row["number"] for row in rows(connection, "sweeper.read_mark"))


def lose(app: App, tx: Connection | None = None) -> ReadMark:
    """Lose a read, which is done in *tx* or has not arrived; return its mark."""
    lost = DBAPIError("commit", None, ConnectionError(), connection_invalidated=True)
    with suppress(DBAPIError), app.give_back.reads.marked() as mark:
        if tx:
            assert app.queues.read(tx, app.queues.database, lease=MINUTE, quantity=9, mark=mark)
        raise lost
    return mark
