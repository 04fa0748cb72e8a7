"""The page in a real browser: what it shows, and what people do on it.

With SWEEPER_TEST_SCREENSHOTS=docs, its screenshots are saved in docs.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from jobs.demo.shop import Shop
from sweeper import remedies
from sweeper.app import App
from sweeper.monitoring.history_writer import HistoryWriter
from sweeper.postgres import clock
from tests.support.browser import Page
from tests.support.console import PHONE, fill_console
from tests.support.hostile import fill_with_hostile_texts, hostile
from tests.support.verbs import (
    DAY,
    HOUR,
    MINUTE,
    OpenApp,
    dead_letters,
    messages,
)
from tests.support.web_client import TOKEN, Site, served

PICTURES = os.environ.get("SWEEPER_TEST_SCREENSHOTS")  # read before `clean` deletes it
INSTALLED = "/opt/sweeper/share/sweeper/docs/runbook.md"
SCREENS = [(390, 844, False), (390, 844, True), (1280, 900, False), (1280, 900, True)]
_LEGIBLE = 10  # pixels of a line of text in a picture


@pytest.fixture
def acting(open_app: OpenApp) -> App:
    """Return an app whose page allows actions."""
    return open_app(web__token=TOKEN, web__port=0)


@pytest.fixture
def site(acting: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve the page of the app as an installation does."""
    monkeypatch.setattr(remedies, "_installed", lambda: INSTALLED)
    with served(acting) as site:
        yield site


def sign_in(browser: Page, site: Site) -> None:
    """Open the page on a wide screen, and sign in."""
    browser.look(width=1280, height=900)
    browser.open(site.url)
    browser.press("Sign in")
    browser.until("document.querySelector('[name=token]')")
    browser.fill("[name=token]", TOKEN)
    browser.press("Sign in")
    browser.until("document.body.innerText.includes('Sweep by hand')")


def test_the_page_shows_everything_without_scrolling_sideways(
    acting: App, site: Site, shop: Shop, browser: Page, tmp_path: Path
) -> None:
    """L11: phones are masked. On narrow and wide screens, light and dark, the page fits."""
    dead_order = fill_console(acting, shop)
    folder = Path(PICTURES) if PICTURES else tmp_path

    for width, height, dark in SCREENS:
        browser.look(width=width, height=height, dark=dark)
        browser.open(site.url)
        picture = folder / f"page-{width}-{'dark' if dark else 'light'}.png"
        picture.write_bytes(browser.picture())
        assert width >= browser.ask("document.documentElement.scrollWidth")

    shown = browser.text()
    for expected in (
        "5 overdue",
        f"{dead_order}\t50 min\tdead letter 3: exhausted",
        "pending_dp with evidence of payment",
        "waits in the queue",
        "the next scan finds it",
        "NumericValueOutOfRange",
        "ratih: after the weekend",
        "Rp 600.000",
    ):
        assert expected in shown
    assert PHONE not in shown


def test_the_history_fits_every_screen_and_its_numbers_can_be_opened(
    acting: App, site: Site, shop: Shop, browser: Page, tmp_path: Path
) -> None:
    """The pictures need no script and no style of their own; each has its numbers as a table."""
    fill_console(acting, shop)
    with acting.database.transaction() as tx:
        for table in ("sweep", "job_log"):
            tx.execute(text(f"update sweeper.{table} set at = at - interval '5 minutes'"))
    HistoryWriter(acting.database, [], DAY).record(clock.now())
    folder = Path(PICTURES) if PICTURES else tmp_path

    for width, height, dark in SCREENS:
        browser.look(width=width, height=height, dark=dark)
        browser.open(f"{site.url}history")
        picture = folder / f"history-{width}-{'dark' if dark else 'light'}.png"
        picture.write_bytes(browser.picture())
        assert width >= browser.ask("document.documentElement.scrollWidth")
        texts = "[...document.querySelectorAll('svg text')]"
        heights = browser.ask(f"{texts}.map(each => each.getBoundingClientRect().height)")
        assert min(heights) > _LEGIBLE
    assert "Overdue rows" in browser.text()

    browser.press("Numbers")
    browser.until("document.querySelector('details[open] tbody tr')")
    assert 60 == browser.ask("document.querySelectorAll('details[open] tbody tr').length")
    browser.press("month")
    browser.until("document.title.startsWith('The last month')")


def test_the_page_refreshes_itself(acting: App, site: Site, shop: Shop, browser: Page) -> None:
    fill_console(acting, shop)
    sign_in(browser, site)
    shop.order(age=31 * MINUTE)
    browser.until("document.title.startsWith('6 overdue')")


def test_what_one_types_is_kept_while_the_page_refreshes(site: Site, browser: Page) -> None:
    """What another operator does is seen meanwhile, at once."""
    sign_in(browser, site)
    browser.press("Pause…")
    browser.ask("document.querySelector('#pause [name=reason]').focus()")
    browser.command("Input.insertText", text="the app's clock")
    began = time.monotonic()
    site.post("/api/pause", {"target": "expire_dp", "reason": "a look", "for": "1h"})
    browser.until("document.title.startsWith('Paused')")

    assert time.monotonic() < began + 4.0
    assert "the app's clock" == browser.ask("document.activeElement.value")
    assert browser.ask("document.querySelector('#pause').open")


