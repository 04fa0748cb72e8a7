"""The queues: every method of the door to pgmq, against pgmq itself."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Text, cast, func, literal, select, text, union_all
from sqlalchemy.exc import DBAPIError

from sweeper.app import App
from sweeper.job import JobType, Message, Priority
from sweeper.postgres.database import Database
from sweeper.queue import dead_letter, inspect
from sweeper.queue.dead_letter import DeadLetter, fingerprint
from sweeper.queue.enqueue import enqueue_statement
from sweeper.queue.inspect import Depth
from sweeper.queue.install import create_queues, install_pgmq, missing_queues, pgmq_version
from sweeper.queue.pgmq import Queues
from sweeper.retry import DeadReason
from tests.support.verbs import (
    DEAD,
    HIGH,
    LOW,
    NOW,
    OUTBOUND,
    QUEUE,
    SECOND,
    Connect,
    dead_letters,
    messages,
    send,
    send_raw,
)

ALL = (HIGH, QUEUE, LOW, OUTBOUND, DEAD)
LEASE = timedelta(seconds=30)


@pytest.fixture
def queues(app: App) -> Queues:
    """Return the app's queues."""
    return app.queues


@pytest.fixture
def tx(app: App) -> Iterator[Connection]:
    """Open one transaction for the whole test."""
    with app.database.transaction() as tx:
        yield tx


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Lend a database without the app around it."""
    database = Database(url)
    yield database
    database.close()


def letter(**values: Any) -> DeadLetter:
    """Return a dead letter."""
    usual: dict[str, Any] = {
        "type": "ORDER_EXPIRE_DP",
        "key": "corder",
        "reason": DeadReason.EXHAUSTED,
        "error": "DataError: integer out of range",
        "attempts": 4,
        "died_at": NOW,
        "queue": QUEUE,
        "fingerprint": "abc",
        "body": '{"type": "ORDER_EXPIRE_DP"}',
    }
    return DeadLetter(**usual | values)


def job(app: App, name: str = "ORDER_EXPIRE_DP") -> JobType[Any]:
    """Return one of the job types."""
    return app.catalog.job(name)


def numbers(found: list[Message]) -> list[int]:
    """Return what stands in the bodies of messages."""
    return [json.loads(message.raw or "null")["n"] for message in found]


def test_the_queues_are_known_by_name(queues: Queues) -> None:
    assert tuple(queues) == ALL
    assert queues.live == (HIGH, QUEUE, LOW, OUTBOUND)
    assert queues.database == (HIGH, QUEUE, LOW)
    assert all(queue in queues for queue in ALL)
    assert "somebody_elses" not in queues


@pytest.mark.parametrize(
    ("kind", "priority", "home"),
    [
        ("ORDER_EXPIRE_DP", None, QUEUE),
        ("ORDER_EXPIRE_DP", Priority.LOW, LOW),
        ("STOCK_RELEASE", None, HIGH),
        ("STOCK_RELEASE", Priority.NORMAL, QUEUE),
        ("NOTIFICATION_SEND_WHATSAPP", None, OUTBOUND),
        ("NOTIFICATION_SEND_WHATSAPP", Priority.HIGH, OUTBOUND),
    ],
)
def test_every_job_has_a_home(app: App, kind: str, priority: Priority | None, home: str) -> None:
    """Its priority says where, unless the outside world is called."""
    assert app.queues.home(job(app, kind), priority) == home


def test_what_is_missing_is_created_and_the_rest_is_left(app: App, tx: Connection) -> None:
    more = Queues("jastipin_test")
    names = list(more)
    assert missing_queues(tx, more) == names
    app.queues.send(tx, QUEUE, [{"n": 1}], timedelta())

    create_queues(tx, more)
    create_queues(tx, more)
    create_queues(tx, app.queues)

    assert missing_queues(tx, more) == []
    assert numbers(app.queues.read(tx, [QUEUE], lease=LEASE, quantity=9)) == [1]


def test_messages_are_read_oldest_first_and_counted(queues: Queues, tx: Connection) -> None:
    ids = queues.send(tx, QUEUE, [{"n": n} for n in range(5)], timedelta())

    first = queues.read(tx, [QUEUE], lease=LEASE, quantity=3)
    rest = queues.read(tx, [QUEUE], lease=LEASE, quantity=3)

    assert (numbers(first), numbers(rest)) == ([0, 1, 2], [3, 4])
    assert [message.msg_id for message in first + rest] == ids
    assert {(message.queue, message.read_ct, message.crashes) for message in first} == {
        (QUEUE, 1, 0)
    }
    assert queues.read(tx, [QUEUE], lease=LEASE, quantity=3) == []


def test_the_first_queue_that_has_any_is_read(queues: Queues, tx: Connection) -> None:
    """L6: and no other one, in one round trip."""
    queues.send(tx, LOW, [{"n": 3}], timedelta())
    queues.send(tx, QUEUE, [{"n": 2}], timedelta())
    order = [HIGH, QUEUE, LOW]

    reads = [queues.read(tx, order, lease=LEASE, quantity=9) for _ in range(3)]

    assert [numbers(read) for read in reads] == [[2], [3], []]
    assert [message.queue for read in reads for message in read] == [QUEUE, LOW]


def test_a_lease_is_rounded_up_to_seconds(app: App) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=timedelta(milliseconds=1_200), quantity=1)

    (message,) = messages(app)
    assert timedelta(seconds=1) < message.delay <= timedelta(seconds=2)


def test_a_read_says_when_it_was(queues: Queues, tx: Connection) -> None:
    """L4: by the database's clock, so that ours can be held against it."""
    queues.send(tx, QUEUE, [{"n": 1}], timedelta())
    before = datetime.now(UTC)

    (message,) = queues.read(tx, [QUEUE], lease=LEASE, quantity=1)

    assert abs(message.read_at - before) < timedelta(seconds=5)
    assert message.read_at >= message.enqueued_at


