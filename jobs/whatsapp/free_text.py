"""Free texts: notices whose phone and text are in the message, so that any sender may write them.

Their rows have ids and event types that no notice about an order has, and none of our bookkeeping.
The settings say to whom they may go, and how many in an hour.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ARRAY, Connection, Text, any_, cast, func, select, union

from jobs.tables import GUEST, PARTICIPANT, USER
from jobs.whatsapp.notice import NOTICE_TYPES
from jobs.whatsapp.notification_log import (
    CARRIER,
    CLAIM,
    NONCE,
    UNKNOWN,
    WRITTEN,
    existing,
    notice_id,
    texts_since,
)
from jobs.whatsapp.payload import SendWhatsapp
from jobs.whatsapp.phones import normalize
from jobs.whatsapp.settings import WhatsappSettings
from sweeper import Batch, Job

EVENT_TYPE = "MESSAGE"
"""The event type of a free text that names none, or one of ours."""

RESERVED = frozenset(
    {CARRIER, CLAIM, NONCE, UNKNOWN, WRITTEN}
    | {"limitSeconds", "message", "provider", "providerMessageId"}
)
"""The keys of a row's metadata that only we write."""

_HOUR = timedelta(hours=1)
_SUFFIX = 6  # the last digits, by which the server finds the numbers that may be meant
_LONGEST = 200  # characters of an event type
_NUL = "\0"  # no text in Postgres has one, so no id of an order leads to the same digest


def free_text_id(job: Job[SendWhatsapp]) -> str:
    """Return the id of the row of a free text: the same for all copies of its message.

    A number is told about an event of an order once, whatever the texts say. Any other text is told
    apart by the time at which its message was created, which stays the same through all retries.
    """
    payload = job.payload
    facts = payload.metadata or {}
    about = [facts.get("orderId"), facts.get("eventType")]
    parts = about if all(about) else [job.body["createdAt"], payload.message]
    return notice_id(_NUL, json.dumps([_recipient(job), *parts]))


def free_text_row(job: Job[SendWhatsapp]) -> dict[str, Any]:
    """Return the row of a free text in NotificationLog, with what its metadata may say."""
    facts = job.payload.metadata or {}
    own = {name: value for name, value in facts.items() if name not in RESERVED}
    return {
        "id": free_text_id(job),
        "recipientId": job.payload.recipient_phone,
        "eventType": _event_type(facts.get("eventType")),
        "metadata": own | {"message": job.payload.message},
    }


def admit(batch: Batch[SendWhatsapp]) -> list[Job[SendWhatsapp]]:
    """Reject the free texts that the settings do not allow, and return all other jobs.

    They are rejected rather than postponed: a flood would be read and written again and again, and
    an operator can bring its dead letters back.
    """
    settings = batch.settings(WhatsappSettings)
    free = [job for job in batch.jobs if not job.payload.message_id]
    refused: set[int] = set()

    def refuse(jobs: Iterable[Job[SendWhatsapp]], reason: str) -> None:
        for job in jobs:
            batch.reject(job, reason)
            refused.add(job.message.msg_id)

    if free and settings.free_text == "off":
        refuse(free, "texts of others are off (whatsapp.free_text)")
    elif free and settings.free_text == "known":
        known = known_numbers(batch.tx, {_recipient(job) for job in free})
        strangers = [job for job in free if _recipient(job) not in known]
        refuse(strangers, "nobody in the platform has the number (whatsapp.free_text)")
    admitted = [job for job in free if job.message.msg_id not in refused]
    for job, setting in _beyond_quota(batch, settings, admitted):
        refuse([job], f"there were too many texts of others within an hour (whatsapp.{setting})")
    return [job for job in batch.jobs if job.message.msg_id not in refused]


def known_numbers(tx: Connection, numbers: Iterable[str]) -> frozenset[str]:
    """Return those of *numbers*, in the provider's form, that a person of the platform has.

    The platform's spellings are many: the server compares the last digits, and the rest is done
    here, as for every phone.
    """
    wanted = frozenset(numbers)
    endings = cast(sorted({number[-_SUFFIX:] for number in wanted}), ARRAY(Text))
    columns = (PARTICIPANT.c.phone, GUEST.c.phone, USER.c.whatsappNumber)
    candidates = union(
        *(
            select(column).where(
                func.right(func.regexp_replace(column, r"\D", "", "g"), _SUFFIX) == any_(endings)
            )
            for column in columns
        )
    )
    return wanted & {normalize(phone) for phone in tx.execute(candidates).scalars() if phone}


def _beyond_quota(
    batch: Batch[SendWhatsapp], settings: WhatsappSettings, jobs: Sequence[Job[SendWhatsapp]]
) -> list[tuple[Job[SendWhatsapp], str]]:
    """Return the jobs that exceed a quota, with its setting; what has a row was counted before."""
    in_all, to_one = settings.free_text_per_hour, settings.free_text_per_recipient
    if not jobs or (in_all is None and to_one is None):
        return []
    begun = set(existing(batch.tx, [free_text_id(job) for job in jobs]))
    recipients = {_recipient(job) for job in jobs}
    total, counts = texts_since(batch.tx, batch.now - _HOUR, recipients)
    by_recipient = Counter(counts)
    beyond = []
    for job in jobs:
        recipient, own = _recipient(job), free_text_id(job)
        if own in begun:
            continue
        if in_all is not None and total >= in_all:
            beyond.append((job, "free_text_per_hour"))
        elif to_one is not None and by_recipient[recipient] >= to_one:
            beyond.append((job, "free_text_per_recipient"))
        else:
            begun.add(own)
            total += 1
            by_recipient[recipient] += 1
    return beyond


def _recipient(job: Job[SendWhatsapp]) -> str:
    phone = job.payload.recipient_phone or ""
    return normalize(phone) or phone


def _event_type(named: object) -> str:
    if not isinstance(named, str) or not 0 < len(named) <= _LONGEST:
        return EVENT_TYPE
    return EVENT_TYPE if named.strip().upper() in NOTICE_TYPES.values else named
