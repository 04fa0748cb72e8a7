"""How notices reach people: the settings, and what every provider is given and gives back."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

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

_WAIT = timedelta(seconds=30)  # where a provider asks to wait, and does not say for how long


class Template(BaseModel):
    """An approved template: its parameters are the fields that its numbers stand for, in order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")] = "id"
    parameters: tuple[Literal["name", "order_code", "dp_amount"], ...] = ("name", "order_code")


TEMPLATES = {
    "ORDER_CANCELLED": Template(name="order_cancelled"),
    "ORDER_REJECTED": Template(name="order_rejected"),
    "ORDER_REJECTED_REFUND": Template(
        name="order_rejected_refund", parameters=("name", "order_code", "dp_amount")
    ),
    "ORDER_MISSED": Template(name="order_missed"),
}


def _completed(own: Any) -> Any:
    """Return an operator's templates; what they do not say stays as it is shipped."""
    if not isinstance(own, Mapping):
        return own
    made: dict[Any, Any] = {event: shipped.model_dump() for event, shipped in TEMPLATES.items()}
    for event, template in own.items():
        said = template if isinstance(template, Mapping) else {"name": template}
        made[event] = {**made.get(event, {}), **said}
    return made


def _readable(file: Path | None) -> Path | None:
    texts(file)
    return file


class WhatsappSettings(Section):
    """How notices reach people."""

    name: ClassVar[str] = "whatsapp"

    provider: Literal["log", "cloud", "fonnte"] = "log"
    token: SecretStr | None = None
    base_url: Annotated[str, Field(pattern=r"^https?://\S+[^/\s]$")] | None = None
    phone_number_id: Annotated[str, Field(pattern=r"^\d+$")] | None = None
    graph_version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v24.0"
    mode: Literal["template", "text"] = "template"
    templates: Annotated[Mapping[str, Template], BeforeValidator(_completed)] = TEMPLATES
    language: Literal["id", "en"] = "id"
    messages: Annotated[Path, AfterValidator(_readable)] | None = None
    rate: Annotated[float, Field(gt=0)] = 10.0
    concurrency: Annotated[int, Field(ge=1, le=100)] = 8
    timeout: Annotated[Duration, Field(gt=timedelta())] = timedelta(seconds=10)

    def faults(self) -> Iterable[str]:
        """Return what the provider needs and is not set."""
        needed = {"log": (), "cloud": ("token", "phone_number_id"), "fonnte": ("token",)}
        return [
            f"whatsapp.{key} is not set, and provider {self.provider} needs it"
            for key in needed[self.provider]
            if getattr(self, key) is None
        ]

    @property
    def pace(self) -> Pace:
        """How hard the provider may be called; our own log takes whatever comes."""
        rate = math.inf if self.provider == "log" else self.rate
        return Pace(rate, self.concurrency, self.timeout)


SETTINGS = WhatsappSettings


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """What a provider is to deliver.

    to         -- the number in digits, with its country code
    text       -- the whole text
    template   -- the approved template that says the same, where there is one
    parameters -- what its numbers stand for
    """

    to: str
    text: str
    template: Template | None = None
    parameters: tuple[str, ...] = ()


class UndeliverableError(RejectedError):
    """This person cannot be reached on WhatsApp."""


def error_for_status(reply: Reply, told: str) -> Exception:
    """Return what a reply means whose own words are not known, by its HTTP status.

    told -- what is to be said of it
    """
    match reply.status:
        case 429:
            return ThrottledError(told, reply.retry_after or _WAIT)
        case 401 | 402 | 403 | 404 | 407:
            return RefusedError(told)
        case 408:
            return OutsideError(told)
        case status if status >= 500:  # noqa: PLR2004 -- a server's own fault
            return OutsideError(told)
        case status if status >= 400:  # noqa: PLR2004 -- ours
            return RejectedError(told)
        case _:
            return LostReplyError(told)


def quote(reply: Reply, code: object, words: Any) -> str:
    """Return a provider's words in one short line, without a number or a token in them."""
    told = " ".join(str(words or "").split())[:200]
    return f"{reply.status}: {code} {_PRIVATE.sub('***', told)}".strip()


_PRIVATE = re.compile(r"\+?\d[\d\s().-]{6,}\d|[\w.+/=-]{20,}")