@pytest.mark.parametrize("raw", [None, "null", "5", '"text"', "[1]", '{"a": "b"}'])
def test_any_body_can_be_read(app: App, raw: str | None) -> None:
    """The raw text as it came; SQL NULL is no text at all."""
    send_raw(app, raw)
    with app.database.transaction() as tx:
        (message,) = app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)

    assert message.raw == raw


def test_ready_names_the_queues_with_visible_messages(app: App) -> None:
    with app.database.transaction() as tx:
        assert app.queues.ready(tx) == frozenset()
        app.queues.send(tx, QUEUE, [{"n": 1}], timedelta())
        app.queues.send(tx, OUTBOUND, [{"n": 1}], timedelta())
        app.queues.send(tx, LOW, [{"n": 1}], LEASE)
        dead_letter.send(tx, app.queues, [letter()])

    with app.database.transaction() as tx:
        assert app.queues.ready(tx) == {QUEUE, OUTBOUND}


def test_ready_asks_no_transaction(app: App) -> None:
    """The look that is taken most often is one statement."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})

    with app.database.autocommit() as connection:
        assert app.queues.ready(connection) == {QUEUE}


def test_settling_deletes_what_is_there_and_says_what_it_was(
    queues: Queues, tx: Connection
) -> None:
    """L1: only what the deletion returns is ours."""
    first, second, third = queues.send(tx, QUEUE, [{"n": n} for n in range(3)], timedelta())

    assert queues.delete(tx, QUEUE, [first, second]) == {first, second}
    assert queues.delete(tx, QUEUE, [second, third, 999_999]) == {third}
    assert queues.delete(tx, QUEUE, []) == frozenset()


def test_two_who_settle_at_once_do_not_both_own_it(app: App, connect: Connect) -> None:
    """L1: the second waits for the first, and then has nothing; or has it all if that failed."""
    one, other = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    rival = connect()
    app.queues.delete(rival, QUEUE, [one])
    with (
        pytest.raises(DBAPIError, match="lock timeout"),
        app.database.transaction(lock_timeout=timedelta(milliseconds=10)) as tx,
    ):
        app.queues.delete(tx, QUEUE, [one, other])

    rival.commit()

    with app.database.transaction() as tx:
        assert app.queues.delete(tx, QUEUE, [one, other]) == {other}


def test_what_is_sent_with_a_delay_is_hidden_for_so_long(app: App) -> None:
    with app.database.transaction() as tx:
        app.queues.send(tx, QUEUE, [{"n": 1}, {"n": 2}], timedelta(milliseconds=4_100))

    delays = [message.delay for message in messages(app)]
    assert all(4 * SECOND < delay <= 5 * SECOND for delay in delays)
    assert len(delays) == 2


def test_sending_nothing_is_nothing(queues: Queues, tx: Connection) -> None:
    assert queues.send(tx, QUEUE, [], timedelta()) == []
    assert dead_letter.send(tx, queues, []) == []
    queues.postpone(tx, [], timedelta())


@pytest.mark.parametrize(
    "body",
    [
        {"quote": "'", "double": '"', "percent": "100%s %%", "colon": ":x", "slash": "\\n\\"},
        {"é": "東京 🛍", "empty": "", "deep": [{"a": [None, True, 1.5, -1]}]},
    ],
)
def test_what_is_sent_is_what_is_read(queues: Queues, tx: Connection, body: dict[str, Any]) -> None:
    queues.send(tx, QUEUE, [body], timedelta())

    (message,) = queues.read(tx, [QUEUE], lease=LEASE, quantity=1)

    assert json.loads(message.raw or "") == body


def test_rows_become_bodies_in_one_statement(app: App, tx: Connection) -> None:
    """The labels are the payload's fields; what is none of them stays behind."""
    row = select(literal("c1").label("order_id"), literal("x").label("since"))
    found = union_all(row, row.with_only_columns(literal("c2"), literal("y"))).cte("found")

    sending = enqueue_statement(app.queues, job(app), found, now=NOW, max_retries=7, sweepId="s1")

    assert tx.execute(sending).scalar_one() == 2
    bodies = [
        json.loads(message.raw or "")
        for message in app.queues.read(tx, [QUEUE], lease=LEASE, quantity=9)
    ]
    assert bodies == [
        {
            "type": "ORDER_EXPIRE_DP",
            "payload": {"orderId": order},
            "retryCount": 0,
            "maxRetries": 7,
            "createdAt": "2026-01-31T12:00:00.000Z",
            "sweepId": "s1",
        }
        for order in ("c1", "c2")
    ]


