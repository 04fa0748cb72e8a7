"""The queues: every function that calls pgmq, tested against pgmq itself."""

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
from sweeper.queue import inspect, waiting
from sweeper.queue.dead_letters import dead_letter
from sweeper.queue.dead_letters.dead_letter import DeadLetter, fingerprint
from sweeper.queue.dead_letters.dead_letter_table import letters, read
from sweeper.queue.enqueue import enqueue_statement
from sweeper.queue.inspect import Depth
from sweeper.queue.install import create_queues, install_pgmq, missing_queues, pgmq_version
from sweeper.queue.look import look
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
CREATED_AT = literal("2026-01-31T12:00:00.000Z")


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
    """Open a database without an app."""
    database = Database(url)
    yield database
    database.close()


def make_dead_letter(**values: Any) -> DeadLetter:
    """Return a dead letter with these values, and defaults for the others."""
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
    """Return the job type of this name."""
    return app.catalog.job(name)


def numbers_in(found: list[Message]) -> list[int]:
    """Return the numbers in the bodies of messages."""
    return [json.loads(message.raw or "null")["n"] for message in found]


def test_the_queues_have_their_names(queues: Queues) -> None:
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
def test_every_job_has_a_home_queue(
    app: App, kind: str, priority: Priority | None, home: str
) -> None:
    """The priority decides, except for outbound jobs."""
    assert app.queues.home(job(app, kind), priority) == home


def test_missing_queues_are_created_and_existing_ones_are_kept(app: App, tx: Connection) -> None:
    more = Queues("jastipin_test")
    names = list(more)
    assert missing_queues(tx, more) == names
    app.queues.send(tx, QUEUE, [{"n": 1}], timedelta())

    create_queues(tx, more)
    create_queues(tx, more)
    create_queues(tx, app.queues)

    assert missing_queues(tx, more) == []
    assert numbers_in(app.queues.read(tx, [QUEUE], lease=LEASE, quantity=9)[0]) == [1]


def test_messages_are_read_oldest_first_and_the_reads_are_counted(
    queues: Queues, tx: Connection
) -> None:
    ids = queues.send(tx, QUEUE, [{"n": n} for n in range(5)], timedelta())

    first = queues.read(tx, [QUEUE], lease=LEASE, quantity=3)[0]
    rest = queues.read(tx, [QUEUE], lease=LEASE, quantity=3)[0]

    assert (numbers_in(first), numbers_in(rest)) == ([0, 1, 2], [3, 4])
    assert [message.msg_id for message in first + rest] == ids
    assert {(message.queue, message.read_ct, message.crashes) for message in first} == {
        (QUEUE, 1, 0)
    }
    assert queues.read(tx, [QUEUE], lease=LEASE, quantity=3)[0] == []


def test_the_first_queue_with_messages_is_read(queues: Queues, tx: Connection) -> None:
    """L6: one round trip reads from that queue only."""
    queues.send(tx, LOW, [{"n": 3}], timedelta())
    queues.send(tx, QUEUE, [{"n": 2}], timedelta())
    order = [HIGH, QUEUE, LOW]

    reads = [queues.read(tx, order, lease=LEASE, quantity=9)[0] for _ in range(3)]

    assert [numbers_in(read) for read in reads] == [[2], [3], []]
    assert [message.queue for read in reads for message in read] == [QUEUE, LOW]


def test_a_lease_is_rounded_up_to_whole_seconds(app: App) -> None:
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=timedelta(milliseconds=1_200), quantity=1)[0]

    (message,) = messages(app)
    assert timedelta(seconds=1) < message.delay <= timedelta(seconds=2)


def test_a_message_holds_the_time_of_its_read(queues: Queues, tx: Connection) -> None:
    """L4: the time is the database's, so that this host's clock can be compared with it."""
    queues.send(tx, QUEUE, [{"n": 1}], timedelta())
    before = datetime.now(UTC)

    (message,) = queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]

    assert abs(message.read_at - before) < timedelta(seconds=5)
    assert message.read_at >= message.enqueued_at


@pytest.mark.parametrize("raw", [None, "null", "5", '"text"', "[1]", '{"a": "b"}'])
def test_any_body_can_be_read(app: App, raw: str | None) -> None:
    """The raw text is returned unchanged, and SQL NULL as None."""
    send_raw(app, raw)
    with app.database.transaction() as tx:
        (message,) = app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]

    assert message.raw == raw


