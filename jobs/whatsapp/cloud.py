"""WhatsApp through Meta's Cloud API, whose error codes say whose fault it is.

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

_PERSON = frozenset(
    {
        130472,  # takes part in an experiment of Meta's
        131021,  # is the sender
        131026,  # is not on WhatsApp, or has not accepted its terms
        131030,  # is not among the numbers of a test account
        131047,  # did not write within 24 hours, and this was no template
        131049,  # has had enough marketing messages
        131050,  # wants no marketing messages
    }
)
_OURS = frozenset(
    {
        0, 3, 10, 190, *range(200, 300), 131005,  # the token, or what it may do
        33, 133010,  # the phone-number id
        368, 130497, 131031, 131037, 131042, 131045,  # the account
        132000, 132001, 132007, 132012, 132015, 132016,  # the template
    }
)  # fmt: skip
_LATER = frozenset({1, 2, 131000, 131016, 133004})
_TOO_FAST = frozenset({4, 80007, 130429, 131048})
_TOO_FAST_FOR_ONE = 131056
_PAIR_WAIT = timedelta(seconds=10)
_NO_SUCH_OBJECT = 33  # as a subcode of 100


def send(settings: WhatsappSettings, message: OutgoingMessage) -> str | None:
    """Send one letter and return Meta's id of it.

    Raises UndeliverableError, RejectedError, or an OutsideError that says how Meta is.
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
    """Return the id of the message that was taken; raises what any other reply means."""
    match reply.body:
        case {"messages": [{"id": str(taken)}, *_]} if reply.status < 300:  # noqa: PLR2004
            return taken
        case {"error": {"code": int(code)} as error}:
            raise _meant(reply, code, error)
        case _:
            raise error_for_status(reply, quote(reply, "", "a reply that is not Meta's"))


def _meant(reply: Reply, code: int, error: dict[str, Any]) -> Exception:
    details = error.get("error_data")
    words = details.get("details") if isinstance(details, dict) else None
    told = quote(reply, code, words or error.get("message"))
    if code in _PERSON:
        return UndeliverableError(told)
    if code in _OURS or error.get("error_subcode") == _NO_SUCH_OBJECT:
        return RefusedError(told)
    if code in _LATER:
        return OutsideError(told)
    if code == _TOO_FAST_FOR_ONE:
        return ThrottledError(told, reply.retry_after or _PAIR_WAIT, alone=True)
    if code in _TOO_FAST:
        return error_for_status(Reply(429, None, reply.retry_after), told)
    return error_for_status(reply, told)


def _body(message: OutgoingMessage) -> dict[str, Any]:
    to = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
    }
    if message.template is None:
        return to | {"type": "text", "text": {"preview_url": False, "body": message.text}}
    # A parameter that holds a line break or many spaces is refused.
    texts = [{"type": "text", "text": " ".join(each.split())} for each in message.parameters]
    template = {
        "name": message.template.name,
        "language": {"code": message.template.language},
        "components": [{"type": "body", "parameters": texts}],
    }
    return to | {"type": "template", "template": template}
