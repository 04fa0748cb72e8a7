"""Functions and operators that a stranger plants in the platform's schema are never called."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from jobs.refund_ledger import mark_settled, refund_rows
from sweeper.app import App
from sweeper.cli.checks.finding import Level
from sweeper.cli.doctor import examine
from sweeper.postgres.clock import now
from sweeper.queue.dead_letters.dead_letter_filter import DeadLetterFilter
from sweeper.queue.look import look
from tests.support.verbs import HOUR, QUEUE, OpenApp, make_visible, send, sweep

# Each fits some call better than the server's own function, whose parameters are of any type, or
# of a type to which an argument is converted.
FUNCTIONS = [
    "now()",
    "clock_timestamp()",
    "array_agg(text)",
    "array_agg(jsonb)",
    "cardinality(text[])",
    "concat(text, integer, text, text)",
    "concat(text, text, text, text)",
    "concat(text, integer, text, text, text)",
    "convert_to(varchar, varchar)",
    "count(text)",
    "current_setting(varchar)",
    "encode(bytea, varchar)",
    "format(text, text)",
    "format(text, text, text)",
    "has_table_privilege(varchar, varchar)",
    "jsonb_array_elements(jsonb)",
    "jsonb_array_elements_text(jsonb)",
    "jsonb_build_object(varchar, varchar)",
    "jsonb_build_object(varchar, integer)",
    "jsonb_build_object(varchar, text)",
    "jsonb_extract_path(jsonb, text)",
    "jsonb_extract_path(jsonb, varchar)",
    "jsonb_typeof(jsonb)",
    "left(varchar, integer)",
    "lower(varchar)",
    "max(bigint)",
    "min(timestamp)",
    "quote_ident(name)",
    "timezone(varchar, timestamp)",
    "to_regclass(varchar)",
    "unnest(bigint[])",
    "unnest(integer[])",
    "unnest(jsonb[])",
    "unnest(text[])",
    "upper(varchar)",
]
OPERATORS = [
    ("=", "text", "varchar"),
    ("<>", "text", "varchar"),
    ("||", "text", "varchar"),
    ("->", "jsonb", "varchar"),
    ("->>", "jsonb", "varchar"),
    ("<=", "timestamp", "timestamptz"),
    ("+", "integer", "bigint"),
]


@contextmanager
def planted(connection: Connection) -> Iterator[None]:
    """Plant the functions and operators; each raises an error that tells its name."""
    signatures = [*FUNCTIONS, *(f"planted{n}({a}, {b})" for n, (_, a, b) in enumerate(OPERATORS))]
    for signature in signatures:
        body = f"begin raise exception 'planted: {signature}'; end"
        connection.execute(
            text(
                f"create function public.{signature} returns boolean language plpgsql as $${body}$$"
            )
        )
    for number, (operator, left, right) in enumerate(OPERATORS):
        connection.execute(
            text(
                f"create operator public.{operator} (leftarg = {left}, rightarg = {right},"
                f" function = public.planted{number})"
            )
        )
    yield
    for signature in signatures:
        connection.execute(text(f"drop function public.{signature} cascade"))


@contextmanager
def failing(connection: Connection, order: str) -> Iterator[None]:
    """Make the updates of one order fail, by a trigger whose function has a path of its own."""
    connection.execute(
        text(
            "create function refuse() returns trigger language plpgsql set search_path = public as"
            " $$ begin raise exception 'out of order'; end $$"
        )
    )
    connection.execute(
        text(
            'create trigger refuse before update on "Order" for each row'
            f" when (old.id = '{order}') execute function refuse()"
        )
    )
    yield
    connection.execute(text("drop function refuse cascade"))


def test_the_walk_calls_no_planted_function(
    open_app: OpenApp, connection: Connection, shop: Shop
) -> None:
    """A scan, all jobs, the outbound lane, a dry run, a dead letter and its retry."""
    app = open_app(retry__max_retries=0)
    product = shop.product(stock=0)
    unpaid = shop.order(age=HOUR, items=[(product, 2)])
    unanswered = shop.order(
        status="awaiting_validation", age=30 * HOUR, paid_ago=25 * HOUR, dp_amount=50_000
    )
    ended = shop.order(status="cancelled", items=[(product, 3)])
    send(app, "ORDER_EXPIRE_DP", {"orderIds": ["c1", "c2"]})
    send(app, "STOCK_RELEASE", {"productId": product, "quantity": 3})
    send(app, "STOCK_RELEASE", {"orderId": ended, "shouldRefund": True})
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"recipientPhone": "0812 3456 7890", "message": "Halo"})

    with planted(connection):
        plan = app.plan(json.dumps(sweep(app, dry_run=True).as_json()))
        with failing(connection, unpaid):
            first = sweep(app, planned=plan.planned)
        second = sweep(app)
        letters = app.dead_letter_queue.retry(DeadLetterFilter())
        third = sweep(app)
        with app.database.transaction() as tx:
            paid = mark_settled(tx, unanswered, "BCA 1", shop.now)
            refunds = refund_rows(tx, everything=True)

    assert [1, 0, 0] == [report.jobs.dead for report in (first, second, third)]
    assert 1 == len(letters)
    assert ["cancelled", "rejected"] == [shop.status(unpaid), shop.status(unanswered)]
    assert 8 == shop.stock(product)
    statuses = connection.execute(text('select distinct status from "NotificationLog"'))
    assert ["sent"] == list(statuses.scalars())
    assert (50_000, 1) == (paid, len(refunds))


def test_what_is_read_and_administered_calls_no_planted_function(
    app: App, connection: Connection, shop: Shop
) -> None:
    """Status, page, `explain`, `audit`, `doctor`, `migrate`, pruning, `purge`, and the watch."""
    order = shop.order(age=HOUR)
    send(app, "NO_SUCH_TYPE", {})
    with planted(connection):
        sweep(app)
        send(app, "ORDER_EXPIRE_DP", {"orderId": order})
        make_visible(app)

        made = app.migrate(with_indexes=True)
        findings = examine(app)
        status, backlog = app.status_reader.read(), app.backlog_reader.read()
        explanation, balance = app.explainer.explain(order), app.auditor.audit()
        with app.database.glance() as glance:
            ready = look(glance, app.queues).ready
        app.pruner.prune(now())
        dropped = app.dead_letter_queue.drop(DeadLetterFilter())
        with app.database.transaction() as tx:
            purged = app.queues.purge(tx, QUEUE)

    assert 7 == len(made)
    assert [] == [one for one in findings if one.level is Level.ERROR]
    assert (1, 1) == (status.dead.count, len(backlog.causes))
    assert (True, ()) == (bool(explanation.facts), balance.gaps)
    assert (frozenset({QUEUE}), 1, 1) == (ready, len(dropped), purged)
