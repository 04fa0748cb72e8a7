"""NOTIFICATION_SEND_WHATSAPP: send a notice to a person, after the order was changed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import Connection

from jobs.events import NOTIFICATION_FAILED, NOTIFICATION_SENT, REPLY_LOST
from jobs.whatsapp import cloud, fonnte
from jobs.whatsapp.delivery import (
    Carrier,
    Delivery,
    outgoing_message,
    prepare_delivery,
    unknown_calls,
)
from jobs.whatsapp.free_text import admit, free_text_id, free_text_row
from jobs.whatsapp.notification_log import (
    CLAIM,
    NONCE,
    UNKNOWN,
    WRITTEN,
    NoticeUpdate,
    insert_notices,
    lock_notices,
    update_notices,
)
from jobs.whatsapp.payload import SendWhatsapp
from jobs.whatsapp.settings import UndeliverableError, WhatsappSettings
from jobs.whatsapp.still_true import OUTDATED, outdated
from sweeper import (
    Answer,
    Batch,
    Job,
    JobType,
    LostReplyError,
    Outcome,
    Outside,
    Pace,
    RefusedError,
    Section,
)

NO_PHONE = "not a phone number"
NO_REPLY = "unknown: it was sent twice, and no reply came; it may have arrived"


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

    A notice that must not be sent, or not a third time, is skipped, one that a copy of the message
    is sending is postponed, and a free text that the settings do not allow is rejected. Raises
    LookupError for one that has no row: the platform may commit the row after the message.
    """
    jobs, settings = admit(batch), batch.settings(WhatsappSettings)
    texts = [free_text_row(job) for job in jobs if not job.payload.message_id]
    insert_notices(batch.tx, texts, batch.now)
    rows = lock_notices(batch.tx, map(_notice_id, jobs))
    if not all(_notice_id(job) in rows for job in jobs):
        message = "there is no notice of this id in NotificationLog"
        raise LookupError(message)
    deliveries, updates = dict[int, Delivery](), list[NoticeUpdate]()
    untrue = outdated(batch.tx, rows.values())
    for job in jobs:
        row, carrier = rows[_notice_id(job)], _carrier(job)
        if row.id in {update.id for update in updates}:
            batch.skip(job, "another message sends the notice")
            continue
        delivery = prepare_delivery(row, carrier, job.key, settings)
        if isinstance(delivery, Delivery) and carrier.waits_for_another(row, batch.now):
            batch.postpone(job, "another message is sending the notice")
            continue
        if isinstance(delivery, str):
            batch.skip(job, delivery)
            continue
        if delivery.crashed:
            again, error = delivery.unknown == 1, "a worker ended between the call and its record"
            batch.log(REPLY_LOST, **delivery.about, again=again, error=error)
        if delivery.unknown > 1:
            updates.append(_give_up(batch, job, delivery))
            continue
        if row.id in untrue:
            batch.skip(job, OUTDATED)
            notes = _unknown_note(delivery.unknown)
            updates.append(NoticeUpdate(row.id, "suppressed", OUTDATED, notes))
            continue
        deliveries[job.message.msg_id] = delivery
        notes = _unknown_note(delivery.unknown) | carrier.note(batch.now)
        if delivery.number not in (None, delivery.phone):
            notes |= {WRITTEN: delivery.phone}
        updates.append(NoticeUpdate(delivery.id, "sending", None, notes, delivery.number))
    update_notices(batch.tx, updates, batch.now)
    return deliveries


def call(delivery: Delivery) -> Sent:
    """Send one notice through the provider; the provider `log` only logs it.

    Raises UndeliverableError for an invalid phone number, RejectedError for an event that has no
    text, RefusedError for missing settings, and what the provider's reply means.
    """
    settings = delivery.settings
    number = delivery.number
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
    called = [_notice_update(batch, job, answer) for job, answer in pairs if answer.prepared]
    not_called = [job for job, answer in pairs if not answer.prepared]
    update_notices(batch.tx, [*called, *_dead_without_a_call(batch, not_called)], batch.now)


