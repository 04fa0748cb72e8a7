"""Who may do what, by token and scope: every address, also those that are added later."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection
from starlette.routing import Route

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.web import tokens
from sweeper.web.auth import Auth
from sweeper.web.cache import Cache
from sweeper.web.live import Live
from sweeper.web.routes import routes
from sweeper.web.tokens import Scope
from tests.support.verbs import HOUR, OpenApp, messages, rows
from tests.support.web_client import TOKEN, Response, Site, csrf_token, served, sign_in

READ, ACT = tokens.make(), tokens.make()
SECRETS = {"read": READ, "act": ACT, "unnamed": TOKEN}
SAMPLES = {"{sweep_id:uuid}": "00000000-0000-0000-0000-000000000000"}
ELSEWHERE = {"host": "sweeper.example"}
WITHOUT_TOKEN = {"/livez", "/readyz", "/sign-in", "/page/{name}"}
FOR_ANY_TOKEN = {"/sign-out"}
STREAMS = {"/live"}  # they do not end: see test_live.py


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return an app with a token for each scope, beside the one without a name."""
    return open_app(
        web__token=TOKEN,
        web__port=0,
        web__tokens={
            "grafana": tokens.line(READ, Scope.READ),
            "ci": tokens.line(ACT, Scope.ACT),
        },
    )


@pytest.fixture
def site(app: App) -> Iterator[Site]:
    """Serve the app's page, as part of a healthy service."""
    with served(app) as site:
        yield site


def addresses(app: App) -> list[tuple[str, str]]:
    """Return the method and the path of every address, with something for its parameters."""
    health = Health({}, HOUR, {}, HOUR)
    cache = Cache(app, Stats(), health)
    application = routes(Auth(app.settings.web), cache, Live(cache), lambda: None)
    return [
        (method, re.sub(r"\{[^}]+\}", lambda name: SAMPLES.get(name[0], "some"), route.path))
        for route in application.routes
        if isinstance(route, Route) and route.path not in WITHOUT_TOKEN | STREAMS
        for method in sorted((route.methods or set()) - {"HEAD"})
    ]


def ask(site: Site, method: str, path: str, secret: str | None) -> Response:
    """Ask from another machine, with a body that no address takes for an act."""
    bearer = {"authorization": f"Bearer {secret}"} if secret else {}
    return site.ask(method, path, b"[]" if method != "GET" else None, ELSEWHERE | bearer)


def test_a_token_that_reads_reads_everything_from_anywhere(app: App, site: Site) -> None:
    reading = [path for method, path in addresses(app) if method == "GET"]
    refused = {401, 403}

    for name, secret in SECRETS.items():
        assert [] == [
            path for path in reading if ask(site, "GET", path, secret).status in refused
        ], name
    assert {401} == {ask(site, "GET", path, None).status for path in reading}
    assert len(reading) > 5


def test_a_token_that_reads_is_refused_whatever_acts(app: App, site: Site) -> None:
    """The answer says which token it is, and what it may do."""
    acting = [each for each in addresses(app) if each[0] != "GET" and each[1] not in FOR_ANY_TOKEN]
    answers = {path: ask(site, method, path, READ) for method, path in acting}

    assert {403} == {answer.status for answer in answers.values()}
    assert [] == [
        path for path, one in answers.items() if "grafana may read, and not act" not in one.text
    ]
    assert len(acting) > 8
    for secret in (ACT, TOKEN):
        statuses = {path: ask(site, method, path, secret).status for method, path in acting}
        assert set() == {401, 403} & {*statuses.values()}, statuses


def test_who_is_signed_in_to_read_sees_no_form_that_acts_and_can_use_none(
    app: App, site: Site, shop: Shop
) -> None:
    shop.order(age=HOUR)
    session = sign_in(site, READ)
    page = site.get("/", **session).text
    seal = csrf_token(site, session)

    assert "grafana only reads" in page
    assert 'action="/sign-out"' in page
    assert 'action="/preview"' not in page
    for path in ("/preview", "/sweep", "/dead", "/pause", "/resume"):
        assert 403 == site.submit(path, {"seal": seal, "rules": "expire_dp"}, **session).status
    assert [] == messages(app)
    assert 303 == site.submit("/sign-out", {"seal": seal}, **session).status
    assert 403 == site.submit("/sign-out", {"seal": seal}, **sign_in(site, READ)).status


def test_the_ledger_tells_which_token_acted(site: Site, shop: Shop, connection: Connection) -> None:
    shop.order(age=HOUR)
    for secret in (ACT, TOKEN):
        site.post("/api/sweep", {"rules": ["expire_dp"]}, token=secret)
    session = sign_in(site, ACT)
    form = {"seal": csrf_token(site, session), "target": "outbound", "reason": "a test"}
    site.submit("/pause", form, **session)

    actors = [row["actor"] for row in rows(connection, "sweeper.sweep", "at")]
    (pause,) = rows(connection, "sweeper.pause")
    assert ["web ci 127.0.0.1", "web token 127.0.0.1"] == actors
    assert "web ci 127.0.0.1" == pause["actor"]


def test_a_browser_that_signs_in_is_not_asked_for_the_name(site: Site) -> None:
    assert {303} == {site.submit("/sign-in", {"token": each}).status for each in SECRETS.values()}


def test_without_web_token_the_named_tokens_suffice(open_app: OpenApp) -> None:
    """`web.trust_local = false` then needs no token beside them either."""
    line = tokens.line(ACT, Scope.ACT)
    app = open_app(web__tokens={"ci": line}, web__trust_local=False, web__port=0)
    with served(app) as site:
        assert 200 == site.post("/api/sweep", {"rules": ["expire_dp"]}, token=ACT).status
        assert 401 == site.get("/").status
