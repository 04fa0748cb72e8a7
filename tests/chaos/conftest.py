"""Fixtures for the tests of the pages in a real browser."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Page, chromium


@pytest.fixture(scope="module")
def chromium_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Start one browser for all tests of a module."""
    with chromium(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def browser(chromium_page: Page) -> Iterator[Page]:
    """Return a wide browser without cookies; fail the test if the page has logged problems."""
    chromium_page.open("about:blank")  # or the last page would still listen to its server
    chromium_page.command("Network.clearBrowserCookies")
    chromium_page.problems.clear()
    chromium_page.look(width=1280, height=900)
    yield chromium_page
    assert [] == chromium_page.problems
