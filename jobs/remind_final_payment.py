"""ORDER_REMIND_FINAL_PAYMENT: remind buyers, twice at most, of a final payment."""

from datetime import datetime, timedelta
from typing import Any

import typer
from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Integer,
    Interval,
    Select,
    Table,
    Text,
    and_,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from jobs.notices import Notice, Template, announce
from jobs.orders import OrderPayload, anomalous, due_rows, hold, holding
from jobs.tables import NOTIFICATION_LOG, ORDER, PLATFORM
from jobs.values import CUTOFF, Moment
from jobs.whatsapp.notification_log import notice_id_of
from sweeper import Batch, Event, Figure, Grant, JobType, Rule, UtcTimestamp
from sweeper.cli.output import document, table
from sweeper.cli.session import Json, open_app
from sweeper.postgres.clock import iso

DAY = timedelta(days=1)
LONGEST = 14 * DAY
"""Nobody is reminded of an order that was accepted longer ago: it waits for something else."""

# What this file reads of the platform's table beside the columns that all job files share.
OWN = (
    Column("finalAmount", Integer),
    Column("finalPaidAt", UtcTimestamp),
    Column("finalProofUrl", Text),
    Column("finalPaymentId", Text),
)
TABLES = (Table("Order", PLATFORM, *OWN, extend_existing=True),)
GRANTS = (Grant(None, "Order", "select", tuple(column.name for column in OWN)),)

awaiting: ColumnElement[bool] = ORDER.c.status == "awaiting_final_payment"
paid: ColumnElement[bool] = or_(
    ORDER.c.finalPaidAt.is_not(None),
    ORDER.c.finalProofUrl.is_not(None),
    ORDER.c.finalPaymentId.is_not(None),
)
owing: ColumnElement[bool] = func.coalesce(ORDER.c.finalAmount, 1) > 0  # NULL: not known

REMINDER = Notice(
    "FINAL_PAYMENT_REMINDER",
    rule="remind_final_payment",
    limit=DAY,
    texts={
        "id": """
Halo {name},

Pesanan Anda {order_code} telah disetujui jastiper, dan pembayaran akhirnya belum kami terima.

Mohon selesaikan pembayaran agar pesanan dapat dilanjutkan. Jika pembayaran telah Anda lakukan, \
mohon abaikan pesan ini. Terima kasih.
""",
        "en": """
Hello {name},

Your order {order_code} was accepted by the jastiper, and its final payment has not arrived yet.

Please pay, so that the order can go on. If you have paid already, please ignore this message. \
Thank you.
""",
    },
    template=Template(name="final_payment_reminder"),
    holds=and_(awaiting, ~paid),
)
LAST_REMINDER = Notice(
    "FINAL_PAYMENT_LAST_REMINDER",
    rule="remind_final_payment",
    limit=DAY,
    texts={
        "id": """
Halo {name},

Ini pengingat terakhir: pembayaran akhir untuk pesanan Anda {order_code} belum kami terima.

Mohon selesaikan pembayaran, atau hubungi jastiper jika ada kendala. Jika pembayaran telah Anda \
lakukan, mohon abaikan pesan ini. Terima kasih.
""",
        "en": """
Hello {name},

This is the last reminder: the final payment for your order {order_code} has not arrived yet.

Please pay, or talk to the jastiper if something keeps you from it. If you have paid already, \
please ignore this message. Thank you.
""",
    },
    template=Template(name="final_payment_last_reminder"),
    holds=and_(awaiting, ~paid),
)
NOTICES = (REMINDER, LAST_REMINDER)


