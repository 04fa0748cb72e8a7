"""The reference of the HTTP addresses, from the description that they give of themselves."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sweeper import catalog
from sweeper.web.openapi import describe
from tests.docs import docstring
from tests.docs.markdown import code, page, table
from tests.docs.schema import Schema, holds

_OPENING = """
The service answers these at `web.host` and `web.port`, http://127.0.0.1:4010 by default. This
page is made of the description that `sweeper openapi` prints and `/api/openapi.json` answers
(OpenAPI 3.1), from which a program may make its client.

Reading from this host needs no token. From elsewhere, and to act, send `Authorization: Bearer
TOKEN` with a token of the scope `read`, or `act`, which includes it:
[security.md](../security.md#tokens). Bodies are JSON.

An answer is `{"success": true, "data": ...}`, and the tables below say what `data` is. What is
refused, or fails, is `{"success": false, "error": "..."}`, a sentence for people. A list comes in
parts: `next` of the one is `before` of the next, and null at the end.
""".strip()

_STATUSES = {
    400: "the request is not valid; `error` says why",
    401: "a token is needed, or this one is not known",
    403: "the token may only read, or there is none that may act",
    404: "there is nothing of that name",
    408: "the body did not come in time",
    409: "not done: too many are due (`data` has the report), another act is under way, or what"
    " was seen has changed",
    413: "the body is too large",
    429: "too many requests, or too many wrong tokens; `Retry-After` says when to ask again",
    431: "the header is too large",
    503: "the database cannot be used, or too many requests are being answered",
}

_GROUPS = (
    ("Version 1", "/api/v1/"),
    ("Health and metrics", "/"),
    ("From before version 1", "/api/"),
)
"""The heading of each group, and how its addresses begin; the longest that fits counts."""


def http_page() -> str:
    """Return docs/reference/http-api.md."""
    described = describe(catalog.load("jobs"))
    operations = [
        (path, method.upper(), operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = described["components"]["schemas"]
    named = _named(schemas)
    statuses = table(("status", "means"), [(code(one), said) for one, said in _STATUSES.items()])
    parts: list[Sequence[str]] = [[_OPENING], statuses]
    for title, beginning in _GROUPS:
        parts.append([f"## {title}"])
        for path, method, operation in operations:
            if _group(path) == beginning:
                parts += _operation(path, method, operation, named)
    parts.append(["## Documents"])
    for name, schema in schemas.items():
        if not name.startswith(_ENVELOPES) and "properties" in schema:
            parts += _document(_title(name), schema, named)
    return page("HTTP API", *parts)


_ENVELOPES = ("Done_", "Failed")


def _group(path: str) -> str:
    return max((one for _, one in _GROUPS if path.startswith(one)), key=len)


def _title(name: str) -> str:
    """Return the name of a schema for people: Page_Scan_str_ is a Page of Scan."""
    outer, *inner = name.split("_")
    of = {"dict": "objects"}.get(inner[0], inner[0]) if inner else ""
    return f"{outer} of {of}" if of else outer


def _named(schemas: Mapping[str, Schema]) -> dict[str, str]:
    """Return how each schema stands in a text; of an answer, what its `data` holds."""
    named = {}
    for name, schema in schemas.items():
        anchor = re.sub(r"[^\w -]", "", _title(name)).lower().replace(" ", "-")
        fields = "properties" in schema
        named[name] = f"[{_title(name)}](#{anchor})" if fields else holds(schema)
    for name, schema in schemas.items():
        if name.startswith("Done_"):
            named[name] = holds(schema["properties"]["data"], named)
    return named


def _operation(
    path: str, method: str, operation: Mapping[str, Any], named: Mapping[str, str]
) -> Iterator[Sequence[str]]:
    yield [f"### {method} {path}"]
    yield [f"{operation['summary']}. {_who(operation['security'])}"]
    head = ("parameter", "holds", "default")
    yield table(head, (_parameter(one, named) for one in operation.get("parameters", ())))
    told = []
    if body := operation.get("requestBody"):
        needed = "" if body["required"] else ", or nothing"
        told.append(f"Body: {_content(body, named)}{needed}.")
    statuses = operation["responses"]
    told.append(f"Answer: {_content(statuses['200'], named)}.")
    refused = ", ".join(code(status) for status in statuses if status != "200")
    yield [*told, f"Otherwise {refused}."]


def _who(security: Sequence[Mapping[str, Sequence[str]]]) -> str:
    match [*security]:
        case [{"token": [scope]}]:
            return f"Needs a token that may {scope}."
        case [_, {"token": _}]:
            return "A token is needed from elsewhere."
        case _:
            return "Anyone may ask."


def _parameter(one: Mapping[str, Any], named: Mapping[str, str]) -> list[str]:
    schema = one["schema"]
    default = "needed" if one["required"] else code(schema.get("default", ""))
    return [code(one["name"]), holds(schema, named), default]


def _content(part: Mapping[str, Any], named: Mapping[str, str]) -> str:
    ((media, content),) = part["content"].items()
    if media == "text/plain":
        return "plain text"
    schema = content["schema"]
    if "anyOf" in schema and "description" in schema:  # one job by hand: a type, and its payload
        return f"{schema['description'][0].lower()}{schema['description'].rstrip('.')[1:]}"
    return holds(schema, named)


def _document(title: str, schema: Schema, named: Mapping[str, str]) -> Iterator[Sequence[str]]:
    read = docstring.read(schema.get("description"))
    yield [f"### {title}"]
    yield [read.text]
    needed = schema.get("required", ())
    yield table(
        ("field", "holds", "meaning"),
        (
            [code(name), holds(field, named), _meaning(name, field, read, needed)]
            for name, field in schema["properties"].items()
        ),
    )


def _meaning(name: str, field: Schema, read: docstring.Docstring, needed: Sequence[str]) -> str:
    """Return what a field means, and what it is when it is left out."""
    default = field.get("default")
    said = read.meanings.get(name, "")
    left_out = "" if name in needed or default in (None, [], {}) else f"default {code(default)}"
    return "; ".join(filter(None, [said, left_out]))
