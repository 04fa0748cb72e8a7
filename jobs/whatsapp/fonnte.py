"""WhatsApp through Fonnte, which lends small businesses the phone that they have.

https://docs.fonnte.com/api-send-message/ -- every reply is a 200; what went wrong is in `reason`.
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

# In this order: "target invalid" is the person's, "token invalid" ours.
_MEANINGS: tuple[tuple[re.Pattern[str], type[Exception]], ...] = (
    (re.compile(r"token|device|quota|account|user|package|expired|subscri"), RefusedError),
    (re.compile(r"target|number|registered"), UndeliverableError),
    (re.compile(r"timeout|try again|server|maintenance|temporar"), OutsideError),
)


def send(settings: WhatsappSettings, message: OutgoingMessage) -> str | None:
    """Send one letter and return Fonnte's id of it.

    Raises UndeliverableError, RejectedError, or an OutsideError that says how Fonnte is.
    """
    reply = post(
        f"{settings.base_url or BASE_URL}/send",
        headers={"Authorization": settings.token.get_secret_value() if settings.token else ""},
        # countryCode 0: the number has its country's code already.
        form={"target": message.to, "message": message.text, "countryCode": "0"},
        timeout=settings.timeout,
    )
    return parse_reply(reply)


def parse_reply(reply: Reply) -> str | None:
    """Return the id of the message that was taken; raises what any other reply means."""
    spoken = reply.body if isinstance(reply.body, dict) else {}
    body = {str(name).lower(): value for name, value in spoken.items()}  # it says Status, too
    match body:
        case {"status": True, "id": [taken, *_]}:
            return str(taken)
        case {"status": True}:
            return None
        case {"status": False, "reason": str(reason)} if reply.status < 300:  # noqa: PLR2004
            told = quote(reply, "", reason)
            kinds = (kind for pattern, kind in _MEANINGS if pattern.search(reason.lower()))
            raise next(kinds, RejectedError)(told)
        case _:
            told = quote(reply, "", body.get("reason") or "a reply that is not Fonnte's")
            raise error_for_status(reply, told)
