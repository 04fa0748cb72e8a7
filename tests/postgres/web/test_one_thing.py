"""The pages about one order, dead letter or sweep, and the search that leads to them."""

import html
import json
import re
from urllib.parse import quote

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper.app import App
from sweeper.web.pages.renderer import address
from tests.support.hostile import SIGNS, fill_with_hostile_texts, hostile
from tests.support.verbs import (
    DEAD,
    HOUR,
    MINUTE,
    OpenApp,
    broken,
    dead_letters,
    drain,
    make_visible,
    scan,
    send,
    send_raw,
    sweep,
)
from tests.support.web_client import TOKEN, Site, served, sign_in

PHONE = "0812-3456-7890"
CODE = "JST-EF2E7B-4A"
NO_SWEEP = "/sweeps/00000000-0000-0000-0000-000000000000"
PATHS = ("/orders/x", "/dead/1", NO_SWEEP, "/search?q=x")


def told(page: str) -> str:
    """Return a page's text as a reader of it hears it."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def last_sweep(connection: Connection) -> str:
    """Return the id of the latest sweep."""
    query = text("select cast(id as text) from sweeper.sweep order by at desc limit 1")
    return str(connection.execute(query).scalar_one())


def dead(app: App, shop: Shop) -> str:
    """Dead-letter the job of an order; return the order's id."""
    order = shop.order(age=HOUR, code=CODE)
    with broken(app, "Order"):
        send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
        drain(app)
    return order


# An order.


def test_an_order_s_page_tells_what_is_the_matter_and_its_whole_life(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR, code=CODE, items=[(shop.product(), 2)])
    scan(app)
    drain(app)

    by_id, by_code = site.get(f"/orders/{order}"), site.get(f"/orders/{CODE.lower()}")
    shown = told(by_id.text)

    assert (200, 200) == (by_id.status, by_code.status)
    assert f"{CODE} {order} Not due: ORDER_EXPIRE_DP done at attempt 1" in shown
    assert "from found to done" in shown
    for part in ("rule expire_dp found it", "gave back 2 of ", "notice ORDER_", "No message is"):
        assert part in shown
    assert "✗ no: " in shown
    assert f'href="/sweeps/{last_sweep(connection)}"' in by_id.text
    assert CODE in told(by_code.text)


def test_an_order_s_page_tells_where_its_message_is(app: App, site: Site, shop: Shop) -> None:
    order = shop.order(age=42 * MINUTE)
    scan(app)
    make_visible(app)

    shown = told(site.get(f"/orders/{order}").text)

    assert "Due for expire_dp since 12 min; message 1 waits in jastipin_jobs." in shown
    assert "Nothing needs to be done." in shown


def test_an_order_s_page_tells_what_may_be_done(app: App, site: Site, shop: Shop) -> None:
    order = dead(app, shop)

    reading, acting = site.get(f"/orders/{order}"), site.get(f"/orders/{order}", **sign_in(site))

    assert "sweeper dead retry 1" in told(reading.text)
    assert '<a href="/dead/1">' in reading.text
    assert f'href="/dead?key={order}"' not in reading.text
    assert f'href="/dead?key={order}"' in acting.text


@pytest.mark.parametrize("typed", ["nix", "a/b", " ", "x" * 200, "<img src=x>", "\u202e", "a\nb\n"])
def test_an_unknown_order_s_page_says_what_was_searched(site: Site, typed: str) -> None:
    answer = site.get(address(typed))

    assert 404 == answer.status
    assert "Looked for in ids and codes the ledger" in told(answer.text)
    assert not any(sign in answer.text for sign in SIGNS)


KEYS = (
    "a/b/../c",
    "//evil.example/",
    "?q=1#top",
    "%2e%2e",
    ".",
    "..",
    "日本 🎁",
    "a\nb\n",
    "\\x",
    "x" * 200,
    "🎁" * 200,
    hostile("id"),
    "\u202e",
)


@pytest.mark.parametrize("key", KEYS, ids=ascii)
def test_every_id_has_a_page_to_which_tables_and_search_lead(
    site: Site, shop: Shop, key: str
) -> None:
    """Slashes, markup, line ends and 200 characters are ids like others."""
    shop.order(id=key, age=HOUR)
    page = site.get("/").text

    found = site.get(f"/search?q={quote(key)}")
    answer = site.get(address(key))

    assert f'<a href="{address(key)}">' in page
    assert (303, address(key)) == (found.status, found.headers["location"])
    assert 200 == answer.status
    assert "Due for expire_dp" in told(answer.text)
    assert not any(sign in answer.text for sign in SIGNS)


def test_signing_in_leads_back_to_the_order_whatever_its_id(site: Site, shop: Shop) -> None:
    key = "a/b ?#é"
    shop.order(id=key, age=HOUR)

    page = site.get(address(key)).text

    assert f'href="/sign-in?next={quote(address(key))}"' in page


# A dead letter.


def test_a_dead_letter_s_page_shows_why_and_what_was_sent(app: App, site: Site, shop: Shop) -> None:
    order = dead(app, shop)

    answer = site.get("/dead/1")
    shown = told(answer.text)

    assert 200 == answer.status
    for part in (
        "exhausted",
        "out of order",
        f"{CODE} {order}",
        "sweeper dead drop 1",
        "attempts 1",
    ):
        assert part in shown
    assert f'"orderId": "{order}"' in shown
    assert f'href="{address(order)}"' in answer.text


