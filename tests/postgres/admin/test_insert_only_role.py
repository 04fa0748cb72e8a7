"""A role that may only send messages: what it can do, and what stops it (docs/security.md)."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.verbs import HOUR, LOW, OUTBOUND, QUEUE, dead_letters, drain, messages, send

ROLE = "sweeper_test_sender"


@pytest.fixture
def sender(
    admin: psycopg.Connection, connection: Connection, database_url: str
) -> Iterator[Connection]:
    """Open a session of a login with the grants that docs/security.md names, and no others."""
    admin.execute(SQL("create role {} login").format(Identifier(ROLE)))
    connection.execute(text(f"grant usage on schema pgmq to {ROLE}"))
    connection.execute(
        text(
            "grant insert (vt, message, headers), select (msg_id)"
            f" on pgmq.q_{QUEUE}, pgmq.q_{OUTBOUND} to {ROLE}"
        )
    )
    url = make_url(database_url).set(drivername="postgresql+psycopg", username=ROLE, password=None)
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as session:
        yield session
    connection.execute(text(f"drop owned by {ROLE}"))
    admin.execute(SQL("drop role {}").format(Identifier(ROLE)))


def test_it_sends_any_message_where_the_queues_have_indexes(app: App, sender: Connection) -> None:
    """The index calls a function of ours, whose schema the role may not use."""
    app.migrate(with_indexes=True)
    send = text("select pgmq.send(:queue, cast(:body as jsonb))")

    for body in ('{"type": "A", "payload": "{}"}', '"{\\"payload\\": \\"{}\\"}"', '"text"'):
        sender.execute(send, {"queue": QUEUE, "body": body})

    assert 3 == len(messages(app))


def test_it_sends_messages(app: App, shop: Shop, sender: Connection) -> None:
    order = shop.order(age=HOUR)
    body = f'{{"type": "ORDER_EXPIRE_DP", "payload": {{"orderId": "{order}"}}}}'

    sender.execute(
        text("select pgmq.send(:queue, cast(:body as jsonb))"),
        {
            "queue": QUEUE,
            "body": body,
        },
    )
    drain(app)

    assert shop.status(order) == "cancelled"


@pytest.mark.parametrize(
    "statement",
    [
        f"insert into pgmq.q_{QUEUE} (vt, read_ct, message) values (now(), 9, '{{}}')",
        f"insert into pgmq.q_{QUEUE} (vt, enqueued_at, message) values (now(), now(), '{{}}')",
        f"insert into pgmq.q_{QUEUE} (msg_id, vt) overriding system value values (7, now())",
        f"select message from pgmq.q_{QUEUE}",
        f"select pgmq.set_vt('{QUEUE}', 1, 0)",
        f"select pgmq.delete('{QUEUE}', 1)",
        f"select pgmq.purge_queue('{QUEUE}')",
        f"select pgmq.send('{LOW}', '{{}}')",
        'select metadata from "NotificationLog"',
        "select id from sweeper.sweep",
        "select * from sweeper.lock for update",
    ],
)
def test_it_does_nothing_else(app: App, sender: Connection, statement: str) -> None:
    """It reads no nonce and no id of a sweep, and sets no count of reads, no time, no id."""
    send(app, "ORDER_EXPIRE_DP", {"orderId": "o"})

    with pytest.raises(ProgrammingError, match="permission denied"):
        sender.execute(text(statement)).all()


@pytest.mark.parametrize("count", [2**31 - 1, -(2**31), 2**31 - 2])
def test_a_count_of_reads_that_cannot_be_counted_further_blocks_no_queue(
    app: App, shop: Shop, connection: Connection, count: int
) -> None:
    """L2: a role with a grant on the whole table may write any number; the others are worked."""
    first, second = shop.order(age=HOUR), shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": first})
    connection.execute(text(f"update pgmq.q_{QUEUE} set read_ct = {count}"))
    send(app, "ORDER_EXPIRE_DP", {"orderId": second})

    for _ in range(3):
        drain(app)

    assert shop.status(second) == "cancelled"
    assert shop.status(first) == "cancelled" or len(dead_letters(app)) == 1


@pytest.mark.parametrize("count", [-1, -2, -(2**31)])
def test_a_count_of_reads_below_zero_does_not_end_the_worker(
    app: App, shop: Shop, connection: Connection, count: int
) -> None:
    """L2: nothing else is read with it, so that no other message hides the number."""
    order = shop.order(age=HOUR)
    send(app, "ORDER_EXPIRE_DP", {"orderId": order})
    connection.execute(text(f"update pgmq.q_{QUEUE} set read_ct = {count}"))

    drain(app)

    assert shop.status(order) == "cancelled"
