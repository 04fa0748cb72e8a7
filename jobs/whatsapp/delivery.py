"""A notice on its way: packed from its row, and unpacked as the letter that a provider delivers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.whatsapp.notification_log import CLAIM, UNKNOWN
from jobs.whatsapp.phones import mask
from jobs.whatsapp.settings import OutgoingMessage, WhatsappSettings
from jobs.whatsapp.texts import fields, owed, render_text


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice, and all that its call needs.

    unknown -- how many calls for it have ended without a reply
    crashed -- whether the last of them did so because its worker ended
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
        """What every event about it says."""
        return {"key": self.key, "event_type": self.event_type, "to": mask(self.phone)}


def prepare_delivery(row: Any, claim: str, key: str, settings: WhatsappSettings) -> Delivery | str:
    """Return the parcel of a row of NotificationLog, or why it is not this message's to send.

    claim -- what this message keeps through all its retries, and no other message has
    """
    if row is None or row.channel.upper() != "WHATSAPP":
        return "no notice that waits to be sent"
    facts = row.metadata if isinstance(row.metadata, dict) else {}
    mine = facts.get(CLAIM) == claim
    if row.status != "queued" and not (mine and row.status in {"sending", "failed"}):
        return f"the notice is {row.status}"
    # What our own log is to tell was not told: that comes after the commit.
    crashed = row.status == "sending" and settings.provider != "log"
    before = facts.get(UNKNOWN)
    unknown = (before if isinstance(before, int) else 0) + crashed
    return Delivery(row.id, key, row.eventType, row.recipientId, facts, settings, unknown, crashed)


def outgoing_message(delivery: Delivery, number: str) -> OutgoingMessage:
    """Return what is to be delivered to *number*.

    Raises RejectedError where nothing is known to be said about the event.
    """
    facts, settings = delivery.facts, delivery.settings
    if isinstance(own := facts.get("message"), str):
        return OutgoingMessage(number, own)
    text = render_text(delivery.event_type, facts, settings.language, settings.messages)
    variant = f"{delivery.event_type}_REFUND" if owed(facts) else delivery.event_type
    known = settings.templates if settings.mode == "template" else {}
    template = known.get(variant) or known.get(delivery.event_type)
    if template is None:
        return OutgoingMessage(number, text)
    values = fields(facts)
    return OutgoingMessage(
        number, text, template, tuple(values[name] for name in template.parameters)
    )