def _written(notice: Notice, what: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return *what* of an order's notice, whose row has a known id; NULL where there is none."""
    wanted = NOTIFICATION_LOG.c.id == notice_id_of(ORDER.c.id, notice.name)
    return select(what).where(wanted).correlate(ORDER).scalar_subquery()


_LOG = NOTIFICATION_LOG.c
_is_first: ColumnElement[bool] = _written(REMINDER, _LOG.id).is_(None)
_first_ended: ColumnElement[bool] = _written(REMINDER, _LOG.status).not_in(["queued", "sending"])
_first_at: ColumnElement[datetime] = _written(REMINDER, func.coalesce(_LOG.sentAt, _LOG.createdAt))
_no_last: ColumnElement[bool] = _written(LAST_REMINDER, _LOG.id).is_(None)


def terms(cutoff: Moment) -> dict[str, ColumnElement[bool]]:
    """Return the conditions under which a reminder is due at *cutoff*, each with a description.

    The second is due as long after the first was sent as the first was after the acceptance: one
    that comes late, because nothing ran for days, does not bring the other with it.
    """
    last = and_(_first_ended, _first_at <= cutoff, _no_last)
    earliest = type_coerce(cutoff, UtcTimestamp) - literal(LONGEST, Interval)
    return {
        "it waits for its final payment (status awaiting_final_payment)": awaiting,
        "it was accepted by {cutoff} (validatedAt)": ORDER.c.validatedAt <= cutoff,
        "it was accepted in the 14 days before": ORDER.c.validatedAt > earliest,
        "something is left to pay (finalAmount)": owing,
        "nothing says that it was paid (finalPaidAt, finalProofUrl, finalPaymentId)": ~paid,
        "its buyer was not reminded twice, nor since {cutoff}": or_(_is_first, last),
    }


def unpaid(cutoff: Moment) -> ColumnElement[bool]:
    """Return the whole condition; the scan evaluates it, the handler again under the row lock."""
    return and_(*terms(cutoff).values())


def due(cutoff: datetime) -> Select[Any]:
    """Return the orders whose buyers are to be reminded, the longest waiting first."""
    return due_rows(unpaid(cutoff), func.coalesce(_first_at, ORDER.c.validatedAt))


def anomalies(cutoff: datetime) -> Select[Any]:
    """Return orders that wait for a final payment although there is one, or nothing to pay."""
    late = and_(awaiting, ORDER.c.validatedAt <= cutoff)
    return anomalous(
        ("awaiting_final_payment with evidence of payment", and_(late, paid)),
        ("awaiting_final_payment with nothing to pay", and_(late, ~paid, ~owing)),
    )


REMINDER_QUEUED = Event(
    "reminder.queued",
    "info",
    {
        "keys": "texts: orders whose buyers are reminded of the final payment",
        "is_last": "flag: whether it is their second and last reminder",
    },
)
EVENTS = (REMINDER_QUEUED,)

_HOLDING = holding(unpaid(CUTOFF), _is_first)


def remind(batch: Batch[OrderPayload]) -> None:
    """Write a reminder for each of the batch's orders, which stay as they are."""
    held = hold(batch, _HOLDING)
    for notice, is_first in ((REMINDER, True), (LAST_REMINDER, False)):
        if order_ids := [order_id for order_id, never_told in held if never_told is is_first]:
            announce(batch, order_ids, notice)
            batch.log(REMINDER_QUEUED, keys=order_ids, is_last=not is_first)


JOB = JobType(
    "ORDER_REMIND_FINAL_PAYMENT",
    payload=OrderPayload,
    key="order_id",
    handler=remind,
    many="orderIds",
)
RULE = Rule(
    "remind_final_payment",
    job=JOB,
    due=due,
    every=timedelta(minutes=5),
    older_than=DAY,
    why="the final payment did not come",
    anomalies=anomalies,
    index=Index("sweeper_remind_final_payment", ORDER.c.validatedAt, postgresql_where=awaiting),
    terms=terms,
    enabled=False,
    help="Remind buyers of a final payment that did not come, twice at most, a day apart.",
)

_MOST_COUNTED = 10_000
_waiting = select(ORDER.c.id).where(awaiting, ~paid, owing).limit(_MOST_COUNTED).subquery()
FIGURES = (
    Figure(
        "final_payments_awaited",
        "final payments awaited",
        select(func.count()).select_from(_waiting),
        rule=RULE.name,
    ),
)

COMMANDS = typer.Typer(no_args_is_help=True, rich_help_panel="Look")
_LISTED = 200


@COMMANDS.callback()
def final_payments() -> None:
    """Show which orders wait for their final payment.

    Examples:
      sweeper remind-final-payment waiting  # with what was sent to their buyers
      sweeper remind-final-payment waiting --json  # for a program
    """


@COMMANDS.command()
def waiting(context: typer.Context, *, as_json: Json = False) -> None:
    """List the orders that wait, and their reminders; the oldest first.

    Examples:
      sweeper remind-final-payment waiting  # the oldest 200
      sweeper remind-final-payment waiting --json  # for a program
    """
    reminders = [_written(notice, _LOG.status) for notice in NOTICES]
    query = select(ORDER.c.orderCode, ORDER.c.id, ORDER.c.validatedAt, *reminders)
    with open_app(context) as app:
        app.check()
        with app.database.transaction() as tx:
            rows = tx.execute(
                query.where(awaiting).order_by(ORDER.c.validatedAt, ORDER.c.id).limit(_LISTED)
            ).all()
    names = ("order_code", "order_id", "accepted_at", "reminder", "last_reminder")
    if as_json:
        shown = [(code, key, at and iso(at), *states) for code, key, at, *states in rows]
        document([dict(zip(names, row, strict=True)) for row in shown])
        return
    columns = [name.replace("_", " ") for name in names]
    empty = "No order waits for its final payment."
    table("waiting for the final payment", columns, rows, empty=empty)