def test_rows_are_sent_to_their_own_queue_with_their_own_retries(app: App, tx: Connection) -> None:
    row = select(cast("c1", Text).label("order_id"), literal(value=True).label("should_refund"))

    tx.execute(
        enqueue_statement(
            app.queues, job(app, "STOCK_RELEASE"), row.cte("found"), now=NOW, max_retries=7
        )
    )

    (message,) = app.queues.read(tx, [HIGH], lease=LEASE, quantity=9)
    body = json.loads(message.raw or "")
    assert body["payload"] == {"orderId": "c1", "shouldRefund": True}
    assert body["maxRetries"] == 2


def test_many_rows_are_sent_in_their_order(app: App, tx: Connection) -> None:
    """One call holds a few thousand bodies; nothing is lost, or overtaken, between two of them."""
    count = 10_001
    number = func.generate_series(1, count).column_valued("number")
    found = select(cast(number, Text).label("order_id")).cte("found")

    sent = tx.execute(
        enqueue_statement(app.queues, job(app), found, now=NOW, max_retries=3)
    ).scalar_one()

    assert sent == count
    keys = text(f"select message -> 'payload' ->> 'orderId' from pgmq.q_{QUEUE} order by msg_id")
    assert list(tx.execute(keys).scalars()) == [str(n) for n in range(1, count + 1)]


def test_many_rows_are_sent_in_few_calls(app: App, tx: Connection) -> None:
    """A call holds thousands of bodies, not one: that is where the speed is."""
    number = func.generate_series(1, 10_001).column_valued("number")
    found = select(cast(number, Text).label("order_id")).cte("found")
    tx.execute(text("set local track_functions = 'all'"))

    tx.execute(enqueue_statement(app.queues, job(app), found, now=NOW, max_retries=3))

    calls = text("select max(calls) from pg_stat_xact_user_functions where funcname = 'send_batch'")
    assert 1 <= tx.execute(calls).scalar_one() <= 10


