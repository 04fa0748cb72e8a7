"""Fixtures for the tests of the page and the HTTP addresses."""

from collections.abc import Iterator

import pytest

from sweeper.app import App
from tests.support.verbs import OpenApp
from tests.support.web_client import TOKEN, Site, served


@pytest.fixture
def app(open_app: OpenApp) -> App:
    """Return an app whose page accepts write requests with the token."""
    return open_app(web__token=TOKEN, web__port=0)


@pytest.fixture
def site(app: App) -> Iterator[Site]:
    """Serve the app's page, as part of a healthy service."""
    with served(app) as site:
        yield site
