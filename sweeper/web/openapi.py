"""The addresses for machines: one table, of which routes and description are made."""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter

from sweeper.catalog import Catalog
from sweeper.monitoring.version import DISTRIBUTION, version
from sweeper.web import documents
from sweeper.web.actions import PauseRequest, ResumeRequest, SweepRequest
from sweeper.web.auth import METRICS
from sweeper.web.documents import Done
from sweeper.web.operation import SECURITY, Access, Operation
from sweeper.web.v1.operations import V1


class Job:
    """One job by hand: the name of a job type, and the fields of its payload beside it."""


_QUEUE = "/api/monitoring/queue"
_ANYONE, _READ, _ACT = Access.ANYONE, Access.LOCAL_OR_TOKEN, Access.TOKEN
_ALIVE, _READY = documents.Alive, documents.Ready

_CONTRACT = (
    Operation("/livez", "alive", "Which loops hang", _ANYONE, {200: _ALIVE, 503: _ALIVE}),
    Operation("/readyz", "ready", "Why it is not ready", _ANYONE, {200: _READY, 503: _READY}),
    Operation(METRICS, "metrics", "The metrics, for Prometheus", _READ, {200: str}),
    Operation(f"{_QUEUE}/stats", "stats", "What waits", _READ, {200: Done[documents.Stats]}),
    Operation(f"{_QUEUE}/health", "health", "Is all well", _READ, {200: Done[documents.Health]}),
    Operation(f"{_QUEUE}/info", "info", "Who works", _READ, {200: Done[documents.Info]}),
    Operation("/api/openapi.json", "description", "This document", _READ, {200: dict[str, Any]}),
    Operation(
        "/api/sweep",
        "sweep",
        "Scan now; the service works off the jobs",
        _ACT,
        {200: Done[documents.Swept]},
        "POST",
        SweepRequest,
    ),
    Operation(
        "/api/pause",
        "pause",
        "Pause a rule, a queue or everything",
        _ACT,
        {200: Done[documents.Paused]},
        "POST",
        PauseRequest,
    ),
    Operation(
        "/api/resume",
        "resume",
        "Let what is paused go on",
        _ACT,
        {200: Done[documents.Resumed]},
        "POST",
        ResumeRequest,
    ),
    Operation(
        "/api/test-queue",
        "test_queue",
        "Enqueue one job",
        _ACT,
        {200: Done[documents.Enqueued]},
        "POST",
        Job,
    ),
)
"""The addresses that were promised before there was a version; they stay as they are."""

OPERATIONS = (*_CONTRACT, *V1)


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return the OpenAPI description of every operation, with the rules and jobs of *catalog*."""
    answers = [kind for each in OPERATIONS for kinds in each.all_answers.values() for kind in kinds]
    payloads = [job.payload for job in catalog.jobs.values()]
    bodies = [each.body for each in OPERATIONS if each.body not in {None, Job}]
    kinds = [kind for kind in dict.fromkeys([*answers, *bodies, *payloads]) if kind is not str]
    found, shared = TypeAdapter.json_schemas(
        [(number, "validation", TypeAdapter(kind)) for number, kind in enumerate(kinds)],
        ref_template="#/components/schemas/{model}",
    )
    schemas = {kind: found[number, "validation"] for number, kind in enumerate(kinds)}
    schemas[str] = {"type": "string"}
    schemas[Job] = _job_schema(catalog, schemas)
    components = shared["$defs"]
    components["SweepRequest"]["properties"]["rules"]["items"]["enum"] = list(catalog.rules)
    new_job = components["EnqueueRequest"]["properties"]
    new_job["type"]["enum"] = list(catalog.jobs)
    new_job["payload"] = {"anyOf": [schemas[payload] for payload in payloads]}
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schemas, catalog)
    return {
        "openapi": "3.1.0",
        "info": {"title": DISTRIBUTION, "version": version()},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of the scope `read`, or `act`, which includes it;"
                    " reading from this host needs none.",
                }
            },
        },
    }


def _job_schema(catalog: Catalog, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    kinds = [
        {"properties": {"type": {"const": name}}, "allOf": [schemas[job.payload]]}
        for name, job in catalog.jobs.items()
    ]
    return {"description": Job.__doc__, "type": "object", "required": ["type"], "anyOf": kinds}


def _operation(each: Operation, schemas: Mapping[Any, Any], catalog: Catalog) -> dict[str, Any]:
    described = {
        "operationId": each.name,
        "summary": each.summary,
        "security": SECURITY[each.access],
        "responses": {
            str(status): _response(status, [schemas[kind] for kind in kinds], kinds)
            for status, kinds in sorted(each.all_answers.items())
        },
    }
    if parameters := [*_in_path(each, catalog), *_in_query(each, catalog)]:
        described["parameters"] = parameters
    if each.body:
        content = {"application/json": {"schema": schemas[each.body]}}
        described["requestBody"] = {"required": each.body is not SweepRequest, "content": content}
    return described


def _in_path(each: Operation, catalog: Catalog) -> Iterator[dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {
        "id": {"type": "integer", "minimum": 1},
        "sweep_id": {"type": "string", "format": "uuid"},
        "rule": {"type": "string", "enum": list(catalog.rules)},
        "name": {"type": "string", "enum": list(catalog.listings)},
    }
    for name in each.parameters:
        kind = known.get(name, {"type": "string"})
        yield {"name": name, "in": "path", "required": True, "schema": kind}


def _in_query(each: Operation, catalog: Catalog) -> Iterator[dict[str, Any]]:
    """Yield the parameters behind the question mark; one that may be left out is never null."""
    model = each.query.model_json_schema() if each.query else {}
    for name, schema in model.get("properties", {}).items():
        every = [_inlined(kind, model) for kind in schema.get("anyOf", [schema])]
        kinds = [kind for kind in every if kind != {"type": "null"}]
        kind = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
        known = {"enum": list(catalog.rules)} if name == "rule" else {}
        needed = name in model.get("required", [])
        yield {"name": name, "in": "query", "required": needed, "schema": kind | known}


def _inlined(schema: dict[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema of *model* with what it refers to; such are names that one chooses from."""
    name = schema.get("$ref", "").rpartition("/")[2]
    rest = {key: value for key, value in schema.items() if key != "$ref"}
    return {**model["$defs"][name], **rest} if name else rest


def _response(status: int, found: Sequence[Any], kinds: Sequence[Any]) -> dict[str, Any]:
    media = "text/plain" if kinds == [str] else "application/json"
    schema = found[0] if len(found) == 1 else {"anyOf": found}
    return {"description": HTTPStatus(status).phrase, "content": {media: {"schema": schema}}}
