"""Random messages in every queue: each ends, none is lost, only due orders are touched."""

import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.fuzz.strangers import MARKUP, Message, Sender, any_text
from tests.support.length import LONG
from tests.support.terminal import controls
from tests.support.verbs import DEAD, HOUR, OpenApp, Run, make_visible
from tests.support.web_client import TOKEN, served

MESSAGES = 100_000 if LONG else 3_000
CHUNK = 5_000
ROUNDS = 12
ENDED = {"cancelled", "rejected"}

# Every message that comes into a queue or leaves it, with the transaction that did it.
TRAIL = """
    create table trail (
        tx xid8 not null default pg_current_xact_id(), came boolean, queue text, msg_id bigint,
        message jsonb, tag text
    );
    create function leave_a_trail() returns trigger language plpgsql security definer as $$
    begin
        if tg_op = 'INSERT' then
            insert into public.trail (came, queue, msg_id, message, tag) values (
                true, substr(tg_table_name, 3), new.msg_id, new.message,
                substring(new.message::text from 'fuzz-[0-9]+'));
        else
            insert into public.trail (came, queue, msg_id, message, tag) values (
                false, substr(tg_table_name, 3), old.msg_id, old.message,
                substring(old.message::text from 'fuzz-[0-9]+'));
        end if;
        return null;
    end $$;
"""
# Ids that no two queues share: the ledger names a message by its id alone.
OF_A_QUEUE = """
    alter table pgmq.q_{queue} alter column msg_id restart with {first};
    create trigger leave_a_trail after insert or delete on pgmq.q_{queue}
        for each row execute function leave_a_trail();
"""
INSERT = text(
    """
    insert into pgmq.q_{queue} (message, headers, read_ct, enqueued_at, vt)
    select cast(raw as jsonb),
           case when pg_input_is_valid(headers, 'jsonb') then cast(headers as jsonb) end,
           read_ct, cast(sent as timestamptz), cast(vt as timestamptz)
    from unnest(
        cast(:raws as text[]), cast(:headers as text[]), cast(:reads as int[]),
        cast(:sent as text[]), cast(:visible as text[])
    ) as written (raw, headers, read_ct, sent, vt)
    where raw is null or pg_input_is_valid(raw, 'jsonb')
""".strip()
)

# A message that left a queue of jobs ended in the ledger, or went on in the same transaction.
LOST = """
    select gone.queue, gone.msg_id, gone.message from trail as gone
    where not gone.came and gone.queue <> :dead
      and not exists (select from sweeper.job_log as log where log.msg_id = gone.msg_id)
      and not exists (
          select from trail as sent
          where sent.tx = gone.tx and sent.came and sent.queue <> :dead
            and sent.tag is not distinct from gone.tag)
"""
ENDED_TWICE = "select msg_id, count(*) from sweeper.job_log group by msg_id having count(*) > 1"
# What is dead is in the queue of dead letters, with its body and an error.
DEAD_WITHOUT_LETTER = """
    select log.msg_id from sweeper.job_log as log
    join trail as gone on gone.msg_id = log.msg_id and not gone.came
    where log.outcome = 'dead' and not exists (
        select from trail as letter
        where letter.tx = gone.tx and letter.came and letter.queue = :dead
          and letter.message -> 'body' is not distinct from gone.message
          and letter.message ->> 'error' <> '')
"""


@pytest.fixture
def orders(shop: Shop) -> dict[str, list[str]]:
    """Add orders of every kind, some of them due, all for one product that no message names."""
    rice = shop.product(stock=1_000)
    items = [(rice, 2)]

    def some(**columns: Any) -> list[str]:
        return [shop.order(items=items, **columns) for _ in range(20)]

    waiting = "awaiting_validation"
    return {
        "due": [*some(age=HOUR), *some(status=waiting, age=50 * HOUR, paid_ago=25 * HOUR)],
        "not due": [
            *some(),
            *some(status=waiting, age=50 * HOUR, paid_ago=HOUR),
            *some(status="awaiting_final_payment", age=50 * HOUR, paid_ago=40 * HOUR),
            *some(age=HOUR, dp_proof_url="proof.png"),
            *some(status=waiting, age=50 * HOUR),
            *some(status="completed", age=50 * HOUR),
        ],
        "rice": [rice],
        "goods": [shop.product(stock=1) for _ in range(3)],
    }


def test_random_messages_all_end_and_no_order_is_touched_that_was_not_due(
    open_app: OpenApp,
    connection: Connection,
    orders: dict[str, list[str]],
    run: Run,
) -> None:
    """L1, L2, L3: whatever strangers send."""
    app = open_app(web__token=TOKEN, web__port=0)
    leave_a_trail(app, connection)
    before = order_rows(connection, orders["not due"])
    random = Random(12)  # noqa: S311 -- bodies, not secrets
    sender = Sender(
        random,
        [*app.queues.live, DEAD],
        [*orders["due"], *orders["not due"], *orders["goods"], any_text(random)],
        orders["goods"],
    )
    sent = 0
    log = ""
    for begin in range(0, MESSAGES, CHUNK):
        numbers = range(begin, min(begin + CHUNK, MESSAGES))
        sent += put(connection, [sender.message(number) for number in numbers])
        log += drain_all(app, connection, run)

    assert sent > MESSAGES * 0.8
    assert_faces_show_no_controls(app, run, connection)
    code, out, _ = run("dead", "retry", "--all", "--json")
    assert (0, True) == (code, len(json.loads(out)["retried"]) > MESSAGES / 10)
    log += drain_all(app, connection, run)

    assert "Traceback" not in log
    assert [] == controls(log)
    for query in (LOST, ENDED_TWICE, DEAD_WITHOUT_LETTER):
        found = connection.execute(text(query), {"dead": DEAD}).all()
        assert [] == [tuple(row) for row in found[:5]], query
    assert before == order_rows(connection, orders["not due"])
    assert_due_orders_ended_whole(connection, orders)