def test_what_waits_is_known_by_its_key(app: App, tx: Connection) -> None:
    """In every live queue, in both dialects, read or not; of this type only; each key once."""
    kind = "ORDER_EXPIRE_DP"
    app.queues.send(
        tx,
        QUEUE,
        [
            {"type": kind, "payload": {"orderId": "one"}},
            {"type": kind, "payload": {"orderId": "one"}},
            {"type": kind, "payload": {"orderIds": ["two", "three"]}},
            {"type": "ORDER_AUTO_REFUND", "payload": {"orderId": "of another type"}},
        ],
        timedelta(),
    )
    app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)
    app.queues.send(tx, LOW, [{"type": kind, "payload": {"orderId": "low"}}], LEASE)
    app.queues.send(tx, OUTBOUND, [{"type": kind, "payload": {"orderId": "astray"}}], timedelta())
    dead_letter.send(tx, app.queues, [letter(key="dead")])

    keys = tx.execute(inspect.waiting_keys(app.queues, job(app))).scalars().all()

    assert sorted(key for key in keys if key) == ["astray", "low", "one", "three", "two"]


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "null",
        "5",
        '"text"',
        "[]",
        "{}",
        '{"type": "ORDER_EXPIRE_DP"}',
        '{"type": "ORDER_EXPIRE_DP", "payload": null}',
        '{"type": "ORDER_EXPIRE_DP", "payload": 5}',
        '{"type": "ORDER_EXPIRE_DP", "payload": []}',
        '{"type": "ORDER_EXPIRE_DP", "payload": {"orderIds": "none"}}',
        '{"type": "ORDER_EXPIRE_DP", "payload": {"orderIds": {"a": 1}}}',
        '{"type": ["ORDER_EXPIRE_DP"], "payload": {"orderId": "c"}}',
    ],
)
def test_what_waits_is_found_beside_any_rubbish(app: App, raw: str | None) -> None:
    """A stranger's message must not stop the scans."""
    send_raw(app, raw)
    send(app, "ORDER_EXPIRE_DP", {"orderId": "good"})

    with app.database.transaction() as tx:
        keys = tx.execute(inspect.waiting_keys(app.queues, job(app))).scalars().all()

    assert {key for key in keys if key} == {"good"}


def test_what_is_buried_is_known_by_its_key(app: App, tx: Connection) -> None:
    dead_letter.send(
        tx,
        app.queues,
        [
            letter(key="one"),
            letter(key="one"),
            letter(key="other", type="ORDER_AUTO_REFUND"),
            letter(key=None, type=None),
        ],
    )

    assert tx.execute(inspect.dead_keys(app.queues, job(app))).scalars().all() == ["one"]


def test_what_is_given_back_is_as_though_it_had_not_been_read(app: App) -> None:
    """L5: neither an attempt nor a crash."""
    given, kept = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    with app.database.transaction() as tx:
        read = app.queues.read(tx, [QUEUE], lease=LEASE, quantity=2)
        app.queues.postpone(tx, [one for one in read if one.msg_id == given], 4 * SECOND)

    back, still = messages(app)
    assert (back.msg_id, back.read_ct) == (given, 0)
    assert 3 * SECOND < back.delay <= 4 * SECOND
    assert (still.msg_id, still.read_ct) == (kept, 1)
    assert still.delay > 20 * SECOND


