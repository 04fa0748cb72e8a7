"""Turn a row of NotificationLog into a delivery, and a delivery into a provider's message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.whatsapp.notification_log import CLAIM, UNKNOWN
from jobs.whatsapp.phones import mask
from jobs.whatsapp.settings import OutgoingMessage, WhatsappSettings
from jobs.whatsapp.texts import fields, owed, render_text


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice, with everything that its call needs.

    id         -- the id of its row in NotificationLog
    key        -- the job's key, which the events about it carry
    event_type -- the event that the notice is about, such as ORDER_CANCELLED
    phone      -- the recipient's phone, as the platform stores it
    facts      -- the metadata of the row
    unknown    -- the number of calls for it that ended without a reply
    crashed    -- whether the last of them ended without a reply because its worker crashed
    """

    id: str
    key: str
    event_type: str
    phone: str
    facts: Mapping[str, Any]
    settings: WhatsappSettings
    unknown: int
    crashed: bool

    @property
    def about(self) -> dict[str, str]:
        """The fields that every event about this notice carries."""
        return {"key": self.key, "event_type": self.event_type, "to": mask(self.phone)}


def prepare_delivery(row: Any, claim: str, key: str, settings: WhatsappSettings) -> Delivery | str:
    """Return the delivery of a row of NotificationLog, or the reason why it must not be sent.

    row   -- the locked row, or None where there is none
    claim -- the time at which the message was created: it stays the same through all retries
    """
    if row is None or row.channel.upper() != "WHATSAPP":
        return "no notice that waits to be sent"
    facts = row.metadata if isinstance(row.metadata, dict) else {}
    is_claimed = facts.get(CLAIM) == claim
    if row.status != "queued" and not (is_claimed and row.status in {"sending", "failed"}):
        return f"the notice is {row.status}"
    # The provider `log` has sent nothing before the commit.
    crashed = row.status == "sending" and settings.provider != "log"
    earlier = facts.get(UNKNOWN)
    unknown = (earlier if isinstance(earlier, int) else 0) + crashed
    return Delivery(row.id, key, row.eventType, row.recipientId, facts, settings, unknown, crashed)


def outgoing_message(delivery: Delivery, number: str) -> OutgoingMessage:
    """Return the message that a provider is to deliver to *number*.

    Raises RejectedError for an event that has no text.
    """
    facts, settings = delivery.facts, delivery.settings
    if isinstance(own := facts.get("message"), str):
        return OutgoingMessage(number, own)
    text = render_text(delivery.event_type, facts, settings.language, settings.messages)
    variant = f"{delivery.event_type}_REFUND" if owed(facts) else delivery.event_type
    templates = settings.templates if settings.mode == "template" else {}
    template = templates.get(variant) or templates.get(delivery.event_type)
    if template is None:
        return OutgoingMessage(number, text)
    values = fields(delivery.event_type, facts, template.language.partition("_")[0])
    return OutgoingMessage(
        number, text, template, tuple(values[name] for name in template.parameters)
    )
