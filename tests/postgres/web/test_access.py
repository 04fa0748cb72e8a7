"""Who may read the page, whose requests keep out whose, and what signing out ends."""

from html import escape
from urllib.parse import urlencode

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.hostile import SIGNS, fill_with_hostile_texts
from tests.support.verbs import OpenApp
from tests.support.web_client import TOKEN, Site, csrf_token, served, sign_in

PROBES = ("/livez", "/readyz")
READ_PATHS = (
    "/",
    "/metrics",
    "/api/monitoring/queue/stats",
    "/api/monitoring/queue/health",
    "/api/monitoring/queue/info",
)
BEARER = {"authorization": f"Bearer {TOKEN}"}
OTHER_SITES = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},  # another port of this host
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


# Reading.


@pytest.mark.parametrize("path", READ_PATHS)
@pytest.mark.parametrize(
    "header",
    ["forwarded", "via", "x-real-ip", "x-forwarded-host", "x-client-ip", "cf-connecting-ip"],
)
@pytest.mark.parametrize("token", [TOKEN, None], ids=["token", "none"])
def test_what_a_proxy_forwards_is_not_local(
    open_app: OpenApp, path: str, header: str, token: str | None
) -> None:
    """The same holds where no token is set: then nobody can read it through a proxy."""
    with served(open_app(web__token=token, web__port=0)) as site:
        assert 401 == site.get(path, **{header: "203.0.113.7"}).status


@pytest.mark.parametrize("host", ["sweeper.example", "127.0.0.1.example", "10.0.0.1:4010"])
def test_without_a_token_nobody_reads_under_a_foreign_name(open_app: OpenApp, host: str) -> None:
    with served(open_app(web__port=0)) as site:
        assert [401] * 5 == [site.get(path, host=host).status for path in READ_PATHS]
        assert [200] * 2 == [site.get(path, host=host).status for path in PROBES]


@pytest.mark.parametrize("path", READ_PATHS)
def test_what_nginx_passes_on_by_default_is_not_local(site: Site, path: str) -> None:
    """It names the upstream as the host, sends no header of its own, and speaks HTTP/1.0."""
    proxied = f"GET {path} HTTP/1.0\r\nhost: {site.address}\r\nconnection: close\r\n"

    assert 401 == site.raw(f"{proxied}\r\n")
    assert 200 == site.raw(f"{proxied}authorization: Bearer {TOKEN}\r\n\r\n")


@pytest.mark.parametrize("path", READ_PATHS)
def test_where_local_requests_are_not_trusted_reading_needs_the_token(
    open_app: OpenApp, path: str
) -> None:
    """A proxy on this host that names nobody is so kept out; probes are open, they name no rows."""
    with served(open_app(web__token=TOKEN, web__trust_local=False, web__port=0)) as site:
        assert 401 == site.get(path).status
        assert 200 == site.get(path, **BEARER).status
        assert 200 == site.get(path, **sign_in(site)).status
        assert [200] * 2 == [site.get(probe).status for probe in PROBES]


# The shares of the rate limit.


def exhaust(site: Site, path: str, headers: dict[str, str]) -> None:
    """Send requests until they are refused because there were too many."""
    for _ in range(3_000):
        if site.get(path, **headers).status == 429:
            return
    pytest.fail("three thousand requests were let through")


def served_kinds(site: Site, session: dict[str, str]) -> dict[str, int]:
    """Return the status of one request of each kind of caller."""
    return {
        "probe": site.get("/livez").status,
        "scraper": site.get("/metrics").status,
        "program": site.get("/metrics", **BEARER).status,
        "person": site.get("/", **session).status,
        "reader": site.get("/api/monitoring/queue/stats").status,
        "sign-in": site.submit("/sign-in", {"token": TOKEN}).status,
    }


@pytest.mark.parametrize(
    ("path", "headers", "kept_out"),
    [
        *[("/livez", headers, "") for headers in OTHER_SITES],
        ("/nothing", {"authorization": "Bearer tebakan"}, "sign-in"),
        ("/page/page.css", {}, "reader"),
        ("/page/page.css", BEARER, "program"),
        ("/metrics", {}, "scraper"),
        ("/livez", {}, "probe"),
    ],
    ids=str,
)
def test_too_many_requests_of_one_kind_keep_no_other_kind_out(
    site: Site, path: str, headers: dict[str, str], kept_out: str
) -> None:
    """A page of another site that fires at this host keeps out neither operator nor Prometheus."""
    session = sign_in(site)
    exhaust(site, path, headers)

    statuses = served_kinds(site, session)

    others = {kind: status for kind, status in statuses.items() if kind != kept_out}
    assert {200, 303} >= {*others.values()}, others


def test_the_right_token_is_accepted_after_many_wrong_ones(site: Site) -> None:
    guesses = [site.submit("/sign-in", {"token": f"tebakan {n}"}).status for n in range(12)]

    assert [401] * 10 + [429] * 2 == guesses
    assert 303 == site.submit("/sign-in", {"token": TOKEN}).status


# Signing out.


def test_signing_out_ends_the_session_on_the_server(site: Site) -> None:
    """A copy of the cookie is worth nothing afterwards; other sessions go on."""
    session, other = sign_in(site), sign_in(site)
    form = {"seal": csrf_token(site, session)}
    site.submit("/sign-out", form, **session)

    assert 401 == site.submit("/sign-out", form, **session).status
    assert csrf_token(site, other)


# What strangers wrote.


def test_markup_in_strangers_texts_is_shown_as_text(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    """Ids, keys, types, reasons, errors, names, whatever wrote them: none becomes markup."""
    written = fill_with_hostile_texts(app, shop, connection)
    session = sign_in(site)
    page = site.get("/", **session).text
    form = {"seal": csrf_token(site, session), "rules": "expire_dp"}
    preview = site.submit("/preview", form, **session).text

    for text in (page, preview):
        assert [] == [sign for sign in SIGNS if sign in text]
    assert [] == [mark for mark in written.page if mark not in page]
    assert [] == [mark for mark in written.preview if mark not in preview]


@pytest.mark.parametrize(
    ("asked", "opened"),
    [
        ("/dead?type=A", "/dead?type=A"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
    ],
)
def test_signing_in_leads_back_to_the_page_that_asked(site: Site, asked: str, opened: str) -> None:
    """Whatever a link to the form says, it leads to no other site."""
    form = site.get(f"/sign-in?{urlencode({'next': asked})}").text
    answer = site.submit("/sign-in", {"token": TOKEN, "next": asked})

    assert 'name="token"' in form
    assert f'name="next" value="{escape(opened)}"' in form
    assert (303, opened) == (answer.status, answer.headers["location"])
