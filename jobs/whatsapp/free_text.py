"""Free texts: notices whose phone and text are in the message, so that any sender may write them.

Their rows have ids and event types that no notice about an order has, and none of our bookkeeping.
"""

import json
from typing import Any

from jobs.whatsapp.notification_log import CARRIER, CLAIM, NONCE, UNKNOWN, WRITTEN, notice_id
from jobs.whatsapp.payload import SendWhatsapp
from jobs.whatsapp.phones import normalize
from jobs.whatsapp.texts import texts
from sweeper import Job

EVENT_TYPE = "MESSAGE"
"""The event type of a free text that names none, or one of ours."""

RESERVED = frozenset(
    {CARRIER, CLAIM, NONCE, UNKNOWN, WRITTEN}
    | {"limitSeconds", "message", "provider", "providerMessageId"}
)
"""The keys of a row's metadata that only we write."""

_LONGEST = 200  # characters of an event type
_NUL = "\0"  # no text in Postgres has one, so no id of an order leads to the same digest


def free_text_id(job: Job[SendWhatsapp]) -> str:
    """Return the id of the row of a free text: the same for all copies of its message.

    A number is told about an event of an order once, whatever the texts say. Any other text is told
    apart by the time at which its message was created, which stays the same through all retries.
    """
    payload = job.payload
    phone, facts = payload.recipient_phone or "", payload.metadata or {}
    about = [facts.get("orderId"), facts.get("eventType")]
    parts = about if all(about) else [job.body["createdAt"], payload.message]
    return notice_id(_NUL, json.dumps([normalize(phone) or phone, *parts]))


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


def _event_type(named: object) -> str:
    if not isinstance(named, str) or not 0 < len(named) <= _LONGEST:
        return EVENT_TYPE
    return EVENT_TYPE if named.strip().upper() in texts() else named