def pace(sections: Mapping[type[Section], Section]) -> Pace:
    """Return the rate, the concurrency and the timeout of the provider's calls."""
    settings = sections[WhatsappSettings]
    assert isinstance(settings, WhatsappSettings)  # noqa: S101 -- narrows what the catalog checked
    return settings.pace


def reopen(tx: Connection, jobs: Sequence[Job[SendWhatsapp]], now: datetime) -> None:
    """Queue the notices again that failed with dead letters which an operator brings back.

    For any other message, a notice that failed stays failed.
    """
    rows = lock_notices(tx, map(_notice_id, jobs))
    found = {_notice_id(job): _carrier(job) for job in jobs if _notice_id(job) in rows}
    opened = [notice for notice, carrier in found.items() if carrier.may_reopen(rows[notice])]
    update_notices(tx, [NoticeUpdate(notice, "queued") for notice in opened], now)


def _notice_id(job: Job[SendWhatsapp]) -> str:
    """Return the id of the notice that *job* sends."""
    return job.payload.message_id or free_text_id(job)


def _claim(job: Job[SendWhatsapp]) -> str:
    """Return the time at which the message was created: it stays the same through all retries."""
    return str(job.body["createdAt"])


def _carrier(job: Job[SendWhatsapp]) -> Carrier:
    nonce = (job.payload.metadata or {}).get(NONCE)
    return Carrier(_claim(job), job.message.msg_id, job.message.crashes > 0, nonce)


def _dead_without_a_call(
    batch: Batch[SendWhatsapp], jobs: Iterable[Job[SendWhatsapp]]
) -> Iterator[NoticeUpdate]:
    """Return the rows of the dead among *jobs*, but for those that another message is sending."""
    dead = [job for job in jobs if batch.decision(job).outcome is Outcome.DEAD]
    rows = lock_notices(batch.tx, map(_notice_id, dead)) if dead else {}
    for job in dead:
        row = rows.get(_notice_id(job))
        carrier = _carrier(job)
        if row is None or not carrier.may_carry(row) or carrier.waits_for_another(row, batch.now):
            continue
        unknown, _ = unknown_calls(row, carrier, batch.settings(WhatsappSettings))
        notes = {CLAIM: _claim(job)} | _unknown_note(unknown)
        yield NoticeUpdate(row.id, "failed", batch.decision(job).reason, notes)


def _notice_update(
    batch: Batch[SendWhatsapp], job: Job[SendWhatsapp], answer: Answer
) -> NoticeUpdate:
    """Return the new values of a notice's row after its call.

    answer -- the delivery that was prepared, and the value or the error of its call
    """
    delivery, decision = answer.prepared, batch.decision(job)
    claim = {CLAIM: _claim(job)}  # with it, a retry of the dead letter may reopen the notice
    match delivery, answer.value, answer.error:
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
    notes = _unknown_note(delivery.unknown)
    if decision.outcome is not Outcome.DEAD:
        return NoticeUpdate(delivery.id, "queued", decision.reason, notes)
    batch.log(NOTIFICATION_FAILED, **delivery.about, error=decision.reason)
    return NoticeUpdate(delivery.id, "failed", decision.reason, notes | claim)


def _give_up(
    batch: Batch[SendWhatsapp], job: Job[SendWhatsapp], delivery: Delivery
) -> NoticeUpdate:
    batch.skip(job, NO_REPLY)
    batch.log(NOTIFICATION_FAILED, **delivery.about, error=NO_REPLY)
    return NoticeUpdate(delivery.id, "failed", NO_REPLY, _unknown_note(delivery.unknown))


def _unknown_note(unknown: int) -> dict[str, Any]:
    return {UNKNOWN: unknown} if unknown else {}


JOB = JobType(
    "NOTIFICATION_SEND_WHATSAPP",
    payload=SendWhatsapp,
    key="subject",
    handler=Outside(prepare=prepare, call=call, record=record, pace=pace, reopen=reopen),
)
