"""NOTIFICATION_SEND_WHATSAPP: send a notice to a person, after the order was changed."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self, assert_never

from pydantic import Field, model_validator

from jobs.events import NOTIFICATION_FAILED, NOTIFICATION_SENT, REPLY_LOST
from jobs.whatsapp import cloud, fonnte
from jobs.whatsapp.delivery import Delivery, outgoing_message, prepare_delivery
from jobs.whatsapp.notification_log import (
    CLAIM,
    UNKNOWN,
    NoticeUpdate,
    insert_notices,
    lock_notices,
    notice_id,
    update_notices,
)
from jobs.whatsapp.phones import mask, normalize
from jobs.whatsapp.settings import UndeliverableError, WhatsappSettings
from sweeper import (
    Answer,
    Batch,
    Job,
    JobType,
    LostReplyError,
    Outcome,
    Outside,
    Pace,
    Payload,
    RefusedError,
    Section,
)

NO_PHONE = "not a phone number"
NO_REPLY = "unknown: it was sent twice, and no reply came; it may have arrived"

NonEmptyText = Annotated[str, Field(min_length=1)]


class SendWhatsapp(Payload):
    """The payload: either the id of a row in NotificationLog, or a phone and a text to send."""

    message_id: NonEmptyText | None = None
    recipient_phone: str | None = None
    message: str | None = None
    metadata: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _check_subject(self) -> Self:
        if self.message_id is None and (self.recipient_phone is None or not self.message):
            message = "needs messageId, or recipientPhone and message"
            raise ValueError(message)
        return self

    @property
    def subject(self) -> str:
        """The id of the order, else the id of the notice, else the masked phone."""
        order_id = (self.metadata or {}).get("orderId")
        return str(order_id or self.message_id or mask(self.recipient_phone or ""))


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of a call that the provider accepted.

    provider   -- the provider's name, as in the settings
    message_id -- the provider's id of the message, where it gives one
    """

    provider: str
    message_id: str | None = None


def prepare(batch: Batch[SendWhatsapp]) -> Mapping[int, Delivery]:
    """Mark the batch's notices as being sent; return what each call needs, by message id.

    A notice that must not be sent, or not a third time, is skipped. Raises LookupError for one that
    has no row: the platform may commit the row after it has sent the message.
    """
    insert_notices(
        batch.tx, [_notice_row(job) for job in batch.jobs if not job.payload.message_id], batch.now
    )
    rows, settings = (
        lock_notices(batch.tx, map(_notice_id, batch.jobs)),
        batch.settings(WhatsappSettings),
    )
    if not all(_notice_id(job) in rows for job in batch.jobs):
        message = "there is no notice of this id in NotificationLog"
        raise LookupError(message)
    deliveries, updates = dict[int, Delivery](), list[NoticeUpdate]()
    for job in batch.jobs:
        delivery = prepare_delivery(rows.pop(_notice_id(job), None), _claim(job), job.key, settings)
        if isinstance(delivery, str):
            batch.skip(job, delivery)
            continue
        if delivery.crashed:
            again, error = delivery.unknown == 1, "a worker ended between the call and its record"
            batch.log(REPLY_LOST, **delivery.about, again=again, error=error)
        if delivery.unknown > 1:
            updates.append(_give_up(batch, job, delivery))
            continue
        deliveries[job.message.msg_id] = delivery
        notes = _unknown_note(delivery) | {CLAIM: _claim(job)}
        updates.append(NoticeUpdate(delivery.id, "sending", notes=notes))
    update_notices(batch.tx, updates, batch.now)
    return deliveries


def call(delivery: Delivery) -> Sent:
    """Send one notice through the provider; the provider `log` only logs it.

    Raises UndeliverableError for an invalid phone number, RejectedError for an event that has no
    text, RefusedError for missing settings, and what the provider's reply means.
    """
    settings = delivery.settings
    number = normalize(delivery.phone)
    if number is None:
        raise UndeliverableError(NO_PHONE)
    message = outgoing_message(delivery, number)
    if faults := "; ".join(settings.faults()):
        raise RefusedError(faults)
    match settings.provider:
        case "log":
            return Sent("log")
        case "cloud":
            return Sent("cloud", cloud.send(settings, message))
        case "fonnte":
            return Sent("fonnte", fonnte.send(settings, message))
        case other:
            assert_never(other)


