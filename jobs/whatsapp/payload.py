"""The payload of NOTIFICATION_SEND_WHATSAPP, in both of its forms."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from jobs.whatsapp.phones import mask
from sweeper import Payload

NonEmptyText = Annotated[str, Field(min_length=1, max_length=200)]


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