def test_a_look_returns_the_queues_with_visible_messages(app: App) -> None:
    with app.database.transaction() as tx:
        assert look(tx, app.queues).ready == frozenset()
        app.queues.send(tx, QUEUE, [{"n": 1}], timedelta())
        app.queues.send(tx, OUTBOUND, [{"n": 1}], timedelta())
        app.queues.send(tx, LOW, [{"n": 1}], LEASE)
        dead_letter.send(tx, app.queues, [make_dead_letter()])

    with app.database.transaction() as tx:
        assert look(tx, app.queues).ready == {QUEUE, OUTBOUND}


def test_a_look_tells_when_the_next_message_becomes_visible(app: App) -> None:
    """L2: nobody notifies of that moment; a time that no subtraction takes is left out."""
    with app.database.transaction() as tx:
        app.queues.send(tx, QUEUE, [{"n": 1}], 2 * LEASE)
        app.queues.send(tx, LOW, [{"n": 1}], LEASE)
        app.queues.send(tx, OUTBOUND, [{"n": 1}], timedelta())
        tx.execute(text(f"update pgmq.q_{OUTBOUND} set vt = 'infinity'"))
        found = look(tx, app.queues)
        tx.execute(text(f"update pgmq.q_{LOW} set vt = 'infinity'"))
        later = look(tx, app.queues)
        tx.execute(text(f"delete from pgmq.q_{QUEUE}"))
        never = look(tx, app.queues)

    assert frozenset() == found.ready
    assert found.next_in
    assert LEASE / 2 < found.next_in <= LEASE + timedelta(seconds=1)
    assert later.next_in
    assert later.next_in > LEASE + timedelta(seconds=1)
    assert never.next_in is None


