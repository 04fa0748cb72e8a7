"""STOCK_RELEASE: give back what a cancelled or rejected order took, or add to one product."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator
from sqlalchemy import ARRAY, Text, any_, cast, select

from jobs.stock import add, release_stock
from jobs.tables import ORDER
from sweeper import Batch, Job, JobType, Payload, Priority


def _no_truth(value: object) -> object:
    """Refuse true, which Python would take for 1."""
    if isinstance(value, bool):
        message = "a quantity is a whole number"
        raise ValueError(message)  # noqa: TRY004 -- pydantic tells ValueError only
    return value


class ReleaseStock(Payload):
    """Either an order, or a product and how many of it."""

    order_id: Annotated[str, Field(min_length=1)] | None = None
    should_refund: StrictBool | None = None
    product_id: Annotated[str, Field(min_length=1)] | None = None
    quantity: Annotated[int, BeforeValidator(_no_truth), Field(gt=0, lt=2**31)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.order_id is None and (self.product_id is None or self.quantity is None):
            message = "needs orderId, or productId and quantity"
            raise ValueError(message)
        return self

    @property
    def subject(self) -> str:
        """The order, else the product."""
        return self.order_id or self.product_id or ""


def release_all(batch: Batch[ReleaseStock]) -> None:
    """Release the batch's orders in one statement, and its products in another."""
    _release_orders(batch, [job for job in batch.jobs if job.payload.order_id])
    _release_products(batch, [job for job in batch.jobs if not job.payload.order_id])


def _release_orders(batch: Batch[ReleaseStock], jobs: list[Job[ReleaseStock]]) -> None:
    asked = [job for job in jobs if job.payload.should_refund]
    ended = (
        select(ORDER.c.id)
        .where(
            ORDER.c.id == any_(cast([job.key for job in asked], ARRAY(Text))),
            ORDER.c.status.in_(["cancelled", "rejected"]),
        )
        .order_by(ORDER.c.id)
        .with_for_update(key_share=True)
    )
    ids = list(batch.tx.execute(ended).scalars()) if asked else []
    gave = release_stock(batch, ids)
    for job in jobs:
        if not job.payload.should_refund:
            batch.skip(job, "shouldRefund is not true")
        elif job.key not in ids:
            batch.skip(job, "order is neither cancelled nor rejected")
        elif job.key not in gave:
            batch.skip(job, "nothing to give back")


def _release_products(batch: Batch[ReleaseStock], jobs: list[Job[ReleaseStock]]) -> None:
    quantities: dict[str, int] = {}
    for job in jobs:
        quantities[job.key] = quantities.get(job.key, 0) + (job.payload.quantity or 0)
    limited = add(batch, quantities) if quantities else set()
    for job in jobs:
        if job.key not in limited:
            batch.skip(job, "no product with limited stock")


JOB = JobType(
    "STOCK_RELEASE",
    payload=ReleaseStock,
    key="subject",
    handler=release_all,
    priority=Priority.HIGH,
    max_retries=2,
)
