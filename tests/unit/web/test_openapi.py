"""The description of the HTTP addresses: valid, whole, and the one that is served."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from schemathesis.specs.openapi.definitions import OPENAPI_31
from starlette.routing import Route

from sweeper import catalog
from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.web import openapi
from sweeper.web.auth import Auth
from sweeper.web.cache import Cache
from sweeper.web.live import Live
from sweeper.web.operation import Operation
from sweeper.web.routes import is_for_machines, routes
from tests.support.verbs import HOUR

JOBS = catalog.load("jobs")
DESCRIPTION = openapi.describe(JOBS)
NOWHERE = "postgresql://sari@127.0.0.1:1/jastip"


def served() -> list[Route]:
    """Return the routes of the web server, whose database is never asked."""
    app = App.load(JOBS, flags={"database.url": NOWHERE})
    health = Health({}, HOUR, {}, HOUR)
    cache = Cache(app, Stats(), health)
    application = routes(Auth(app.settings.web), cache, Live(cache), lambda: None)
    return [route for route in application.routes if isinstance(route, Route)]


def references(document: Any) -> set[str]:
    """Return what *document* refers to."""
    if isinstance(document, list):
        return set().union(*map(references, document))
    if not isinstance(document, dict):
        return set()
    own = {document["$ref"]} if "$ref" in document else set()
    return own.union(*map(references, document.values()))


def test_the_description_is_valid() -> None:
    """The schema is that of OpenAPI 3.1, which leaves out the schemas of the bodies."""
    assert [] == [
        error.message for error in Draft202012Validator(OPENAPI_31).iter_errors(DESCRIPTION)
    ]
    for schema in DESCRIPTION["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_reference_leads_somewhere() -> None:
    known = {f"#/components/schemas/{name}" for name in DESCRIPTION["components"]["schemas"]}

    assert references(DESCRIPTION) == known


def test_every_address_for_machines_is_described_and_no_other() -> None:
    """Contract: what is served is described, with its methods."""
    described = {
        (path, method.upper())
        for path, methods in DESCRIPTION["paths"].items()
        for method in methods
    }

    assert described == {
        (route.path, method)
        for route in served()
        for method in (route.methods or set()) - {"HEAD"}
        if is_for_machines(route.path)
    }


def test_the_description_names_the_rules_and_the_job_types() -> None:
    """A new job file is described by itself."""
    body = DESCRIPTION["paths"]["/api/test-queue"]["post"]["requestBody"]["content"]
    kinds = body["application/json"]["schema"]["anyOf"]
    rules = DESCRIPTION["components"]["schemas"]["SweepRequest"]["properties"]["rules"]

    newer = DESCRIPTION["components"]["schemas"]["EnqueueRequest"]["properties"]["type"]

    assert list(JOBS.jobs) == newer["enum"]
    assert list(JOBS.rules) == rules["items"]["enum"]
    assert list(JOBS.jobs) == [kind["properties"]["type"]["const"] for kind in kinds]


@pytest.mark.parametrize(
    "operation", openapi.OPERATIONS, ids=lambda each: f"{each.method} {each.path}"
)
def test_only_an_address_that_acts_demands_the_token(operation: Operation) -> None:
    """The description names the scope that the token must have."""
    described = DESCRIPTION["paths"][operation.path][operation.method.lower()]
    acts = operation.method in {"POST", "DELETE"}

    assert ({} not in described["security"]) is acts
    assert acts is ({"token": ["act"]} in described["security"])
    assert {"429", "503"} < described["responses"].keys()


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [operation.name for operation in openapi.OPERATIONS]

    assert sorted(set(names)) == sorted(names)


def test_the_platform_s_documents_and_older_addresses_are_as_they_were() -> None:
    """Contract: a version is added beside them, and takes nothing away."""
    older = {path for path in DESCRIPTION["paths"] if not path.startswith("/api/v1/")}

    assert older == {
        "/livez",
        "/readyz",
        "/metrics",
        "/api/monitoring/queue/stats",
        "/api/monitoring/queue/health",
        "/api/monitoring/queue/info",
        "/api/openapi.json",
        "/api/sweep",
        "/api/pause",
        "/api/resume",
        "/api/test-queue",
    }


def test_the_description_is_json() -> None:
    assert DESCRIPTION == json.loads(json.dumps(DESCRIPTION))
