"""Every page of the console in a real browser, on narrow and wide screens, light and dark.

In each state, no page scrolls sideways, whatever letters the browser has, and axe finds nothing
that keeps people from using it.
With SWEEPER_TEST_SCREENSHOTS=FOLDER, the screenshots are saved there.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from jobs.demo.shop import Shop
from sweeper import catalog
from sweeper.app import App
from tests.support.browser import Page
from tests.support.console import DEAD_CODE, fill_console
from tests.support.depth import fill_dead_letters, fill_ledger, fill_refunds
from tests.support.length import LONG
from tests.support.verbs import HOUR, OpenApp
from tests.support.web_client import TOKEN, Site, served

PICTURES = os.environ.get("SWEEPER_TEST_SCREENSHOTS")  # read before `clean` deletes it
SCREENS = [(width, dark) for width in (390, 1280) for dark in (False, True)]
PAGES = {
    "now": "",
    "dead": "dead",
    "dead-letter": "dead/1",
    "waiting": "waiting",
    "sweeps": "sweeps",
    "overdue": "overdue?rule=expire_dp",
    "anomalies": "anomalies?rule=expire_dp",
    "refunds": "lists/refunds",
    "history": "history",
    "acts": "acts",
    "order": f"orders/{DEAD_CODE}",
    "search": "search?q=JST",
    "sign-in": "sign-in",
    "not-found": "nothing-here",
}
# WCAG 2.2, 1.4.10 and 1.4.12: a page fits a screen of 320 pixels, and letters set wide.
NARROWEST = 320
SET_WIDE = """
    document.adoptedStyleSheets = [new CSSStyleSheet()];
    document.adoptedStyleSheets[0].replaceSync(
        "* { letter-spacing: .12em !important; word-spacing: .16em !important; }"
    );
"""
DEAD, SCANS = (100_000, 2_500_000) if LONG else (5_000, 10_000)
NOWHERE = "postgresql://sari@127.0.0.1:1/jastip"


@pytest.fixture(params=["empty", "usual", "busy", "broken"])
def state(request: pytest.FixtureRequest) -> str:
    """Return the name of what the console is looked at in."""
    return str(request.param)


@pytest.fixture
def site(state: str, open_app: OpenApp, shop: Shop, connection: Connection) -> Iterator[Site]:
    """Serve the console in this state."""
    with _app(state, open_app) as app:
        if state in {"usual", "busy"}:
            fill_console(app, shop)
        if state == "busy":
            fill_dead_letters(connection, DEAD)
            fill_ledger(connection, SCANS)
            fill_refunds(connection, 20_000)
            for number in range(200):
                shop.order(age=2 * HOUR, code=f"JST-BUSY-{number}")
        with served(app, healthy=state != "broken") as site:
            yield site


@contextmanager
def _app(state: str, open_app: OpenApp) -> Iterator[App]:
    if state != "broken":
        yield open_app(web__token=TOKEN, web__port=0)
        return
    flags = {"database.url": NOWHERE, "web.token": TOKEN, "web.port": 0}
    app = App.load(catalog.load("jobs"), flags=flags)
    yield app
    app.close()


def sign_in(browser: Page, site: Site) -> None:
    """Sign in, and come back to the first page."""
    browser.open(f"{site.url}sign-in")
    browser.fill("[name=token]", TOKEN)
    browser.press("Sign in")
    browser.until("document.body.innerText.includes('Sign out')")


def too_wide(page: Page, width: int) -> list[str]:
    """Return the innermost elements for which the page would have to be scrolled sideways."""
    if page.ask("document.documentElement.scrollWidth") <= width:
        return []
    wide: list[str] = page.ask(
        "[...document.querySelectorAll('body *')]"
        f".filter(each => each.getBoundingClientRect().right > {width} + .5"
        " || each.clientWidth && each.scrollWidth > each.clientWidth)"
        ".filter((each, _, all) => !all.some(other => other !== each && each.contains(other)))"
        ".map(each => `scrolls sideways: ${each.outerHTML.slice(0, 120)}`)"
    )
    return wide or ["scrolls sideways"]


@pytest.mark.parametrize("who", ["reader", "operator"])
def test_every_page_fits_and_can_be_used_by_everybody(
    chromium_page: Page, site: Site, state: str, who: str, tmp_path: Path
) -> None:
    folder = Path(PICTURES) if PICTURES else tmp_path
    chromium_page.open("about:blank")
    chromium_page.command("Network.clearBrowserCookies")
    if who == "operator":
        sign_in(chromium_page, site)
    faults = list[str]()
    for name, path in PAGES.items():
        chromium_page.open(f"{site.url}{path}")
        for width, dark in SCREENS:
            chromium_page.look(width=width, height=900, dark=dark)
            shown = f"{name}-{state}-{who}-{width}-{'dark' if dark else 'light'}"
            (folder / f"{shown}.png").write_bytes(chromium_page.picture())
            faults += [f"{shown}: {each}" for each in too_wide(chromium_page, width)]
            faults += [f"{shown}: {barrier}" for barrier in chromium_page.barriers()]
        chromium_page.look(width=NARROWEST, height=900)
        faults += [f"{name}: {each}" for each in too_wide(chromium_page, NARROWEST)]
        chromium_page.ask(SET_WIDE)
        chromium_page.look(width=390, height=900)
        faults += [f"{name}, set wide: {each}" for each in too_wide(chromium_page, 390)]

    assert [] == faults


@pytest.mark.parametrize("state", ["usual"], indirect=True)
def test_everything_can_be_reached_with_the_keyboard(chromium_page: Page, site: Site) -> None:
    """The tab key leads to every link, button and field, in their order, and one sees where."""
    chromium_page.look(width=1280, height=900)
    sign_in(chromium_page, site)
    for path in PAGES.values():
        chromium_page.open(f"{site.url}{path}")
        expected = chromium_page.ask(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, summary')]"
            ".filter(each => each.checkVisibility()).map(each => each.outerHTML.slice(0, 200))"
        )
        assert expected == chromium_page.tab_through(len(expected))
