"""Whether what a notice says is still so, asked right before each call for it.

Most notices tell of something that has happened. A reminder tells of something that has not, and it
may have happened while the notice waited for the provider.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, cast, select

from jobs.tables import ORDER
from jobs.whatsapp.notice import NOTICE_TYPES
from jobs.whatsapp.notification_log import notice_id_of

OUTDATED = "what it says is no longer so"


def outdated(tx: Connection, rows: Iterable[Any]) -> frozenset[str]:
    """Return the ids of those notices whose order is no longer as they say, or is gone.

    rows -- of NotificationLog
    """
    asked: dict[str, dict[str, str]] = {}
    for row in rows:
        notice = NOTICE_TYPES.values.get(row.eventType)
        facts = row.metadata if isinstance(row.metadata, dict) else {}
        if notice and notice.holds is not None and "message" not in facts:
            asked.setdefault(notice.name, {})[row.id] = str(facts.get("orderId"))
    untrue = set[str]()
    for name, orders in asked.items():
        condition = NOTICE_TYPES.values[name].holds
        assert condition is not None  # noqa: S101 -- narrows what was asked above
        wanted = ORDER.c.id == any_(cast(list(orders.values()), ARRAY(Text)))
        true = select(notice_id_of(ORDER.c.id, name)).where(wanted, condition)
        untrue |= orders.keys() - set(tx.execute(true).scalars())
    return frozenset(untrue)
