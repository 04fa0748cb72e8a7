"""The values of a batch, for the parameters of statements that are built once for all batches."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ARRAY, BindParameter, Text, bindparam
from sqlalchemy.dialects.postgresql import TIMESTAMP

from sweeper import Batch, UtcTimestamp

ORDERS = bindparam("orders", type_=ARRAY(Text))
CUTOFF = bindparam("cutoff", type_=UtcTimestamp)
NOW = bindparam("now", type_=UtcTimestamp)
AT = bindparam("at", type_=TIMESTAMP(timezone=True))
"""NOW in columns of our own, which have a zone."""

Ids: TypeAlias = Sequence[str] | BindParameter[Sequence[str]]
Moment: TypeAlias = datetime | BindParameter[datetime]
"""A time, or the parameter that stands for it."""


def values_of(batch: Batch[Any], order_ids: list[str]) -> dict[str, Any]:
    """Return the values for a statement about these orders."""
    now = batch.now
    return {ORDERS.key: order_ids, CUTOFF.key: batch.cutoff, NOW.key: now, AT.key: now}
