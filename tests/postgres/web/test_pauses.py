"""Pauses over HTTP: the page's headline and forms, the API and the metric."""

import pytest

from sweeper.app import App
from tests.support.verbs import QUEUE
from tests.support.web_client import Site, csrf_token, sign_in


def test_a_program_pauses_and_resumes(site: Site, app: App) -> None:
    body = {"target": "expire_dp", "for": "2h", "reason": "wrong clock"}
    data = site.post("/api/pause", body).document["data"]

    assert ("expire_dp", "web token 127.0.0.1", "wrong clock") == (
        data["target"],
        data["actor"],
        data["reason"],
    )
    assert ["expire_dp"] == [pause.target for pause in app.pauses.read()]
    answer = site.post("/api/resume", {"target": "expire_dp"})
    assert {"resumed": ["expire_dp"]} == answer.document["data"]
    assert not app.pauses.read()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"target": "dinner", "reason": "x"},
        {"target": "expire_dp"},
        {"target": "expire_dp", "reason": ""},
        {"target": "expire_dp", "reason": "x", "for": "0s"},
        {"target": "expire_dp", "reason": "x", "for": 30},
        {"target": "expire_dp", "reason": "x", "until": "tomorrow"},
    ],
)
def test_a_request_for_a_pause_that_makes_no_sense_is_refused(
    site: Site, app: App, body: dict[str, object]
) -> None:
    assert 400 == site.post("/api/pause", body).status
    assert 400 == site.post("/api/resume", body | {"target": 7}).status
    assert not app.pauses.read()


def test_the_page_says_what_is_paused_and_lets_it_go_on(site: Site, app: App) -> None:
    session = sign_in(site)
    seal = csrf_token(site, session)
    form = {"seal": seal, "target": "everything", "for": "", "reason": "a <b> restore"}

    assert 303 == site.submit("/pause", form, **session).status

    page = site.get("/", **session).text
    assert "<h1>Paused: everything</h1>" in page
    assert "until it is resumed, by web token 127.0.0.1: a &lt;b&gt; restore" in page
    assert "Resume everything" in page

    assert 303 == site.submit("/resume", {"seal": seal, "target": "everything"}, **session).status
    assert "Paused" not in site.get("/", **session).text
    assert not app.pauses.read()


def test_a_form_for_a_pause_without_a_reason_is_refused(site: Site, app: App) -> None:
    session = sign_in(site)
    seal = csrf_token(site, session)

    refused = site.submit("/pause", {"seal": seal, "target": QUEUE, "for": "1h"}, **session)

    assert 400 == refused.status
    assert not app.pauses.read()


def test_a_pause_is_a_metric(site: Site, app: App) -> None:
    app.pauses.pause("outbound", None, "sari", "the provider asked us")

    assert f'sweeper_paused_seconds{{target="{QUEUE}_outbound"}}' in site.get("/metrics").text
