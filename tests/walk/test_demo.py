"""`sweeper demo` runs to its end and prints the right figures; what it prints can be typed."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.support.paths import ROOT
from tests.support.terminal import Terminal

_PYTHON = Path(sys.executable)
PROGRAM = f"{_PYTHON.relative_to(ROOT) if _PYTHON.is_relative_to(ROOT) else _PYTHON} -m sweeper"


def demo(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the demo into a pipe; its server lies in *folder*."""
    return subprocess.run(
        [sys.executable, "-m", "sweeper", "demo", *options],
        env=variables(folder),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def variables(folder: Path) -> Mapping[str, str]:
    """Return the environment of a reader whose temporary files lie in *folder*."""
    return {**os.environ, "COLUMNS": "100", "TMPDIR": str(folder)}


def demos_in(folder: Path) -> list[str]:
    """Return the names of the demos that lie there."""
    return sorted(path.name for path in folder.glob("sweeper-demo-*"))


@contextmanager
def new_folder() -> Iterator[Path]:
    """Yield a folder that the server's user may enter, as those of pytest are not."""
    with TemporaryDirectory(prefix="sweeper-test-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Yield the folder of all demos that only read."""
    with new_folder() as path:
        yield path


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """Yield a folder for the demo of one test."""
    with new_folder() as path:
        yield path


@pytest.fixture(scope="module")
def output(folder: Path) -> str:
    """Return everything that the demo prints into a pipe."""
    ended = demo(folder=folder)
    assert 0 == ended.returncode, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def kept(folder: Path) -> Iterator[str]:
    """Keep a demo, and return what it prints."""
    begun = demo("--keep", folder=folder)
    assert 0 == begun.returncode, begun.stderr
    yield begun.stdout
    demo("--stop", folder=folder)


@pytest.mark.parametrize(
    "chapter",
    [
        "message queue that lives in tables of the same Postgres",  # what pgmq is
        "39",  # orders due for expire_dp, one of which will fail
        "Why 38, where expire_dp has found 39?",
        "117 jobs were done.",
        "Pengembalian DP sebesar Rp 180.000",
        "execution 4 failed",
        "exhausted after 4 executions",
        "no dead letter is left",
        "All is swept: nothing is overdue, and nothing is dead.",
        "dead letters: 0",
        "demo --keep",
    ],
)
def test_the_demo_prints_every_chapter(output: str, chapter: str) -> None:
    assert chapter in " ".join(output.split())


def test_the_demo_says_where_its_jobs_come_from(output: str) -> None:
    """The counts of the types are those of the sweep."""
    counts = {
        name: int(count)
        for name, count in re.findall(r"^  ([A-Z]+_[A-Z_]+) +(\d+) ", output, re.MULTILINE)
    }

    assert {"ORDER_EXPIRE_DP": 38, "ORDER_AUTO_REFUND": 16, "NOTIFICATION_SEND_WHATSAPP": 63} == (
        counts
    )


def test_the_demo_prints_no_full_phone_number(output: str) -> None:
    """L11: phone numbers are masked in all output."""
    assert [] == re.findall(r"(?:62|0|\+)8[\d -]{8,}", output)


def test_the_demo_removes_everything_at_its_end(output: str, folder: Path) -> None:
    assert (True, []) == (bool(output), demos_in(folder))


def test_what_a_kept_demo_prints_can_be_typed(kept: str, folder: Path) -> None:
    """Each line works in a shell that has nothing of ours, but for the export line."""
    lines = [line.strip() for line in kept[kept.index("What to try next") :].splitlines()]
    (export,) = [line for line in lines if line.startswith("export ")]
    commands = [line for line in lines if line.startswith(f"{PROGRAM} ") and "--stop" not in line]

    for command in commands:
        ended = subprocess.run(
            ["/bin/sh", "-c", f"{export}\n{command}"],
            env={
                **variables(folder),
                "SWEEPER_CONFIG": "/etc/none",
                "DIRECT_URL": "postgresql://x",
            },
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert 0 == ended.returncode, (command, ended.stderr)

    assert 7 == len(commands)


def is_running(pid: int) -> bool:
    """Return whether a process still runs; one that has ended may stay until init asks for it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_kept_demo_is_stopped_once(own_folder: Path) -> None:
    """Stopping again does nothing, and a demo that somebody uses is left alone."""
    keeping = demo("--keep", folder=own_folder)
    (name,) = demos_in(own_folder)
    assert f"{PROGRAM} demo --stop" in keeping.stdout
    (own_folder / name / "process").write_text(str(os.getpid()))

    used, left = demo("--stop", folder=own_folder), demos_in(own_folder)
    (own_folder / name / "process").write_text("999999999")
    server = int((own_folder / name / "data" / "postmaster.pid").read_text().split()[0])
    stopped, again = demo("--stop", folder=own_folder), demo("--stop", folder=own_folder)

    assert (1, [name]) == (used.returncode, left)
    assert (0, True) == (stopped.returncode, "and removed" in stopped.stdout)
    assert (0, True) == (again.returncode, "No demo is kept" in again.stdout)
    assert [] == demos_in(own_folder)
    assert not is_running(server)


def test_a_demo_that_serves_lets_orders_fall_due(own_folder: Path) -> None:
    with Terminal("demo", "--serve", TMPDIR=str(own_folder)) as terminal:
        screen = terminal.until(lambda screen: "service.ready" in screen.text, seconds=90)
        found = re.search(r"^open (http://127\.0\.0\.1:\d+)$", screen.text, re.MULTILINE)
        assert found
        terminal.until(lambda screen: "refund.recorded" in screen.text, seconds=60)
        page = httpx.get(found[1], timeout=10)
        terminal.process.send_signal(signal.SIGINT)
        code, _ = terminal.ended()

    assert (0, 200, []) == (code, page.status_code, demos_in(own_folder))
