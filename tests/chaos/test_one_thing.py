"""The pages about one thing in a real browser: from a table to an order and back, on any screen."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.demo.shop import Shop
from sweeper.app import App
from tests.support.browser import Page
from tests.support.hostile import hostile
from tests.support.verbs import HOUR, MINUTE, OpenApp, broken, drain, scan, send, sweep
from tests.support.web_client import TOKEN, Site, served

PICTURES = os.environ.get("SWEEPER_TEST_SCREENSHOTS")  # read before `clean` deletes it
SCREENS = [(390, 844, False), (390, 844, True), (1280, 900, False), (1280, 900, True)]
CODE = "JST-EF2E7B-4A"


@pytest.fixture
def acting(open_app: OpenApp) -> App:
    """Return an app whose page allows actions."""
    return open_app(web__token=TOKEN, web__port=0)


@pytest.fixture
def site(acting: App) -> Iterator[Site]:
    """Serve the page of the app."""
    with served(acting) as site:
        yield site


def fill(app: App, shop: Shop) -> str:
    """Create an order with a long history, whose last job is dead; return its id."""
    order = shop.order(age=50 * MINUTE, code=CODE, items=[(shop.product(), 1)])
    with broken(app, "Order"):
        send(app, "ORDER_EXPIRE_DP", {"orderId": order}, maxRetries=0)
        drain(app)
    shop.order(age=2 * HOUR, code="JST-000001-AA")
    sweep(app, actor="ratih", reason="after the weekend")
    shop.order(age=HOUR, code="JST-000002-BB")
    scan(app)
    return order


def test_one_click_leads_from_the_table_to_the_order_and_one_back(
    acting: App, site: Site, shop: Shop, browser: Page
) -> None:
    order = fill(acting, shop)
    browser.open(site.url)
    browser.until("document.querySelector('.key a')")  # which a slow machine shows later

    browser.press(CODE)
    browser.until(f"location.pathname == '/orders/{order}'")
    assert "Dead: ORDER_EXPIRE_DP (exhausted)." in browser.text()
    browser.press("dead letter 1")
    browser.until("location.pathname == '/dead/1'")
    assert f'"orderId": "{order}"' in browser.text()
    browser.press("Now")
    browser.until("location.pathname == '/' && document.querySelector('.key a')")


def test_a_code_that_is_typed_opens_its_order(
    acting: App, site: Site, shop: Shop, browser: Page
) -> None:
    order = fill(acting, shop)
    browser.open(site.url)
    browser.fill("[name=q]", CODE.lower())
    browser.press("Find")

    browser.until(f"location.pathname == '/orders/{order}'")


@pytest.mark.parametrize("key", ["a/../b", "..", ".", "?x#y", hostile("id"), "\\x"], ids=ascii)
def test_a_browser_finds_the_page_of_any_id(
    site: Site, shop: Shop, browser: Page, key: str
) -> None:
    """It resolves dots and backslashes in paths by itself."""
    shop.order(age=HOUR, id=key, code="JST-HOSTILE")
    browser.open(site.url)
    browser.until("document.querySelector('.key a')")
    browser.ask("document.querySelector('.key a').click()")

    browser.until("document.title.startsWith('JST-HOSTILE')")
    assert "Due for expire_dp" in browser.text()
    assert key in browser.text()


def test_the_pages_fit_every_screen(
    acting: App, site: Site, shop: Shop, browser: Page, tmp_path: Path
) -> None:
    order = fill(acting, shop)
    folder = Path(PICTURES) if PICTURES else tmp_path
    browser.open(site.url)
    browser.until("document.querySelector('#sweeps a')")
    swept = browser.ask("document.querySelector('#sweeps a').getAttribute('href')")
    paths = {
        "order": f"orders/{order}",
        "letter": "dead/1",
        "sweep": swept[1:],
        "find": "search?q=1",
        "nothing": "search?q=nix",
    }

    for name, path in paths.items():
        for width, height, dark in SCREENS:
            browser.look(width=width, height=height, dark=dark)
            browser.open(f"{site.url}{path}")
            picture = folder / f"{name}-{width}-{'dark' if dark else 'light'}.png"
            picture.write_bytes(browser.picture())
            assert width >= browser.ask("document.documentElement.scrollWidth")
