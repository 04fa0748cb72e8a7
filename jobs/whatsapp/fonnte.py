"""The provider `fonnte`: send messages through Fonnte, which uses the business's own phone.

https://docs.fonnte.com/api-send-message/ -- every reply has status 200; the error is in `reason`.
"""

import re

from jobs.whatsapp.settings import (
    OutgoingMessage,
    UndeliverableError,
    WhatsappSettings,
    error_for_status,
    quote,
)
from sweeper import OutsideError, RefusedError, RejectedError, Reply, post

BASE_URL = "https://api.fonnte.com"

# The order matters: "target invalid" is about the recipient, "token invalid" about our account.
_ERRORS_BY_REASON: tuple[tuple[re.Pattern[str], type[Exception]], ...] = (
    (re.compile(r"token|device|quota|account|user|package|expired|subscri"), RefusedError),
    (re.compile(r"target|number|registered"), UndeliverableError),
    (re.compile(r"timeout|try again|server|maintenance|temporar"), OutsideError),
)


def send(settings: WhatsappSettings, message: OutgoingMessage) -> str | None:
    """Send one message; return Fonnte's id of it.

    Raises UndeliverableError, RejectedError, or an OutsideError that says whether to retry.
    """
    reply = post(
        f"{settings.base_url or BASE_URL}/send",
        headers={"Authorization": settings.token.get_secret_value() if settings.token else ""},
        # countryCode 0: the number already has its country code.
        form={"target": message.to, "message": message.text, "countryCode": "0"},
        timeout=settings.timeout,
    )
    return parse_reply(reply)


def parse_reply(reply: Reply) -> str | None:
    """Return the id of the accepted message; raise the error that any other reply means."""
    fields = reply.body if isinstance(reply.body, dict) else {}
    body = {str(name).lower(): value for name, value in fields.items()}  # some replies say Status
    match body:
        case {"status": True, "id": [message_id, *_]}:
            return str(message_id)
        case {"status": True}:
            return None
        case {"status": False, "reason": str(reason)} if reply.status < 300:  # noqa: PLR2004
            message = quote(reply, "", reason)
            kinds = (kind for pattern, kind in _ERRORS_BY_REASON if pattern.search(reason.lower()))
            raise next(kinds, RejectedError)(message)
        case _:
            message = quote(reply, "", body.get("reason") or "a reply that is not Fonnte's")
            raise error_for_status(reply, message)