def test_a_look_works_without_a_transaction(app: App) -> None:
    """The most frequent query is a single statement in autocommit."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})

    with app.database.autocommit() as connection:
        assert look(connection, app.queues).ready == {QUEUE}


def test_delete_returns_the_messages_that_it_deleted(queues: Queues, tx: Connection) -> None:
    """L1: a worker owns only the messages that its deletion returns."""
    first, second, third = queues.send(tx, QUEUE, [{"n": n} for n in range(3)], timedelta())

    assert queues.delete(tx, QUEUE, [first, second]) == {first, second}
    assert queues.delete(tx, QUEUE, [second, third, 999_999]) == {third}
    assert queues.delete(tx, QUEUE, []) == frozenset()


def test_two_concurrent_deletions_do_not_both_get_a_message(app: App, connect: Connect) -> None:
    """L1: the second waits for the first, and gets only what the first did not delete."""
    one, other = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    other_worker = connect()
    app.queues.delete(other_worker, QUEUE, [one])
    with (
        pytest.raises(DBAPIError, match="lock timeout"),
        app.database.transaction(lock_timeout=timedelta(milliseconds=10)) as tx,
    ):
        app.queues.delete(tx, QUEUE, [one, other])

    other_worker.commit()

    with app.database.transaction() as tx:
        assert app.queues.delete(tx, QUEUE, [one, other]) == {other}


def test_a_message_sent_with_a_delay_is_invisible_for_that_time(app: App) -> None:
    with app.database.transaction() as tx:
        app.queues.send(tx, QUEUE, [{"n": 1}, {"n": 2}], timedelta(milliseconds=4_100))

    delays = [message.delay for message in messages(app)]
    assert all(4 * SECOND < delay <= 5 * SECOND for delay in delays)
    assert len(delays) == 2


def test_sending_no_messages_does_nothing(queues: Queues, tx: Connection) -> None:
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
def test_a_body_is_read_as_it_was_sent(
    queues: Queues, tx: Connection, body: dict[str, Any]
) -> None:
    queues.send(tx, QUEUE, [body], timedelta())

    (message,) = queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]

    assert json.loads(message.raw or "") == body


def test_rows_are_enqueued_in_one_statement(app: App, tx: Connection) -> None:
    """The labels that are fields of the payload are sent; other columns are not."""
    row = select(literal("c1").label("order_id"), literal("x").label("since"))
    found = union_all(row, row.with_only_columns(literal("c2"), literal("y"))).cte("found")

    sending = enqueue_statement(
        app.queues, job(app), found, created_at=CREATED_AT, max_retries=7, sweepId="s1"
    )

    assert tx.execute(sending).scalar_one() == 2
    bodies = [
        json.loads(message.raw or "")
        for message in app.queues.read(tx, [QUEUE], lease=LEASE, quantity=9)[0]
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


def test_rows_are_enqueued_with_the_queue_and_retries_of_their_type(
    app: App, tx: Connection
) -> None:
    row = select(cast("c1", Text).label("order_id"), literal(value=True).label("should_refund"))

    tx.execute(
        enqueue_statement(
            app.queues,
            job(app, "STOCK_RELEASE"),
            row.cte("found"),
            created_at=CREATED_AT,
            max_retries=7,
        )
    )

    (message,) = app.queues.read(tx, [HIGH], lease=LEASE, quantity=9)[0]
    body = json.loads(message.raw or "")
    assert body["payload"] == {"orderId": "c1", "shouldRefund": True}
    assert body["maxRetries"] == 2


def test_many_rows_are_enqueued_in_order(app: App, tx: Connection) -> None:
    """Each call sends a few thousand bodies, and calls neither lose nor reorder any."""
    count = 10_001
    number = func.generate_series(1, count).column_valued("number")
    found = select(cast(number, Text).label("order_id")).cte("found")

    sent = tx.execute(
        enqueue_statement(app.queues, job(app), found, created_at=CREATED_AT, max_retries=3)
    ).scalar_one()

    assert sent == count
    keys = text(f"select message -> 'payload' ->> 'orderId' from pgmq.q_{QUEUE} order by msg_id")
    assert list(tx.execute(keys).scalars()) == [str(n) for n in range(1, count + 1)]


def test_many_rows_are_enqueued_in_few_calls(app: App, tx: Connection) -> None:
    """A call sends thousands of bodies, which is much faster than one body per call."""
    number = func.generate_series(1, 10_001).column_valued("number")
    found = select(cast(number, Text).label("order_id")).cte("found")
    tx.execute(text("set local track_functions = 'all'"))

    tx.execute(enqueue_statement(app.queues, job(app), found, created_at=CREATED_AT, max_retries=3))

    calls = text("select max(calls) from pg_stat_xact_user_functions where funcname = 'send_batch'")
    assert 1 <= tx.execute(calls).scalar_one() <= 10


def test_the_keys_of_waiting_jobs_are_found(app: App, tx: Connection) -> None:
    """Each key of this type is found once, in every live queue, in both forms, read or not."""
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
    app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]
    app.queues.send(tx, LOW, [{"type": kind, "payload": {"orderId": "low"}}], LEASE)
    app.queues.send(tx, OUTBOUND, [{"type": kind, "payload": {"orderId": "astray"}}], timedelta())
    dead_letter.send(tx, app.queues, [make_dead_letter(key="dead")])

    keys = tx.execute(waiting.waiting_keys(app.queues, job(app))).scalars().all()

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
def test_the_keys_of_waiting_jobs_are_found_beside_malformed_messages(
    app: App, raw: str | None
) -> None:
    """A malformed message must not stop the scans."""
    send_raw(app, raw)
    send(app, "ORDER_EXPIRE_DP", {"orderId": "good"})

    with app.database.transaction() as tx:
        keys = tx.execute(waiting.waiting_keys(app.queues, job(app))).scalars().all()

    assert {key for key in keys if key} == {"good"}


def test_the_keys_of_dead_letters_are_found(app: App, tx: Connection) -> None:
    dead_letter.send(
        tx,
        app.queues,
        [
            make_dead_letter(key="one"),
            make_dead_letter(key="one"),
            make_dead_letter(key="other", type="ORDER_AUTO_REFUND"),
            make_dead_letter(key=None, type=None),
        ],
    )

    assert tx.execute(waiting.dead_keys(app.queues, job(app))).scalars().all() == ["one"]


def test_a_postponed_message_counts_as_never_read(app: App) -> None:
    """L5: the message keeps its attempts and counts no crash."""
    given_back, kept = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    with app.database.transaction() as tx:
        read = app.queues.read(tx, [QUEUE], lease=LEASE, quantity=2)[0]
        app.queues.postpone(tx, [one for one in read if one.msg_id == given_back], 4 * SECOND)

    back, unchanged = messages(app)
    assert (back.msg_id, back.read_ct) == (given_back, 0)
    assert 3 * SECOND < back.delay <= 4 * SECOND
    assert (unchanged.msg_id, unchanged.read_ct) == (kept, 1)
    assert unchanged.delay > 20 * SECOND


def test_a_message_that_another_worker_has_read_is_not_postponed(app: App) -> None:
    """L1: after a lease has run out, the message belongs to the next worker that reads it."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "c"})
    with app.database.transaction() as tx:
        late = app.queues.read(tx, [QUEUE], lease=timedelta(), quantity=1)[0]
        app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]

        app.queues.postpone(tx, late, timedelta())

    (message,) = messages(app)
    assert message.read_ct == 2
    assert message.delay > 20 * SECOND


