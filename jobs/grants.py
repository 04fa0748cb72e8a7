"""The database privileges that the jobs' statements need, by column, and no more."""

from typing import Any

from sqlalchemy import Column

from jobs import tables
from jobs.refund_ledger import REFUND
from jobs.stock import STOCK_RELEASE
from jobs.tables import NOTIFICATION_LOG, ORDER, PRODUCT
from sweeper import Grant


def _grant(privilege: str, *columns: Column[Any]) -> Grant:
    """Return the grant on some columns of one table."""
    table = columns[0].table
    names = tuple(column.name for column in columns)
    return Grant(table.schema, table.name, privilege, names)


_NOTICE = NOTIFICATION_LOG.c

GRANTS = (
    *(_grant("select", *table.columns) for table in tables.TABLES),
    _grant("update", ORDER.c.status, ORDER.c.rejectionReason, ORDER.c.updatedAt),
    _grant("update", PRODUCT.c.stock, PRODUCT.c.updatedAt),
    _grant(
        "insert",
        _NOTICE.id,
        _NOTICE.recipientType,
        _NOTICE.recipientId,
        _NOTICE.guestId,
        _NOTICE.channel,
        _NOTICE.eventType,
        _NOTICE.status,
        _NOTICE.metadata,
        _NOTICE.createdAt,
    ),
    _grant(
        "update",
        _NOTICE.recipientId,
        _NOTICE.status,
        _NOTICE.sentAt,
        _NOTICE.errorMessage,
        _NOTICE.metadata,
    ),
    # No row of the next two is ever deleted: what was once given back, or owed, stays known.
    Grant("sweeper", STOCK_RELEASE.name, "select"),
    Grant("sweeper", STOCK_RELEASE.name, "insert"),
    Grant("sweeper", REFUND.name, "select"),
    Grant("sweeper", REFUND.name, "insert"),
    _grant("update", REFUND.c.state, REFUND.c.settled_at, REFUND.c.reference),
)