def record(batch: Batch[SendWhatsapp], answers: Mapping[int, Answer]) -> None:
    """Store the results of the batch's calls in NotificationLog."""
    pairs = [(job, answers[job.message.msg_id]) for job in batch.jobs]
    updates = [row for job, answer in pairs if (row := _notice_update(batch, job, answer))]
    update_notices(batch.tx, updates, batch.now)


def pace(sections: Mapping[type[Section], Section]) -> Pace:
    """Return the rate, the concurrency and the timeout of the provider's calls."""
    settings = sections[WhatsappSettings]
    assert isinstance(settings, WhatsappSettings)  # noqa: S101 -- narrows what the catalog checked
    return settings.pace


def _notice_id(job: Job[SendWhatsapp]) -> str:
    """Return the id of the notice that *job* sends; an order has one notice for each event."""
    payload = job.payload
    if payload.message_id:
        return payload.message_id
    facts = payload.metadata or {}
    if facts.get("orderId") and facts.get("eventType"):
        return notice_id(str(facts["orderId"]), str(facts["eventType"]))
    return notice_id(_claim(job), payload.recipient_phone or "", payload.message or "")


def _claim(job: Job[SendWhatsapp]) -> str:
    """Return the time at which the message was created: it stays the same through all retries."""
    return str(job.body["createdAt"])


def _notice_row(job: Job[SendWhatsapp]) -> dict[str, Any]:
    """Return the row of a notice whose phone and text are in the message itself."""
    facts = job.payload.metadata or {}
    return {
        "id": _notice_id(job),
        "recipientId": job.payload.recipient_phone,
        "eventType": str(facts.get("eventType") or "MESSAGE"),
        "metadata": facts | {"message": job.payload.message},
    }


def _notice_update(
    batch: Batch[SendWhatsapp], job: Job[SendWhatsapp], answer: Answer
) -> NoticeUpdate | None:
    """Return the new values of a notice's row, or None where it stays as it is.

    answer -- the delivery that was prepared, and the value or the error of its call
    """
    delivery, decision = answer.prepared, batch.decision(job)
    claim = {CLAIM: _claim(job)}  # with it, a retry of the dead letter may send the notice
    match delivery, answer.value, answer.error:
        case None, _, _:
            return (
                NoticeUpdate(_notice_id(job), "failed", decision.reason, claim)
                if decision.outcome is Outcome.DEAD
                else None
            )
        case Delivery(), Sent(provider, message_id), _:
            batch.log(NOTIFICATION_SENT, **delivery.about, provider=provider)
            accepted = {"provider": provider, "providerMessageId": message_id}
            notes = {name: value for name, value in accepted.items() if value}
            return NoticeUpdate(delivery.id, "sent", notes=notes)
        case Delivery(), _, UndeliverableError() as error:
            batch.skip(job, str(error))
            batch.log(NOTIFICATION_FAILED, **delivery.about, error=str(error))
            return NoticeUpdate(delivery.id, "failed", str(error))
        case Delivery(), _, LostReplyError() as error:
            delivery = replace(delivery, unknown=delivery.unknown + 1)
            again = delivery.unknown == 1 and decision.outcome is not Outcome.DEAD
            batch.log(REPLY_LOST, **delivery.about, again=again, error=str(error))
            if delivery.unknown > 1:
                return _give_up(batch, job, delivery)
    notes = _unknown_note(delivery)
    if decision.outcome is not Outcome.DEAD:
        return NoticeUpdate(delivery.id, "queued", decision.reason, notes)
    batch.log(NOTIFICATION_FAILED, **delivery.about, error=decision.reason)
    return NoticeUpdate(delivery.id, "failed", decision.reason, notes | claim)


def _give_up(
    batch: Batch[SendWhatsapp], job: Job[SendWhatsapp], delivery: Delivery
) -> NoticeUpdate:
    batch.skip(job, NO_REPLY)
    batch.log(NOTIFICATION_FAILED, **delivery.about, error=NO_REPLY)
    return NoticeUpdate(delivery.id, "failed", NO_REPLY, _unknown_note(delivery))


def _unknown_note(delivery: Delivery) -> dict[str, Any]:
    return {UNKNOWN: delivery.unknown} if delivery.unknown else {}


JOB = JobType(
    "NOTIFICATION_SEND_WHATSAPP",
    payload=SendWhatsapp,
    key="subject",
    handler=Outside(prepare=prepare, call=call, record=record, pace=pace),
)