def test_a_lease_can_be_renewed(app: App) -> None:
    first, second = (send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}) for _ in range(2))
    with app.database.transaction() as tx:
        app.queues.read(tx, [QUEUE], lease=SECOND, quantity=2)[0]
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
def test_dead_letters_are_stored_completely(
    queues: Queues, tx: Connection, body: str | None
) -> None:
    """L2: body, error and all other fields are stored, and SQL NULL is read as None."""
    one = make_dead_letter(body=body, error='it\'s "out" of 100%s range: 東京', sweep_id="s1")

    (msg_id,) = dead_letter.send(tx, queues, [one])

    assert read(tx, letters(queues)) == [replace(one, msg_id=msg_id)]


def test_dead_letters_are_read_by_condition_oldest_first(queues: Queues, tx: Connection) -> None:
    first, _, third = dead_letter.send(tx, queues, [make_dead_letter(key=key) for key in "abc"])
    found = letters(queues)

    assert [one.key for one in read(tx, found)] == ["a", "b", "c"]
    chosen = read(tx, found, found.c.msg_id.in_([third, first, 999]))
    assert [one.msg_id for one in chosen] == [first, third]
    assert read(tx, found, found.c.msg_id == 999) == []


def test_depths_count_ready_in_flight_and_delayed_messages(app: App) -> None:
    """DESIGN: in flight means invisible and already read; delayed, invisible and never read."""
    with app.database.transaction() as tx:
        app.queues.send(tx, QUEUE, [{"type": "A", "retryCount": 2}, {"type": "B"}], timedelta())
        app.queues.send(tx, QUEUE, [{"type": "C"}], LEASE)
        app.queues.read(tx, [QUEUE], lease=LEASE, quantity=1)[0]
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


def test_the_age_of_the_oldest_ready_message_is_counted_from_its_sending(
    app: App, connection: Connection
) -> None:
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


def test_the_depth_of_the_dead_letter_queue_is_a_count_and_an_age(
    app: App, connection: Connection
) -> None:
    with app.database.transaction() as tx:
        assert inspect.dead_depth(tx, app.queues) == (0, 0)
        dead_letter.send(tx, app.queues, [make_dead_letter(), make_dead_letter()])
    connection.execute(
        text(f"update pgmq.q_{DEAD} set enqueued_at = now() - interval '60 s' where msg_id = 1")
    )

    with app.database.transaction() as tx:
        count, seconds = inspect.dead_depth(tx, app.queues)

    assert count == 2
    assert 60 <= seconds < 90


def test_purging_empties_one_queue_and_returns_the_count(app: App) -> None:
    for queue in (QUEUE, QUEUE, LOW):
        send(app, "ORDER_EXPIRE_DP", {"orderId": "c"}, queue=queue)

    with app.database.transaction() as tx:
        assert app.queues.purge(tx, QUEUE) == 2
        assert app.queues.purge(tx, QUEUE) == 0
        assert missing_queues(tx, app.queues) == []

    assert (len(messages(app, QUEUE)), len(messages(app, LOW))) == (0, 1)
    assert dead_letters(app) == []


def test_the_version_of_pgmq_is_returned(tx: Connection) -> None:
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


def test_another_schema_named_pgmq_does_not_count_as_pgmq(bare_database_url: str) -> None:
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
