"""ORDER_AUTO_REFUND: reject orders that the jastiper never answered, and record a refund."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Index, Select, and_

from jobs.notices import Notice, Template, announce
from jobs.orders import OrderPayload, anomalous, claim, claiming, due_rows
from jobs.refund_ledger import record_refunds
from jobs.stock import release_stock
from jobs.tables import ORDER
from jobs.values import CUTOFF, Moment
from sweeper import Batch, JobType, Rule

REASON = "Pesanan ditolak otomatis: jastiper tidak merespons dalam {limit}."
OLDER_THAN = timedelta(hours=24)

ORDER_REJECTED = Notice(
    "ORDER_REJECTED",
    rule="auto_refund",
    limit=OLDER_THAN,
    texts={
        "id": """
Halo {name},

Mohon maaf, pesanan Anda {order_code} dibatalkan karena jastiper tidak memberikan \
konfirmasi dalam waktu {limit}.

Terima kasih atas pengertian Anda.
""",
        "id_refund": """
Halo {name},

Mohon maaf, pesanan Anda {order_code} dibatalkan karena jastiper tidak memberikan \
konfirmasi dalam waktu {limit}.

Pengembalian DP sebesar {dp_amount} akan diproses. Terima kasih atas pengertian Anda.
""",
        "en": """
Hello {name},

We are sorry: your order {order_code} was cancelled, because the jastiper \
did not confirm it within {limit}.

Thank you for your understanding.
""",
        "en_refund": """
Hello {name},

We are sorry: your order {order_code} was cancelled, because the jastiper \
did not confirm it within {limit}.

Your down payment of {dp_amount} will be returned. Thank you for your understanding.
""",
    },
    template=Template(name="order_rejected"),
    refund_template=Template(
        name="order_rejected_refund", parameters=("name", "order_code", "dp_amount")
    ),
)
ORDER_MISSED = Notice(
    "ORDER_MISSED",
    rule="auto_refund",
    limit=OLDER_THAN,
    texts={
        "id": """
Halo {name},

Pesanan {order_code} telah ditolak otomatis karena belum Anda \
konfirmasi dalam waktu {limit}.

Mohon periksa pesanan masuk Anda secara berkala. Terima kasih.
""",
        "en": """
Hello {name},

Order {order_code} was rejected automatically, because you \
did not confirm it within {limit}.

Please look at your incoming orders regularly. Thank you.
""",
    },
    template=Template(name="order_missed"),
    to_jastiper=True,
)
NOTICES = (ORDER_REJECTED, ORDER_MISSED)

waiting: ColumnElement[bool] = ORDER.c.status == "awaiting_validation"


def terms(cutoff: Moment) -> dict[str, ColumnElement[bool]]:
    """Return the conditions that make an order unanswered at *cutoff*, each with a description.

    An order that was answered before and sent back is not one of them: its 24 hours are over.
    """
    return {
        "it waits for the jastiper (status awaiting_validation)": waiting,
        "it was paid by {cutoff}": ORDER.c.dpPaidAt <= cutoff,
        "it was never answered (validatedAt)": ORDER.c.validatedAt.is_(None),
    }


def unanswered(cutoff: Moment) -> ColumnElement[bool]:
    """Return the whole condition; the scan evaluates it, the handler again under the row lock."""
    return and_(*terms(cutoff).values())


def due(cutoff: datetime) -> Select[Any]:
    """Return the unanswered orders, the earliest payment first."""
    return due_rows(unanswered(cutoff), ORDER.c.dpPaidAt)


def anomalies(cutoff: datetime) -> Select[Any]:
    """Return orders that are stuck and that a person has to look at, each with the reason."""
    return anomalous(
        (
            "awaiting_validation without dpPaidAt",
            and_(waiting, ORDER.c.dpPaidAt.is_(None), ORDER.c.createdAt <= cutoff),
        ),
        (
            "awaiting_validation after an earlier acceptance",
            and_(waiting, ORDER.c.dpPaidAt <= cutoff, ORDER.c.validatedAt.is_not(None)),
        ),
    )


_REJECTING = claiming(unanswered(CUTOFF), "rejected")


def refund(batch: Batch[OrderPayload]) -> None:
    """Reject the batch's orders in one statement; an order answered meanwhile is skipped."""
    rejected = claim(batch, _REJECTING, REASON)
    release_stock(batch, rejected)
    record_refunds(batch, rejected)
    announce(batch, rejected, ORDER_REJECTED, ORDER_MISSED)


JOB = JobType(
    "ORDER_AUTO_REFUND", payload=OrderPayload, key="order_id", handler=refund, many="orderIds"
)
RULE = Rule(
    "auto_refund",
    job=JOB,
    due=due,
    every=timedelta(minutes=1),
    older_than=OLDER_THAN,
    why="the jastiper did not answer",
    anomalies=anomalies,
    index=Index("sweeper_auto_refund", ORDER.c.dpPaidAt, postgresql_where=waiting),
    terms=terms,
    help="Reject orders that the jastiper did not answer, and record what is owed back.",
)
