"""NOTIFICATION_SEND_WHATSAPP: tell a person; the order's change never waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator
from sqlalchemy import ARRAY, Text, any_, cast, func, update
from sqlalchemy.dialects.postgresql import JSONB

from jobs.phones import masked, normalized
from jobs.tables import NOTIFICATION_LOG
from jobs.texts import rendered
from sweeper import Batch, Job, JobType, Outside, Payload, Section
from sweeper.events import NOTIFICATION_FAILED, NOTIFICATION_SENT


class WhatsappSettings(Section):
    """How notices reach people."""

    name: ClassVar[str] = "whatsapp"

    provider: Literal["log"] = Field(
        default="log", description="log: write the notice to the log, the phone masked"
    )


SETTINGS = WhatsappSettings

NO_PHONE = "not a phone number"

Text1 = Annotated[str, Field(min_length=1)]


class SendWhatsapp(Payload):
    """Either a notice that stands in NotificationLog, or a phone and what to tell it."""

    message_id: Text1 | None = None
    recipient_phone: str | None = None
    message: str | None = None
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.message_id is None and (self.recipient_phone is None or not self.message):
            message = "needs messageId, or recipientPhone and message"
            raise ValueError(message)
        return self

    @property
    def subject(self) -> str:
        """The order that it is about, else the notice, else the masked phone."""
        order_id = (self.metadata or {}).get("orderId")
        return str(order_id or self.message_id or masked(self.recipient_phone or ""))


@dataclass(frozen=True, slots=True)
class Parcel:
    """One notice on its way: whom, what, and what it is about."""

    key: str
    event_type: str
    phone: str
    facts: Mapping[str, Any]
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the provider said: sent, or why not."""

    parcel: Parcel
    error: str | None = None


def prepare(batch: Batch[SendWhatsapp]) -> Mapping[int, Parcel]:
    """Mark the batch's notices as being sent, and pack what each call needs."""
    ids = [job.payload.message_id for job in batch.jobs if job.payload.message_id]
    sending = (
        update(NOTIFICATION_LOG)
        .where(
            NOTIFICATION_LOG.c.id == any_(cast(ids, ARRAY(Text))),
            NOTIFICATION_LOG.c.status.in_(["queued", "sending"]),
        )
        .values(status="sending")
        .returning(
            NOTIFICATION_LOG.c.id,
            NOTIFICATION_LOG.c.recipientId,
            NOTIFICATION_LOG.c.eventType,
            NOTIFICATION_LOG.c.metadata,
        )
    )
    rows = {row.id: row for row in batch.tx.execute(sending)} if ids else {}
    parcels = {}
    for job in batch.jobs:
        if not job.payload.message_id:
            parcels[job.message.msg_id] = _by_hand(job)
        elif row := rows.get(job.payload.message_id):
            parcels[job.message.msg_id] = Parcel(
                job.key, row.eventType, row.recipientId, row.metadata or {}
            )
        else:
            batch.skip(job, "no notice that waits to be sent")
    return parcels


def call(parcel: Parcel) -> Receipt:
    """Hand one notice to the provider; the `log` provider is this service's own log."""
    about = {"key": parcel.key, "event_type": parcel.event_type, "to": masked(parcel.phone)}
    if not normalized(parcel.phone):
        NOTIFICATION_FAILED.tell(**about, error=NO_PHONE)
        return Receipt(parcel, NO_PHONE)
    _ = parcel.text or rendered(parcel.event_type, parcel.facts)
    NOTIFICATION_SENT.tell(**about, provider="log")
    return Receipt(parcel)


def record(batch: Batch[SendWhatsapp], receipts: Mapping[int, Receipt]) -> None:
    """Write down in NotificationLog what became of the batch's notices."""
    logged = {job.payload.message_id: receipts.get(job.message.msg_id) for job in batch.jobs}
    sent = [id_ for id_, receipt in logged.items() if id_ and receipt and not receipt.error]
    failed = [id_ for id_, receipt in logged.items() if id_ and receipt and receipt.error]
    _mark(batch, sent, status="sent", sentAt=batch.now)
    _mark(batch, failed, status="failed", errorMessage=NO_PHONE)
    for job in batch.jobs:
        receipt = receipts.get(job.message.msg_id)
        if receipt and receipt.error:
            batch.skip(job, receipt.error)


def _mark(batch: Batch[SendWhatsapp], ids: list[str], **values: str | datetime) -> None:
    if not ids:
        return
    provider = cast({"provider": batch.settings(WhatsappSettings).provider}, JSONB)
    metadata = func.coalesce(NOTIFICATION_LOG.c.metadata, cast({}, JSONB)).op("||")(provider)
    batch.tx.execute(
        update(NOTIFICATION_LOG)
        .where(NOTIFICATION_LOG.c.id == any_(cast(ids, ARRAY(Text))))
        .values(metadata=metadata, **values)
    )


def _by_hand(job: Job[SendWhatsapp]) -> Parcel:
    facts = job.payload.metadata or {}
    phone, text = job.payload.recipient_phone or "", job.payload.message
    return Parcel(job.key, str(facts.get("eventType", "")), phone, facts, text)


JOB = JobType(
    "NOTIFICATION_SEND_WHATSAPP",
    payload=SendWhatsapp,
    key="subject",
    handler=Outside(prepare=prepare, call=call, record=record),
)
