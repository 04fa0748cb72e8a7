"""The reference of the settings: names and bounds from their model, meanings from the TOML file."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from sweeper import catalog, settings
from sweeper.durations import format_duration
from tests.docs.markdown import code, either, page, table
from tests.docs.schema import holds, is_duration
from tests.support.paths import ROOT

FILE = ROOT / "config" / "sweeper.toml"
_HEADER = re.compile(r"\[([\w.]+)\]\s*(?:# (.*))?")
_SETTING = re.compile(r"(?:# )?([\w.]+) = .*?  ?# (.*)")
_ENTRY = re.compile(r"(\w+)\.\w+ = .*")
_LIVE = re.compile(r"\[reload\] ")

_OF_ANY_RULE = {
    "enabled": "whether it is scanned",
    "every": "between two scans",
    "older_than": "how old a row is when it is due",
}

_OPENING = """
`config/sweeper.toml` has every setting at its default, and this page says what it means, and may
hold. A value is taken from the command line, else from the environment, else from a credential,
else from the file, else it is the default; `sweeper config` shows what is in effect, and where it
came from.

A duration is written as `100ms`, `30s`, `5m`, `24h`, `90d` or `1h30m`; a bare number is refused.
In the environment, a list is separated by commas. A secret never stands in the file: it comes
from the environment, or from a credential, a file that is named as the setting with `_` for the
dot (`web_token`).

A change needs a restart, but for the settings that say *reload*: `systemctl reload sweeper`, or
SIGHUP, takes them over, or nothing where anything in the new settings is not valid. How to set up
a machine: [Configure](../how-to/configure.md).
""".strip()


def settings_page() -> str:
    """Return docs/reference/settings.md."""
    model = settings._model_of(catalog.load("jobs"))
    said = comments()
    parts = [[_OPENING]]
    for name, section in sections(model):
        parts += [[f"## {name}"], [inspect.cleandoc(section.__doc__ or "")]]
        parts.append(table(("setting", "default", "meaning"), _rows(name, section, said)))
    return page("Settings", *parts)


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every section by its dotted name; one that only holds sections is left out."""
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        fields = [one.annotation for one in kind.model_fields.values()]
        if all(isinstance(one, type) and issubclass(one, BaseModel) for one in fields):
            yield from sections(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", kind


def comments() -> dict[str, str]:
    """Return what the TOML file says about each setting, by its dotted name.

    A setting's comment stands behind it. What stands above it, in lines of its own, comes first.
    """
    said = dict[str, str]()
    section, above = "", list[str]()
    for line in FILE.read_text("utf-8").splitlines():
        if header := _HEADER.fullmatch(line):
            section = header[1]
            said[section] = _sentence([*above, header[2] or ""])  # it may be one of names
            above = []
        elif setting := _SETTING.fullmatch(line):
            said[f"{section}.{setting[1]}"] = _sentence([*above, setting[2]])
            above = []
        elif entry := _ENTRY.fullmatch(line):
            said.setdefault(f"{section}.{entry[1]}", _sentence(above))
            above = []
        elif line.startswith("# ") and section:
            above.append(line.removeprefix("# "))
        else:
            above = []
    return said


def _rows(name: str, section: type[BaseModel], said: dict[str, str]) -> Iterator[list[str]]:
    for key, field in section.model_fields.items():
        dotted = f"{name}.{key}"
        variable = settings._variable(dotted) + ("__NAME" if _is_mapping(section, key) else "")
        holds = f"*{_holds(section, key)}{'; reload' if settings.is_live(dotted) else ''}*"
        yield [
            f"{code(dotted)}<br>{code(variable)}",
            _default(field),
            f"{meaning(dotted, field, said)}<br>{holds}",
        ]


def meaning(name: str, field: FieldInfo, said: Mapping[str, str]) -> str:
    """Return what a setting means.

    said -- what the TOML file says, by dotted name; a rule or a section may be missing there
    """
    of_any_rule = _OF_ANY_RULE.get(name.rpartition(".")[2]) if name.startswith("rules.") else None
    return said.get(name) or field.description or of_any_rule or ""


def _default(field: FieldInfo) -> str:
    return _shown(field.default) or "none"


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return code(str(value).lower())
        case timedelta():
            return code(format_duration(value))
        case tuple():
            return ", ".join(map(_shown, value))
        case {**entries}:
            return ", ".join(map(code, entries))
        case _:
            return code(value)


def _sentence(parts: Iterable[str]) -> str:
    """Return comments as one text; one that follows a full stop begins with a capital letter."""
    text = _LIVE.sub("", " ".join(part for part in parts if part))
    return re.sub(r"(?<=\. )[a-z]", lambda first: first[0].upper(), text)


def _is_mapping(section: type[BaseModel], key: str) -> bool:
    return "additionalProperties" in section.model_json_schema()["properties"][key]


def _holds(section: type[BaseModel], key: str) -> str:
    """Return what a setting may hold; what it is when it is not set goes without saying."""
    field = section.model_fields[key]
    model = section.model_json_schema()
    inner = {name: holds(schema) for name, schema in model.get("$defs", {}).items()}
    schema = model["properties"][key]
    kinds = [one for one in schema.get("anyOf", [schema]) if one != {"type": "null"}]
    return either([_bounded(field) if is_duration(one) else holds(one, inner) for one in kinds])


def _bounded(field: FieldInfo) -> str:
    """Return 'a duration', with its bounds."""
    declared = [
        f"{words} {format_duration(getattr(one, name))}"
        for one in field.metadata
        for name, words in (("gt", "longer than"), ("le", "at most"))
        if hasattr(one, name)
    ]
    return ", ".join(["a duration", *(declared or _refusals(field))])


def _refusals(field: FieldInfo) -> Iterator[str]:
    """Yield the bounds that only functions know, as they refuse what is beyond them."""
    for beyond in ("0s", "36500d"):
        try:
            TypeAdapter[Any](field.rebuild_annotation()).validate_python(beyond)
        except ValidationError as error:
            words = error.errors()[0]["msg"].removeprefix("Value error, must ")
            yield words.replace("not be longer than", "at most").removeprefix("be ")
