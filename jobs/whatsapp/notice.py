"""A notice: what a person is told about an order, declared by the job file that announces it."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from string import Formatter
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import ColumnElement

from sweeper import Collection

LANGUAGES = ("id", "en")
FIELDS = ("name", "order_code", "dp_amount", "limit")
"""The variables that every notice gives its texts and templates."""

REFUND = "refund"
"""The suffix of a text's key that is used when a down payment is owed to the buyer."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]{2,60}")
_TAKEN = frozenset({*FIELDS, "message", "nonce", "claim", "carrier", "unknown", "provider"})
"""What stands in every notice's metadata, or may come to stand there."""


class Template(BaseModel):
    """An approved template; *parameters* are the variables that fill its placeholders."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2})?$")] = "id"
    parameters: tuple[str, ...] = ("name", "order_code")


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that one notice gives its texts beside FIELDS.

    name   -- as texts have it in braces
    value  -- what it is for an order, in SQL; it stands in the notice's metadata under this name
    shown  -- (value, language) -> as people read it; a row of an earlier version has no value
    sample -- a value for previews
    """

    name: str
    value: ColumnElement[Any]
    shown: Callable[[Any, str], str] = lambda value, _language: str(value)
    sample: Any = "..."


@dataclass(frozen=True, slots=True, eq=False)
class Notice:
    """What a person is told about an order; a job file exports its own in the tuple NOTICES.

    name            -- the event type of its rows in NotificationLog, and its name in the settings
    rule            -- whose limit, `older_than`, the text may name
    limit           -- that limit as it is shipped, for rows that do not say which was applied
    texts           -- by language, id and en; with `_refund` behind it, where money is owed back
    template        -- the approved template with the same text
    refund_template -- the same for the `_refund` texts
    to_jastiper     -- whether it goes to the jastiper instead of the buyer
    variables       -- what its texts may use beside FIELDS
    holds           -- on an order: whether what it says is still so; asked again before each call
    """

    name: str
    rule: str
    limit: timedelta
    texts: Mapping[str, str]
    template: Template
    refund_template: Template | None = None
    to_jastiper: bool = False
    variables: tuple[Variable, ...] = ()
    holds: ColumnElement[bool] | None = field(default=None, repr=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """The variables that its texts and templates may use."""
        return (*FIELDS, *(variable.name for variable in self.variables))

    @property
    def templates(self) -> dict[str, Template]:
        """Its templates, by their names in the settings."""
        named = {self.name: self.template, refunding(self.name): self.refund_template}
        return {name: template for name, template in named.items() if template}


def refunding(name: str) -> str:
    """Return the name that the template for money that is owed back has in the settings."""
    return f"{name}_{REFUND.upper()}"


def faults(notice: Notice) -> Iterator[str]:
    """Yield one line for each error in a declared notice, beginning with the key of a text."""
    if not _NAME.fullmatch(notice.name):
        yield "has a name that is not of capitals, digits and _"
    for variable in notice.variables:
        if not variable.name.isidentifier() or variable.name in _TAKEN:
            yield f"has a variable {variable.name!r}: the name is taken, or is none"
    yield from _faults_of_texts(notice)
    for template in notice.templates.values():
        for name in unknown(template, notice.fields):
            yield f"template {template.name} uses {name}, which the notice does not give"


def _faults_of_texts(notice: Notice) -> Iterator[str]:
    refunds = [f"{language}_{REFUND}" for language in LANGUAGES] if notice.refund_template else []
    required = [*LANGUAGES, *refunds]
    for key in required:
        if key not in notice.texts:
            yield f"has no text {key!r}"
    for key, text in notice.texts.items():
        if key not in required:
            yield f"has a text {key!r}, which has no template; its texts are {', '.join(required)}"
        for fault in text_faults(key, text, notice.fields):
            yield f"{key} {fault}"


NOTICE_TYPES = Collection("NOTICES", Notice, faults)
"""Every notice of the job files that are loaded, by name."""


def unknown(template: Template, known: Sequence[str | None]) -> list[str]:
    """Return the parameters of *template* that are not *known*."""
    return [name for name in template.parameters if name not in known]


def text_faults(key: str, text: str, known: Sequence[str | None]) -> Iterator[str]:
    """Yield what is wrong with a text.

    key   -- its language, with `_refund` behind it where money is owed back
    known -- the variables that it may use
    """
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        yield f"is not a valid template: {error}"
        return
    used = {name for _, name, spec, conversion in parts if not spec and not conversion}
    for _, name, spec, conversion in parts:
        if name not in known or spec or conversion:
            one = _braced([name])
            yield f"uses {one}, which is not a valid field; the fields are {_braced(known)}"
    required = {"order_code", "dp_amount"} if key.endswith(f"_{REFUND}") else {"order_code"}
    for name in sorted(required - used):
        yield f"lacks {_braced([name])}"


def _braced(names: Iterable[str | None]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
