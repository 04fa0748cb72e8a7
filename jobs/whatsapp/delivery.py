"""Turn a row of NotificationLog into a delivery, and a delivery into a provider's message."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobs.whatsapp.notice import NOTICE_TYPES, refunding
from jobs.whatsapp.notification_log import CARRIER, CLAIM, NONCE, UNKNOWN, WRITTEN
from jobs.whatsapp.phones import mask, normalize
from jobs.whatsapp.settings import OutgoingMessage, WhatsappSettings
from jobs.whatsapp.texts import fields, owed, render_text

CARRIER_LOST_AFTER = timedelta(hours=1)
"""A message that is sending a notice for so long is gone; its lease is renewed for far less."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """A message that carries a notice, as one of its copies or alone.

    claim    -- when it was created: this stays the same through all retries, and in its copies
    msg_id   -- its id, which no copy and no retry has
    was_read -- whether it was read before, and its worker crashed
    nonce    -- what it says that the notice's nonce is; None where it says nothing
    """

    claim: str
    msg_id: int
    was_read: bool
    nonce: Any = None

    def note(self, now: datetime) -> dict[str, Any]:
        """Return what stands in a notice's metadata while this message sends it."""
        return {CLAIM: self.claim, CARRIER: {"message": self.msg_id, "since": now.isoformat()}}

    def may_carry(self, row: Any) -> bool:
        """Return whether this message may send the notice, and end it.

        A notice about an order has a message of its own, which knows its nonce. Anybody else's
        would know only its id, and could fail in its place.
        """
        facts = row.metadata if isinstance(row.metadata, dict) else {}
        return bool(facts.get(NONCE, self.nonce) == self.nonce)

    def may_reopen(self, row: Any) -> bool:
        """Return whether the notice failed with this message, which an operator brings back."""
        facts = row.metadata if isinstance(row.metadata, dict) else {}
        failed_with_it = row.status == "failed" and facts.get(CLAIM) == self.claim
        return failed_with_it and self.may_carry(row)

    def was_given_back(self, row: Any) -> bool:
        """Return whether this message was given back when the notice was prepared, before the call.

        Its worker was not told that the row was committed. After a call no message is given back.
        """
        facts = row.metadata if isinstance(row.metadata, dict) else {}
        return not self.was_read and _carrier(facts)[0] == self.msg_id

    def waits_for_another(self, row: Any, now: datetime) -> bool:
        """Return whether another message is sending the notice.

        A notice in `sending` is this message's own if it is its carrier, or was read before;
        otherwise a copy of it is in flight, or crashed and will be read again. After an hour the
        copy is gone.
        """
        facts = row.metadata if isinstance(row.metadata, dict) else {}
        if row.status != "sending" or self.was_given_back(row):
            return False
        msg_id, since = _carrier(facts)
        if self.was_read and msg_id in (None, self.msg_id):
            return bool(facts.get(CLAIM, self.claim) != self.claim)
        return since is None or now - since < CARRIER_LOST_AFTER


@dataclass(frozen=True, slots=True)
class Delivery:
    """One notice, with everything that its call needs.

    id         -- the id of its row in NotificationLog
    key        -- the job's key, which the events about it carry
    event_type -- the event that the notice is about, such as ORDER_CANCELLED
    phone      -- the recipient's phone, as it was written before it was first sent
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
    def number(self) -> str | None:
        """What the provider is given for the phone; None if that is no valid number."""
        return normalize(self.phone)

    @property
    def about(self) -> dict[str, str]:
        """The fields that every event about this notice carries."""
        return {"key": self.key, "event_type": self.event_type, "to": mask(self.phone)}


def prepare_delivery(
    row: Any, carrier: Carrier, key: str, settings: WhatsappSettings
) -> Delivery | str:
    """Return the delivery of a row of NotificationLog, or the reason why it must not be sent.

    row     -- the locked row, or None where there is none
    carrier -- the message that is to send it
    """
    if row is None or row.channel.upper() != "WHATSAPP":
        return "no notice that waits to be sent"
    facts = row.metadata if isinstance(row.metadata, dict) else {}
    if not carrier.may_carry(row):
        return "the notice has a message of its own"
    is_claimed = facts.get(CLAIM) == carrier.claim
    if row.status != "queued" and not (is_claimed and row.status == "sending"):
        return f"the notice is {row.status}"
    unknown, crashed = unknown_calls(row, carrier, settings)
    phone = row.recipientId
    written = facts.get(WRITTEN)
    if isinstance(written, str) and normalize(written) == phone:
        phone = written  # a number without its plus sign does not say its country
    return Delivery(row.id, key, row.eventType, phone, facts, settings, unknown, crashed)


def unknown_calls(row: Any, carrier: Carrier, settings: WhatsappSettings) -> tuple[int, bool]:
    """Return how many calls for a notice ended without a reply, and whether the last one crashed.

    row     -- the locked row, for which no call is in flight any more
    carrier -- the message that is to send it
    """
    facts = row.metadata if isinstance(row.metadata, dict) else {}
    # The provider `log` has sent nothing before the commit.
    was_called = settings.provider != "log" and not carrier.was_given_back(row)
    crashed = row.status == "sending" and was_called
    earlier = facts.get(UNKNOWN)
    return (earlier if isinstance(earlier, int) else 0) + crashed, crashed


def outgoing_message(delivery: Delivery, number: str) -> OutgoingMessage:
    """Return the message that a provider is to deliver to *number*.

    Raises RejectedError for an event that has no text.
    """
    facts, settings = delivery.facts, delivery.settings
    if isinstance(own := facts.get("message"), str):
        return OutgoingMessage(number, own)
    text = render_text(delivery.event_type, facts, settings.language, settings.messages)
    variant = refunding(delivery.event_type) if owed(facts) else delivery.event_type
    templates = settings.templates if settings.mode == "template" else {}
    template = templates.get(variant) or templates.get(delivery.event_type)
    if template is None:
        return OutgoingMessage(number, text)
    notice = NOTICE_TYPES.values[delivery.event_type]
    values = fields(notice, facts, template.language.partition("_")[0])
    return OutgoingMessage(
        number, text, template, tuple(values[name] for name in template.parameters)
    )


def _carrier(facts: Mapping[str, Any]) -> tuple[int | None, datetime | None]:
    """Return the id of the message that is sending a notice, and since when, where they stand."""
    carrier = facts.get(CARRIER)
    if not isinstance(carrier, dict):
        return None, None
    try:
        return carrier.get("message"), datetime.fromisoformat(str(carrier.get("since")))
    except ValueError:
        return carrier.get("message"), None
