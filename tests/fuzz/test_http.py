"""Random requests, made of the service's own description: each is answered as described."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from jobs.demo.shop import Shop
from sweeper.web import bounds
from tests.support.length import LONG
from tests.support.verbs import HOUR, OpenApp
from tests.support.web_client import TOKEN, Site, served

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 1_000 if LONG else 25


@pytest.fixture
def site(open_app: OpenApp, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Serve the page of an app with a few orders, and refuse no request for being one of many."""
    for age in (HOUR, 0 * HOUR):
        shop.order(age=age)
    many = {
        caller: replace(share, rate=1e6, burst=1_000_000) for caller, share in bounds.SHARES.items()
    }
    monkeypatch.setattr(bounds, "SHARES", many)
    with served(open_app(web__token=TOKEN, web__port=0)) as site:
        yield site


def test_every_answer_is_as_the_description_says(site: Site, tmp_path: Path) -> None:
    """Schemathesis, with all its checks, against the server as it is."""
    command = [
        Path(sys.executable).with_name("schemathesis"),
        *("--config-file", CONFIG),
        *("run", f"{site.url}api/openapi.json"),
        *("--header", f"Authorization: Bearer {TOKEN}"),
        *("--max-examples", str(EXAMPLES)),
        *("--max-failures", "5"),
        *("--report-dir", tmp_path / "report"),
        *(() if LONG else ("--seed", "12")),
    ]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=3_600
    )

    assert 0 == done.returncode, done.stdout[-6_000:] + done.stderr[-2_000:]
