"""What a command does around its work."""

import gc
from typing import Any
from unittest.mock import Mock

import pytest

from sweeper import catalog, logs
from sweeper.cli.session import open_app


def test_what_a_command_has_loaded_is_not_collected_while_it_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A collection that walks through all of it took a sixth of a worker's time."""
    monkeypatch.setattr(logs, "configure", lambda *_arguments: None)
    context = Mock(obj={"catalog": catalog.load("jobs"), "file": None})

    given: dict[str, Any] = {"stock.taken_at": "checkout"}
    with open_app(context, **given):
        during = gc.get_freeze_count()

    assert during > 10_000
    assert 0 == gc.get_freeze_count()
