"""`sweeper demo`: the story that a newcomer is told first must be true."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def told() -> str:
    """Return the whole story, as it is told into a pipe."""
    ended = subprocess.run(
        [sys.executable, "-m", "sweeper", "demo"],
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return ended.stdout


@pytest.mark.parametrize(
    "chapter",
    [
        "39",  # orders due for expire_dp, one of which will fail
        "Pengembalian DP sebesar Rp 180.000",
        "exhausted after 4 executions",
        "no dead letter is left",
        "dead letters: 0",
        "sweeper demo --keep",
    ],
)
def test_the_story_is_told_to_its_end(told: str, chapter: str) -> None:
    assert chapter in told


def test_no_full_phone_number_is_told(told: str) -> None:
    """L11: no full phone number reaches a page."""
    assert [] == re.findall(r"(?:62|0|\+)8[\d -]{8,}", told)