def test_a_form_that_is_sent_twice_acts_once(
    acting: App, site: Site, shop: Shop, browser: Page, connection: Connection
) -> None:
    fill_console(acting, shop)
    sign_in(browser, site)
    browser.press("Sweep by hand")
    browser.fill("[name=reason]", "twice")
    browser.press("Preview")
    browser.until("document.body.innerText.includes('would be swept')")
    twice = (
        "(async () => { const form = document.querySelector('form[action=\"/sweep\"]');"
        " const body = new URLSearchParams(new FormData(form));"
        " const sent = [1, 2].map(() => fetch('/sweep', {method: 'POST', body}));"
        " return (await Promise.all(sent)).map(each => each.url); })()"
    )
    first, second = browser.ask(twice)

    assert first == second
    counted = text("select count(distinct id) from sweeper.sweep where reason = 'twice'")
    assert 1 == connection.execute(counted).scalar_one()


def test_a_page_that_cannot_refresh_says_that_it_is_old(acting: App, browser: Page) -> None:
    """Figures that are no longer refreshed must not look current."""
    with served(acting) as site:
        browser.open(site.url)
        assert "What you see is old" not in browser.text()
    browser.until("document.body.innerText.includes('What you see is old')")
    browser.problems.clear()  # of the connection that was refused


def test_a_sweep_can_be_previewed_and_run(
    acting: App, site: Site, shop: Shop, browser: Page
) -> None:
    order = shop.order(age=HOUR)
    sign_in(browser, site)
    browser.press("Sweep by hand")
    browser.fill("[name=reason]", "before lunch")
    browser.press("Preview")
    browser.until("document.body.innerText.includes('1 would be swept')")
    assert order in browser.text()
    assert [] == messages(acting)
    for width in (390, 1280):
        browser.look(width=width, height=900)
        assert width >= browser.ask("document.documentElement.scrollWidth")

    browser.press("Run this sweep")
    browser.until("document.body.innerText.includes('1 enqueued.')")
    assert 1 == len(messages(acting))
    assert "web token 127.0.0.1: before lunch" in browser.text()


def test_dead_letters_of_one_cause_can_be_retried_or_dropped(
    acting: App, site: Site, shop: Shop, browser: Page
) -> None:
    fill_console(acting, shop)
    sign_in(browser, site)
    browser.press("Retry")
    browser.until("document.body.innerText.includes('Retry 1 dead letter?')")
    browser.fill("[name=why]", "the shelf is mended")
    browser.press("Retry 1")
    browser.until("document.body.innerText.includes('1 sent again.')")
    assert 2 == len(dead_letters(acting))

    browser.press("Drop 1")
    browser.until("document.body.innerText.includes('Drop 1 dead letter?')")
    browser.fill("[name=why]", "nobody misses it")
    browser.press("Drop 1 for good")
    browser.until("document.body.innerText.includes('1 dropped.')")
    assert 1 == len(dead_letters(acting))


def test_the_lists_fit_on_narrow_and_wide_screens(
    acting: App, site: Site, shop: Shop, browser: Page, tmp_path: Path
) -> None:
    fill_console(acting, shop)
    sign_in(browser, site)
    folder = Path(PICTURES) if PICTURES else tmp_path

    for path in ("dead", "waiting", "sweeps", "anomalies", "overdue", "lists/refunds"):
        for width, height, dark in SCREENS:
            browser.look(width=width, height=height, dark=dark)
            browser.open(f"{site.url}{path}")
            name = f"list-{path.replace('/', '-')}-{width}-{'dark' if dark else 'light'}.png"
            (folder / name).write_bytes(browser.picture())
            assert width >= browser.ask("document.documentElement.scrollWidth")
        assert PHONE not in browser.text()


def test_markup_in_strangers_texts_is_shown_and_not_obeyed(
    acting: App, site: Site, shop: Shop, browser: Page, connection: Connection
) -> None:
    """Ids, types, errors and names of strangers make neither elements nor attributes."""
    fill_with_hostile_texts(acting, shop, connection)
    planted = "document.querySelectorAll('[onerror], [onmouseover], [src=x]').length"
    sign_in(browser, site)
    for name in ("type", "key", "error", "foreign type", "sent type", "anomaly", "actor"):
        assert hostile(name) in browser.text()
    assert 0 == browser.ask(planted)

    browser.press("Sweep by hand")
    browser.press("Preview")
    browser.until("document.body.innerText.includes('would be swept')")
    assert hostile("title") in browser.text()
    assert 0 == browser.ask(planted)


def test_a_page_whose_session_has_ended_asks_for_the_token(
    open_app: OpenApp, browser: Page
) -> None:
    """Where reading needs the token, a page that is refused shows no old figures for long."""
    app = open_app(web__token=TOKEN, web__trust_local=False, web__port=0)
    with served(app) as site:
        browser.open(site.url)
        browser.fill("[name=token]", TOKEN)
        browser.press("Sign in")
        browser.until("document.body.innerText.includes('Sweep by hand')")
        browser.command("Network.clearBrowserCookies")
        browser.until("document.body.innerText.includes('The token, please')")
    browser.problems.clear()  # of the answers 401


def test_a_wrong_token_is_not_accepted(site: Site, browser: Page) -> None:
    browser.open(f"{site.url}sign-in")
    browser.fill("[name=token]", "tebakan")
    browser.press("Sign in")
    browser.until("document.body.innerText.includes('The token, please')")
    browser.problems.clear()  # of the answer 401
