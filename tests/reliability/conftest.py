"""Fixtures of the phases: one prepared server, of which each phase gets a copy."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.reliability.postgres import Prepared


@pytest.fixture(scope="session")
def prepared() -> Iterator[Prepared]:
    """Prepare a server's folder."""
    with TemporaryDirectory(prefix="sweeper-prepared-") as name:
        yield Prepared(Path(name))