def test_a_dead_letter_without_a_key_has_its_page(app: App, site: Site) -> None:
    """L11: the body of a malformed message is masked, also where it is cut."""
    send(app, "NOTIFICATION_SEND_WHATSAPP", {"call": PHONE, "password": "rahasia"})
    send(app, "NIX", ["x" * 19_900, PHONE, "y" * 50_000])
    send_raw(app, f'"call {PHONE}"')
    send_raw(app, None)
    drain(app)

    pages = [site.get(f"/dead/{letter.msg_id}") for letter in dead_letters(app)]

    assert [200] * 4 == [page.status for page in pages]
    assert [] == [page for page in pages if PHONE in page.text or "rahasia" in page.text]
    assert "none that could be read" in told(pages[0].text)
    assert "It goes on: sweeper dead show 2" in told(pages[1].text)


def test_a_phone_at_the_place_where_a_body_is_cut_is_masked(app: App, site: Site) -> None:
    """L11: half a number is no number that a mask knows."""
    for shift in range(0, 28, 4):
        send(app, "NIX", ["x" * shift, *[PHONE] * 3_000])
    drain(app)

    pages = [site.get(f"/dead/{letter.msg_id}").text for letter in dead_letters(app)]

    assert [] == [page for page in pages if "0812" in page]
    assert ["It goes on" in page for page in pages] == [True] * 7


def test_foreign_dead_letters_have_pages(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    fill_with_hostile_texts(app, shop, connection)
    send_raw(app, json.dumps({"reason": "exhausted", "body": 7, "key": "a/b"}), queue=DEAD)
    for raw in (None, "7", "[]", '"x"'):
        send_raw(app, raw, queue=DEAD)

    pages = [site.get(f"/dead/{letter.msg_id}") for letter in dead_letters(app)]

    assert {200} == {page.status for page in pages}
    assert not any(sign in page.text for page in pages for sign in SIGNS)


@pytest.mark.parametrize("typed", ["7", "0", "x", "-1", "9" * 18, "9" * 5_000, "%00", "٣"])
def test_an_unknown_dead_letter_s_page_says_so(site: Site, typed: str) -> None:
    answer = site.get(f"/dead/{quote(typed, safe='%')}")

    assert 404 == answer.status
    assert "one that was retried or dropped is gone" in answer.text


# A sweep.


def test_a_sweep_s_page_shows_who_why_and_what_became_of_it(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    order = shop.order(age=HOUR, code=CODE)
    sweep(app, actor="ratih", reason="after the weekend")
    sweep_id = last_sweep(connection)

    answer = site.get(f"/sweeps/{sweep_id}")
    shown = told(answer.text)

    for part in ("by ratih", "after the weekend", "1 found, 1 enqueued", f"{CODE} {order}", "done"):
        assert part in shown
    assert f'<a href="/sweeps/{sweep_id}">' in site.get("/").text


def test_a_hostile_sweep_s_page_is_only_text(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    fill_with_hostile_texts(app, shop, connection)

    page = site.get(f"/sweeps/{last_sweep(connection)}").text

    assert not any(sign in page for sign in SIGNS)
    assert hostile("actor") in html.unescape(page)


def test_an_unknown_sweep_s_page_says_so(site: Site) -> None:
    answer = site.get(NO_SWEEP)

    assert (404, True) == (answer.status, "dry runs, and what was pruned" in answer.text)


# The search.


def test_the_only_hit_is_opened_and_several_are_listed(
    app: App, site: Site, shop: Shop, connection: Connection
) -> None:
    order = dead(app, shop)
    sweep(app)

    code = site.get(f"/search?q={CODE}")
    several = site.get("/search?q=1")
    by_id = site.get(f"/search?q={last_sweep(connection)}")

    assert (303, f"/orders/{order}") == (code.status, code.headers["location"])
    assert (200, True, True) == (
        several.status,
        f'<a href="/orders/{order}">{CODE} <small>{order}</small></a>' in several.text,
        '<a href="/dead/1">' in several.text,
    )
    assert f"/sweeps/{last_sweep(connection)}" == by_id.headers["location"]


@pytest.mark.parametrize(
    "typed", ["nix", "%00", "%ff", "%F0%9F%8E%81", "a%0ab", "<img src=x>", "9" * 400, "x" * 501]
)
def test_whatever_is_typed_is_answered(site: Site, typed: str) -> None:
    answer = site.get(f"/search?q={quote(typed, safe='%')}")

    assert answer.status in {200, 400}
    assert not any(sign in answer.text for sign in SIGNS)


def test_nothing_found_and_nothing_typed_are_told(site: Site) -> None:
    nothing, empty = site.get("/search?q=nix"), site.get("/search")

    assert "Nothing is found by nix Looked for in ids and codes" in told(nothing.text)
    assert "What are you looking for?" in told(empty.text)


def test_a_full_phone_that_is_typed_is_not_shown_again(site: Site) -> None:
    """L11."""
    assert PHONE not in site.get(f"/search?q={quote(PHONE)}").text


# Who may read.


@pytest.mark.parametrize("path", PATHS)
def test_these_pages_are_read_locally_or_with_the_token(open_app: OpenApp, path: str) -> None:
    with served(open_app(web__token=TOKEN, web__trust_local=False, web__port=0)) as site:
        assert 401 == site.get(path).status
        assert site.get(path, **sign_in(site)).status in {200, 404}


@pytest.mark.parametrize("path", PATHS)
def test_these_pages_say_that_the_database_is_away(open_app: OpenApp, path: str) -> None:
    nowhere = "postgresql://sari@127.0.0.1:1/jastip"
    with served(open_app(url=nowhere, web__token=TOKEN, web__port=0)) as site:
        assert 503 == site.get(path).status


def test_every_page_has_the_field_that_searches(site: Site) -> None:
    for path in ("/", "/sign-in", *PATHS):
        assert 'action="/search"' in site.get(path).text
