"""The section `[whatsapp]`, and the messages and errors that all providers share."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from jobs.whatsapp.notice import FIELDS, NOTICE_TYPES, Template, unknown
from jobs.whatsapp.texts import texts
from sweeper import (
    Duration,
    LostReplyError,
    OutsideError,
    Pace,
    RefusedError,
    RejectedError,
    Reply,
    Section,
    ThrottledError,
)

_WAIT = timedelta(seconds=30)  # used when a provider asks to wait without saying how long


def shipped_templates() -> dict[str, Template]:
    """Return the templates that the notices declare, by their names in the settings."""
    return {
        name: template
        for notice in NOTICE_TYPES.values.values()
        for name, template in notice.templates.items()
    }


def _with_defaults(given: Any) -> Any:
    """Return the operator's templates, completed with the values of the shipped ones."""
    if not isinstance(given, Mapping):
        return given
    shipped = shipped_templates()
    merged: dict[Any, Any] = {event: template.model_dump() for event, template in shipped.items()}
    for event, template in given.items():
        values = template if isinstance(template, Mapping) else {"name": template}
        merged[event] = {**merged.get(event, {}), **values}
    return merged


def _check_parameters(given: Mapping[str, Template]) -> Mapping[str, Template]:
    """Refuse a template that uses a variable which its notice does not give."""
    fields = {name: one.fields for one in NOTICE_TYPES.values.values() for name in one.templates}
    for event, template in given.items():
        known = fields.get(event, FIELDS)
        if names := unknown(template, known):
            message = f"{event} uses {', '.join(names)}; the fields are {', '.join(known)}"
            raise ValueError(message)
    return given


def _keeps_secrets(url: str) -> str:
    """Refuse a URL to which the token would travel in clear text through a network."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not _is_this_host(parts.hostname or ""):
        message = "http:// shows the token to everybody on the way; only https:// is allowed"
        raise ValueError(message)
    return url


def _is_this_host(name: str) -> bool:
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _check_texts(file: Path | None) -> Path | None:
    texts(file)
    return file


class WhatsappSettings(Section):
    """The section `[whatsapp]`: the provider, its credentials, its rate and the texts."""

    name: ClassVar[str] = "whatsapp"

    provider: Literal["log", "cloud", "fonnte"] = "log"
    token: SecretStr | None = None
    base_url: (
        Annotated[str, Field(pattern=r"^https?://\S+[^/\s]$"), AfterValidator(_keeps_secrets)]
        | None
    ) = None
    phone_number_id: Annotated[str, Field(pattern=r"^\d+$")] | None = None
    graph_version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v24.0"
    mode: Literal["template", "text"] = "template"
    templates: Annotated[
        Mapping[str, Template], BeforeValidator(_with_defaults), AfterValidator(_check_parameters)
    ] = Field(default_factory=shipped_templates)
    language: Literal["id", "en"] = "id"
    messages: Annotated[Path, AfterValidator(_check_texts)] | None = None
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=100)] = 8
    timeout: Annotated[Duration, Field(gt=timedelta(), le=timedelta(days=1))] = timedelta(
        seconds=10
    )
    free_text: Literal["any", "known", "off"] = "any"
    free_text_per_hour: Annotated[int, Field(ge=1)] | None = None
    free_text_per_recipient: Annotated[int, Field(ge=1)] | None = None

    def faults(self) -> Iterable[str]:
        """Return one line for each setting that the provider needs and that is not set."""
        required = {"log": (), "cloud": ("token", "phone_number_id"), "fonnte": ("token",)}
        return [
            f"whatsapp.{key} is not set, and provider {self.provider} needs it"
            for key in required[self.provider]
            if getattr(self, key) is None
        ]

    def notes(self) -> Iterable[str]:
        """Return what the setting about texts of others means."""
        if self.free_text == "off":
            return ["free_text is off: texts of others are refused"]
        where = "any number" if self.free_text == "any" else "numbers of Participant, Guest or User"
        limits = {"an hour": self.free_text_per_hour, "to a number": self.free_text_per_recipient}
        quota = [f"{limit} {unit}" for unit, limit in limits.items() if limit]
        limit = ", ".join(quota) or "there is no quota"
        who = "whoever may insert into the queues sends texts of his own through this account"
        return [f"free_text is {self.free_text}: {who}, to {where}; {limit}"]

    @property
    def pace(self) -> Pace:
        """The rate, the concurrency and the timeout of calls; `log` has no rate limit."""
        rate = math.inf if self.provider == "log" else self.rate
        return Pace(rate, self.concurrency, self.timeout)


SETTINGS = WhatsappSettings


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """A message that a provider is to deliver.

    to         -- the number in digits, with its country code
    text       -- the whole text
    template   -- the approved template with the same text, where there is one
    parameters -- the values of the template's parameters, in order
    """

    to: str
    text: str
    template: Template | None = None
    parameters: tuple[str, ...] = ()


class UndeliverableError(RejectedError):
    """The recipient cannot be reached on WhatsApp; a retry cannot help."""


def error_for_status(reply: Reply, message: str) -> Exception:
    """Return the error that a reply means by its HTTP status, where its body does not say more.

    message -- the error's message
    """
    match reply.status:
        case 429:
            return ThrottledError(message, reply.retry_after or _WAIT)
        case 401 | 402 | 403 | 404 | 407:
            return RefusedError(message)
        case 408:
            return OutsideError(message)
        case status if status >= 500:  # noqa: PLR2004 -- an error of the server
            return OutsideError(message)
        case status if status >= 400:  # noqa: PLR2004 -- an error in our request
            return RejectedError(message)
        case _:
            return LostReplyError(message)


def quote(reply: Reply, code: object, text: Any) -> str:
    """Return a provider's error text as one short line, with phone numbers and tokens masked."""
    line = " ".join(str(text or "").split())[:200]
    return f"{reply.status}: {code} {_PRIVATE.sub('***', line)}".strip()


_PRIVATE = re.compile(r"\+?\d[\d\s().-]{6,}\d|[\w.+/=-]{20,}")
