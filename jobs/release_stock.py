"""STOCK_RELEASE: return the stock of a cancelled or rejected order, or add to one product's."""

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, StrictBool, model_validator
from sqlalchemy import ARRAY, Text, any_, cast, select

from jobs.stock import add_stock, lock_products, releasing
from jobs.tables import ORDER
from sweeper import Batch, Job, JobType, Payload, Priority


def _reject_boolean(value: object) -> object:
    """Return *value*; raise ValueError for a boolean, which pydantic would accept as 0 or 1."""
    if isinstance(value, bool):
        message = "a quantity is a whole number"
        raise ValueError(message)  # noqa: TRY004 -- pydantic reports ValueError only
    return value


NonEmptyText = Annotated[str, Field(min_length=1, max_length=200)]


class ReleaseStock(Payload):
    """The payload: either an order, or a product and a quantity to add to its stock."""

    order_id: NonEmptyText | None = None
    should_refund: StrictBool | None = None
    product_id: NonEmptyText | None = None
    quantity: Annotated[int, BeforeValidator(_reject_boolean), Field(gt=0, lt=2**31)] | None = None

    @model_validator(mode="after")
    def _check_subject(self) -> Self:
        if self.order_id is None and (self.product_id is None or self.quantity is None):
            message = "needs orderId, or productId and quantity"
            raise ValueError(message)
        return self

    @property
    def subject(self) -> str:
        """The id of the order, or of the product where there is no order."""
        return self.order_id or self.product_id or ""


def release_all(batch: Batch[ReleaseStock]) -> None:
    """Return the stock of the batch's orders in one statement, add to its products in another."""
    of_orders = [job for job in batch.jobs if job.payload.order_id]
    of_products = [job for job in batch.jobs if not job.payload.order_id]
    ended = _lock_ended(batch, of_orders)
    quantities: dict[str, int] = {}
    for job in of_products:
        quantities[job.key] = quantities.get(job.key, 0) + (job.payload.quantity or 0)
    if ended and quantities:
        lock_products(batch, ended, list(quantities))
    _release_orders(batch, of_orders, ended)
    _release_products(batch, of_products, quantities)


def _lock_ended(batch: Batch[ReleaseStock], jobs: list[Job[ReleaseStock]]) -> list[str]:
    """Lock the orders that are to be released and have ended; return their ids."""
    to_release = [job.key for job in jobs if job.payload.should_refund]
    if not to_release:
        return []
    ended = (
        select(ORDER.c.id)
        .where(
            ORDER.c.id == any_(cast(to_release, ARRAY(Text))),
            ORDER.c.status.in_(["cancelled", "rejected"]),
        )
        .order_by(ORDER.c.id)
        .with_for_update(key_share=True)
    )
    return list(batch.tx.execute(ended).scalars())


def _release_orders(
    batch: Batch[ReleaseStock], jobs: list[Job[ReleaseStock]], ended: list[str]
) -> None:
    released = set(batch.tx.execute(*releasing(batch, ended)).scalars()) if ended else set()
    for job in jobs:
        if not job.payload.should_refund:
            batch.skip(job, "shouldRefund is not true")
        elif job.key not in ended:
            batch.skip(job, "order is neither cancelled nor rejected")
        elif job.key not in released:
            batch.skip(job, "nothing to give back")


def _release_products(
    batch: Batch[ReleaseStock], jobs: list[Job[ReleaseStock]], quantities: dict[str, int]
) -> None:
    limited = add_stock(batch, quantities) if quantities else set()
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
