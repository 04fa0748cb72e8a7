"""The provider `cloud`: send messages through Meta's Cloud API, and interpret its error codes.

https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
"""

from datetime import timedelta
from typing import Any

from jobs.whatsapp.settings import (
    OutgoingMessage,
    UndeliverableError,
    WhatsappSettings,
    error_for_status,
    quote,
)
from sweeper import OutsideError, RefusedError, Reply, ThrottledError, post

BASE_URL = "https://graph.facebook.com"

_UNDELIVERABLE = frozenset(
    {
        130472,  # the person takes part in an experiment of Meta's
        131021,  # recipient and sender are the same
        131026,  # the person is not on WhatsApp, or has not accepted its terms
        131030,  # the number is not among those of the test account
        131047,  # the person did not write within 24 hours, and this is not a template
        131049,  # the person has received too many marketing messages
        131050,  # the person has opted out of marketing messages
    }
)
_REFUSED = frozenset(
    {
        0, 3, 10, 190, *range(200, 300), 131005,  # the token, or its permissions
        33, 133010,  # the phone-number id
        368, 130497, 131031, 131037, 131042, 131045,  # the account
        132000, 132001, 132007, 132012, 132015, 132016,  # the template
    }
)  # fmt: skip
_TRANSIENT = frozenset({1, 2, 131000, 131016, 133004})
_RATE_LIMITED = frozenset({4, 80007, 130429, 131048})
_PAIR_RATE_LIMITED = 131056
_PAIR_WAIT = timedelta(seconds=10)
_NO_SUCH_OBJECT = 33  # as a subcode of 100


def send(settings: WhatsappSettings, message: OutgoingMessage) -> str | None:
    """Send one message; return Meta's id of it.

    Raises UndeliverableError, RejectedError, or an OutsideError that says whether to retry.
    """
    token = settings.token.get_secret_value() if settings.token else ""
    base = settings.base_url or BASE_URL
    reply = post(
        f"{base}/{settings.graph_version}/{settings.phone_number_id}/messages",
        headers={"Authorization": f"Bearer {token}"},
        json=_body(message),
        timeout=settings.timeout,
    )
    return parse_reply(reply)


def parse_reply(reply: Reply) -> str | None:
    """Return the id of the accepted message; raise the error that any other reply means."""
    match reply.body:
        case {"messages": [{"id": str(message_id)}, *_]} if reply.status < 300:  # noqa: PLR2004
            return message_id
        case {"error": {"code": int(code)} as error}:
            raise _error_for_code(reply, code, error)
        case _:
            raise error_for_status(reply, quote(reply, "", "a reply that is not Meta's"))


def _error_for_code(reply: Reply, code: int, error: dict[str, Any]) -> Exception:
    details = error.get("error_data")
    text = details.get("details") if isinstance(details, dict) else None
    message = quote(reply, code, text or error.get("message"))
    if code in _UNDELIVERABLE:
        return UndeliverableError(message)
    if code in _REFUSED or error.get("error_subcode") == _NO_SUCH_OBJECT:
        return RefusedError(message)
    if code in _TRANSIENT:
        return OutsideError(message)
    if code == _PAIR_RATE_LIMITED:
        return ThrottledError(message, reply.retry_after or _PAIR_WAIT, alone=True)
    if code in _RATE_LIMITED:
        return error_for_status(Reply(429, None, reply.retry_after), message)
    return error_for_status(reply, message)


def _body(message: OutgoingMessage) -> dict[str, Any]:
    to = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
    }
    if message.template is None:
        return to | {"type": "text", "text": {"preview_url": False, "body": message.text}}
    # Meta rejects a parameter with a line break or with many spaces.
    texts = [{"type": "text", "text": " ".join(each.split())} for each in message.parameters]
    template = {
        "name": message.template.name,
        "language": {"code": message.template.language},
        "components": [{"type": "body", "parameters": texts}],
    }
    return to | {"type": "template", "template": template}
