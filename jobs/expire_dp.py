"""ORDER_EXPIRE_DP: cancel orders whose down payment was never paid."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, Select, and_, or_

from jobs.notices import Notice, Template, announce
from jobs.orders import OrderPayload, anomalous, claim, claiming, due_rows
from jobs.stock import release_stock
from jobs.tables import ORDER
from jobs.values import CUTOFF, Moment
from sweeper import Batch, JobType, Rule

REASON = "Pesanan dibatalkan otomatis: DP tidak dibayar dalam {limit}."
OLDER_THAN = timedelta(minutes=30)

ORDER_CANCELLED = Notice(
    "ORDER_CANCELLED",
    rule="expire_dp",
    limit=OLDER_THAN,
    texts={
        "id": """
Halo {name},

Pesanan Anda {order_code} telah dibatalkan karena pembayaran DP tidak kami terima \
dalam waktu {limit}.

Jika Anda masih berminat, silakan buat pesanan baru kapan saja. Terima kasih.
""",
        "en": """
Hello {name},

Your order {order_code} was cancelled, because the down payment did not arrive within {limit}.

If you are still interested, you are welcome to order again at any time. Thank you.
""",
    },
    template=Template(name="order_cancelled"),
)
NOTICES = (ORDER_CANCELLED,)

pending: ColumnElement[bool] = ORDER.c.status == "pending_dp"
paid: ColumnElement[bool] = or_(
    ORDER.c.dpPaidAt.is_not(None), ORDER.c.dpProofUrl.is_not(None), ORDER.c.dpPaymentId.is_not(None)
)


def terms(cutoff: Moment) -> dict[str, ColumnElement[bool]]:
    """Return the conditions that make an order unpaid at *cutoff*, each with a description."""
    return {
        "it waits for its down payment (status pending_dp)": pending,
        "it was placed by {cutoff}": ORDER.c.createdAt <= cutoff,
        "nothing says that it was paid (dpPaidAt, dpProofUrl, dpPaymentId)": ~paid,
    }


def unpaid(cutoff: Moment) -> ColumnElement[bool]:
    """Return the whole condition; the scan evaluates it, the handler again under the row lock."""
    return and_(*terms(cutoff).values())


def due(cutoff: datetime) -> Select[Any]:
    """Return the unpaid orders, the oldest first."""
    return due_rows(unpaid(cutoff), ORDER.c.createdAt)


def anomalies(cutoff: datetime) -> Select[Any]:
    """Return orders that wait for a down payment although something says that it was paid."""
    *waiting, _ = terms(cutoff).values()
    return anomalous(("pending_dp with evidence of payment", and_(*waiting, paid)))


_CANCELLING = claiming(unpaid(CUTOFF), "cancelled")


def expire(batch: Batch[OrderPayload]) -> None:
    """Cancel the batch's orders in one statement; an order paid meanwhile is skipped."""
    cancelled = claim(batch, _CANCELLING, REASON)
    release_stock(batch, cancelled)
    announce(batch, cancelled, ORDER_CANCELLED)


JOB = JobType(
    "ORDER_EXPIRE_DP", payload=OrderPayload, key="order_id", handler=expire, many="orderIds"
)
RULE = Rule(
    "expire_dp",
    job=JOB,
    due=due,
    every=timedelta(minutes=1),
    older_than=OLDER_THAN,
    why="the down payment did not come",
    anomalies=anomalies,
    index=Index("sweeper_expire_dp", ORDER.c.createdAt, postgresql_where=pending),
    terms=terms,
    help="Cancel orders whose down payment did not come.",
)