def leave_a_trail(app: App, connection: Connection) -> None:
    """Record from now on what comes into the queues, and what leaves them."""
    connection.exec_driver_sql(TRAIL)
    for number, queue in enumerate(app.queues, start=1):
        connection.exec_driver_sql(OF_A_QUEUE.format(queue=queue, first=number * 100_000_000))


def put(connection: Connection, messages: list[Message]) -> int:
    """Insert *messages*; return how many of them Postgres took."""
    taken = 0
    for queue in {message.queue for message in messages}:
        # A driver cannot send what is no Unicode, and no text in Postgres holds a NUL.
        own = [m for m in messages if m.queue == queue and is_text(m.raw) and is_text(m.headers)]
        taken += connection.execute(
            text(INSERT.text.format(queue=queue)),
            {
                "raws": [message.raw for message in own],
                "headers": [message.headers for message in own],
                "reads": [message.read_ct for message in own],
                "sent": [message.times[0] for message in own],
                "visible": [message.times[1] for message in own],
            },
        ).rowcount
    return taken


def is_text(raw: str | None) -> bool:
    """Return whether Postgres can be sent *raw*."""
    return raw is None or ("\0" not in raw and not re.search("[\ud800-\udfff]", raw))


def drain_all(app: App, connection: Connection, run: Run) -> str:
    """Drain until no message waits, whatever its visibility; return the log."""
    log = ""
    left = text(" union all ".join(f"select msg_id from pgmq.q_{q}" for q in app.queues.live))
    for _ in range(ROUNDS):
        code, out, err = run("drain", "--json", SWEEPER_LOG__FORMAT="json")
        assert code in {0, 3}, err[-2_000:]
        assert json.loads(out)
        log += err
        if not connection.execute(left).all():
            return log
        make_visible(app)
    pytest.fail(f"after {ROUNDS} drains there were still messages")


def order_rows(connection: Connection, ids: list[str]) -> list[dict[str, Any]]:
    """Return the orders with these ids."""
    found = connection.execute(
        text('select * from "Order" where id = any(:ids) order by id'), {"ids": ids}
    )
    return [dict(row) for row in found.mappings()]


def assert_due_orders_ended_whole(connection: Connection, orders: dict[str, list[str]]) -> None:
    """Hold the product that no message names against the due orders, most of which have ended."""
    due = order_rows(connection, orders["due"])
    ended = [row for row in due if row["status"] in ENDED]
    waiting = [row for row in due if row["status"] in {"pending_dp", "awaiting_validation"}]
    stock = text('select stock from "Product" where id = any(:rice)')

    assert len(due) == len(ended) + len(waiting)
    assert len(due) / 2 < len(ended)
    expected = 1_000 + 2 * len(ended)
    assert expected == connection.execute(stock, {"rice": orders["rice"]}).scalar_one()


def assert_faces_show_no_controls(app: App, run: Run, connection: Connection) -> None:
    """Look at the dead letters, the status and the page as a person does."""
    for name, (code, out, err) in faces(run, connection):
        # What is shown of a long key is no key.
        assert code == 0 or (code == 2 and name.startswith("explain")), f"{name}: {err[-500:]}"
        assert [] == controls(out + err), name
    with served(app) as site:
        page = site.get("/", authorization=f"Bearer {TOKEN}")
        metrics = site.get("/metrics")
    assert (200, [], False) == (page.status, controls(page.text), MARKUP in page.text)
    assert (200, []) == (metrics.status, controls(metrics.text))


def faces(run: Run, connection: Connection) -> Iterator[tuple[str, tuple[int, str, str]]]:
    """Yield what commands print about the dead letters."""
    newest = text(f"select msg_id from pgmq.q_{DEAD} order by msg_id desc limit 200")
    ids = [str(msg_id) for msg_id in connection.execute(newest).scalars()]
    keys = text(f"select distinct message ->> 'key' from pgmq.q_{DEAD} limit 20")
    for arguments in (
        ("dead", "list", "--limit", "500"),
        ("dead", "list", "--json", "--limit", "5000"),
        ("dead", "show", *ids),
        ("dead", "show", "--json", *ids),
        ("status",),
        ("status", "--json"),
        ("doctor", "--json"),
        ("refunds", "list"),
        ("refunds", "export"),
        *(("explain", "--", key) for key in connection.execute(keys).scalars() if key),
    ):
        yield " ".join(arguments[:3]), run(*arguments, COLUMNS="120")
