"""`sweeper demo` runs to its end and prints the right figures."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def output() -> str:
    """Return everything that the demo prints into a pipe."""
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
def test_the_demo_prints_every_chapter(output: str, chapter: str) -> None:
    assert chapter in output


def test_the_demo_prints_no_full_phone_number(output: str) -> None:
    """L11: phone numbers are masked in all output."""
    assert [] == re.findall(r"(?:62|0|\+)8[\d -]{8,}", output)