def test_what_somebody_else_has_read_meanwhile_is_not_given_back(app: App) -> None:
    """L1: after a lease ran out, the message is the next reader's."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    with app.database.transaction() as tx:
        late = app.queues.read(tx, [QUEUE], lease=timedelta(), quantity=1)
        app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)

        app.queues.postpone(tx, late, timedelta())

    (message,) = messages(app)
    assert message.read_ct == 2
    assert message.delay > 20 * SECOND


def test_a_lease_can_begin_anew(app: App) -> None:
    first, second = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=SECOND, quantity=2)
        app.queues.renew(tx, QUEUE, [first, 999_999], LEASE)
        app.queues.renew(tx, QUEUE, [], LEASE)

    renewed, other = messages(app)
    assert (renewed.msg_id, renewed.read_ct, other.msg_id) == (first, 1, second)
    assert renewed.delay > 20 * SECOND
    assert other.delay <= SECOND


@pytest.mark.parametrize(
    "body",
    [None, "5", '"text"', "[1, 2]", r"""{"type": "X", "payload": {"text": "é '\"%s\\n"}}"""],
)
def test_the_dead_are_kept_whole(queues: Queues, tx: Connection, body: str | None) -> None:
    """L2: with body, error and everything else that a person needs; SQL NULL stays none."""
    one = letter(body=body, error='it\'s "out" of 100%s range: 東京', sweep_id="s1")

    (msg_id,) = dead_letter.send(tx, queues, [one])

    assert dead_letter.read(tx, queues) == [replace(one, msg_id=msg_id)]


def test_the_dead_come_by_id_the_oldest_first(queues: Queues, tx: Connection) -> None:
    first, second, third = dead_letter.send(tx, queues, [letter(key=key) for key in "abc"])

    assert [one.key for one in dead_letter.read(tx, queues)] == ["a", "b", "c"]
    assert [one.msg_id for one in dead_letter.read(tx, queues, [third, first, 999])] == [
        first,
        third,
    ]
    assert dead_letter.read(tx, queues, [999]) == []
    assert second not in {one.msg_id for one in dead_letter.read(tx, queues, [first])}


def test_depths_tell_ready_in_flight_and_delayed_apart(app: App) -> None:
    """DESIGN: in flight is invisible and already read; delayed, invisible and never read."""
    with app.database.transaction() as tx:
        app.queues.send(tx, QUEUE, [{"type": "A", "retryCount": 2}, {"type": "B"}], timedelta())
        app.queues.send(tx, QUEUE, [{"type": "C"}], LEASE)
        app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)
        app.queues.send(tx, HIGH, [{"type": "D", "retryCount": 2}], timedelta())
    with app.database.transaction() as tx:
        depths = inspect.depths(tx, app.queues)

    normal, high = depths[QUEUE], depths[HIGH]
    assert (normal.ready, normal.in_flight, normal.delayed) == (1, 1, 1)
    assert normal.oldest_ready == {"msg_id": 2, "type": "B", "retry_count": None}
    assert high.oldest_ready == {"msg_id": 1, "type": "D", "retry_count": 2}
    assert 0 <= high.oldest_ready_seconds < 30
    for queue in (LOW, OUTBOUND):
        assert depths[queue] == Depth(0, 0, 0, 0.0, None)
    assert depths.keys() == {HIGH, QUEUE, LOW, OUTBOUND}


def test_the_oldest_ready_is_as_old_as_its_sending(app: App, connection: Connection) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    connection.execute(
        text(
            f"update pgmq.q_{QUEUE} set enqueued_at = now() - interval '100 s',"
            " vt = now() - interval '100 s' where msg_id = 1"
        )
    )
    with app.database.transaction() as tx:
        depth = inspect.depths(tx, app.queues)[QUEUE]

    assert 100 <= depth.oldest_ready_seconds < 130


def test_the_dead_in_two_numbers(app: App, connection: Connection) -> None:
    with app.database.transaction() as tx:
        assert inspect.dead_depth(tx, app.queues) == (0, 0)
        dead_letter.send(tx, app.queues, [letter(), letter()])
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '60 s' where msg_id = 1")
    )

    with app.database.transaction() as tx:
        count, seconds = inspect.dead_depth(tx, app.queues)

    assert count == 2
    assert 60 <= seconds < 90


def test_purging_empties_one_queue_and_says_how_many(app: App) -> None:
    for queue in (QUEUE, QUEUE, LOW):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}, queue=queue)

    with app.database.transaction() as tx:
        assert app.queues.purge(tx, QUEUE) == 2
        assert app.queues.purge(tx, QUEUE) == 0
        assert missing_queues(tx, app.queues) == []

    assert (len(messages(app, QUEUE)), len(messages(app, LOW))) == (0, 1)
    assert dead_letters(app) == []


def test_pgmq_says_its_version(tx: Connection) -> None:
    version = pgmq_version(tx)

    assert version is not None
    assert int(version.split(".")[0]) >= 1


def test_pgmq_is_installed_where_it_is_missing(bare_database_url: str) -> None:
    with opened(bare_database_url) as database, database.transaction() as tx:
        assert pgmq_version(tx) is None

        version = install_pgmq(tx)

        assert pgmq_version(tx) == version
        queues = Queues("first")
        create_queues(tx, queues)
        assert len(queues.send(tx, "first", [{"n": 1}], timedelta())) == 1


def test_a_foreign_schema_of_that_name_is_no_pgmq(bare_database_url: str) -> None:
    with opened(bare_database_url) as database, database.transaction() as tx:
        tx.execute(text("create schema pgmq"))

        assert pgmq_version(tx) is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("order 15 is locked", "order 99 is locked"),
        ("no row 'abc' here", "no row 'xyz' here"),
        ('column "a" is bad', 'column "b" is bad'),
        ("id 0f8fad5b-d9cb-469f-a165-70867728950e", "id 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ],
)
def test_errors_that_differ_in_ids_have_one_fingerprint(one: str, other: str) -> None:
    assert fingerprint("A", one) == fingerprint("A", other)
    assert fingerprint("A", one) != fingerprint("B", one)


def test_errors_of_another_kind_have_another_fingerprint() -> None:
    assert fingerprint("A", "out of range") != fingerprint("A", "out of memory")
    assert fingerprint(None, "out of range") != fingerprint("A", "out of range")
