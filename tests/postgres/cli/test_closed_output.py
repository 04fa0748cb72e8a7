"""A standard output that is closed or full ends a command quietly, or with a clear error."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.demo.shop import Shop
from tests.support.verbs import HOUR

# One command for each way in which commands print.
PRINTING = (
    ("config",),
    ("config", "--json"),
    ("grants", "somebody"),
    ("dead", "list", "--json"),
    ("refunds", "export"),
    ("sweep",),
    ("--help",),
)

each_printing = pytest.mark.parametrize("command", PRINTING, ids=" ".join)
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(database_url: str) -> Start:
    """Return a function that starts a command in a process of its own."""
    coverage = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    variables = {"DATABASE_URL": database_url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}
    variables["SWEEPER_LOG__LEVEL"] = "error"

    def start_it(
        command: tuple[str, ...], stdout: int, redirect: str = ""
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            ["sh", "-c", f'exec "$0" -m sweeper "$@" {redirect}', sys.executable, *command],
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env={"PATH": os.defpath, **variables, **coverage},
        )

    return start_it


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for the process; return its exit code and what it wrote to stderr."""
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@each_printing
def test_a_reader_that_has_left_ends_the_command_quietly(
    start: Start, command: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = start(command, writing)
    os.close(writing)

    assert (1, "") == ended(process)


@each_printing
def test_a_full_disk_is_a_clear_error(start: Start, command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(command, full.fileno())

    code, err = ended(process)
    expected = "sweeper: the output cannot be written: No space left on device\n"
    assert (1, expected) == (code, err[: len(expected)])
    assert "what the command did is done" in err
    assert 2 == err.count("\n")


@each_printing
def test_a_command_without_an_output_does_its_work(
    start: Start, shop: Shop, command: tuple[str, ...]
) -> None:
    order = shop.order(age=HOUR)

    assert (0, "") == ended(start(command, subprocess.DEVNULL, redirect=">&-"))
    assert ("cancelled" if command == ("sweep",) else "pending_dp") == shop.status(order)
