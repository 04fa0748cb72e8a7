"""What the API answers, held against its description."""

from typing import Any
from urllib.parse import urlencode

from jsonschema import Draft202012Validator

from sweeper import catalog
from sweeper.web import openapi
from tests.support.web_client import Response, Site

DESCRIPTION = openapi.describe(catalog.load("jobs"))


def valid(answer: Response, method: str, path: str) -> Any:
    """Return the data of an answer, which must be as the description says."""
    operation = DESCRIPTION["paths"][f"/api/v1/{path}"][method]
    schema = operation["responses"][str(answer.status)]["content"]["application/json"]["schema"]
    whole = {"components": DESCRIPTION["components"], **schema}
    Draft202012Validator(whole).validate(answer.document)
    return answer.document.get("data")


def read(site: Site, path: str, described: str = "", **query: object) -> Any:
    """Return the data of a GET request."""
    answer = site.get(f"/api/v1/{path}?{urlencode(query)}")
    assert 200 == answer.status, answer.text
    return valid(answer, "get", described or path)
