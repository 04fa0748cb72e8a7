"""Fixtures for the tests of the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import Running, Start


@pytest.fixture
def start(database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Start services, which are killed after the test if they still run."""
    running: list[Running] = []

    def start_one(**settings: str) -> Running:
        running.append(Running(tmp_path / f"{len(running)}.jsonl", database_url, **settings))
        return running[-1]

    yield start_one
    for one in running:
        one.process.kill()
        one.process.wait()
