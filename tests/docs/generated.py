"""The generated pages of docs/reference/, and what makes each."""

from collections.abc import Callable, Mapping

from tests.docs.commands_page import commands_page
from tests.docs.http_page import http_page
from tests.docs.metrics_page import metrics_page
from tests.docs.python_page import python_page
from tests.docs.settings_page import settings_page
from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "reference"
PAGES: Mapping[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "http-api.md": http_page,
    "metrics.md": metrics_page,
    "python.md": python_page,
    "settings.md": settings_page,
}
